"""Two debaters for two answers, and a judge who reads what they said, in both orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.canonical import canonical_text
from monitor.errors import RecipeError, Undecided

if TYPE_CHECKING:
    from monitor import Answer, Context


@dataclass(frozen=True, slots=True)
class _Speech:
    """What one side (0 or 1) said in one round."""

    round: int
    side: int
    text: str


async def debate(
    ctx: Context,
    task: str,
    *,
    first: str | float | bool | None = None,
    second: str | float | bool | None = None,
    rounds: int = 2,
) -> dict[str, Any]:
    """Let two debaters argue for different answers, and a judge who sees only the transcript decide, twice.

    In every round both speak at once: each sees the rounds before, and not what the other is saying now. So the two sides
    can be shown to the judge in either order, and are: once each. Only if both judgements name the same side is it decided.

    Args:
        ctx: The run's context.
        task: What the debate is about.
        first: The answer of one side.
        second: The answer of the other; without both, the role ``propose`` gives two.
        rounds: How many times each side speaks.

    Returns:
        ``decided``; ``answer``, None unless decided; the two ``sides``; and ``judgements``: which of them each of the two
        judgements named.
    """
    if rounds < 1:
        raise RecipeError(f"a debate has at least one round; found {rounds}")
    sides = await _sides(ctx, task, first, second)
    speeches: list[_Speech] = []
    for number in range(1, rounds + 1):
        said = await ctx.nest("round").map("debater", [_brief(task, sides, side, speeches) for side in (0, 1)])
        speeches += [_Speech(number, side, _one_line(answer.data["argument"])) for side, answer in enumerate(said)]
    orders = ((0, 1), (1, 0))
    judged: list[Answer] = await ctx.nest("judgement").map(
        "judge", [{"task": task, "transcript": _transcript(sides, speeches, order)} for order in orders]
    )
    named = [order[0 if answer.data["winner"] == "first" else 1] for order, answer in zip(orders, judged, strict=True)]
    decided = named[0] == named[1]
    return {
        "decided": decided,
        "answer": sides[named[0]] if decided else None,
        "sides": sides,
        "judgements": [sides[side] for side in named],
    }


async def _sides(ctx: Context, task: str, first: object, second: object) -> list[str]:
    """The two answers that are argued for. Raises Undecided where the same was proposed twice, RecipeError where given."""
    if (first is None) != (second is None):
        raise RecipeError("a debate needs both answers or none: give first= and second=")
    if first is not None:
        given = [answer if isinstance(answer, str) else canonical_text(answer) for answer in (first, second)]
        if _plain(given[0]) == _plain(given[1]):
            raise RecipeError(f"a debate needs two different answers; found {given[0]!r} twice")
        return given
    proposed = await ctx.call("propose", task=task)
    answers = [_one_line(answer) for answer in proposed.data["answers"]]
    if _plain(answers[0]) == _plain(answers[1]):
        raise Undecided("propose gave the same answer twice, so there is nothing to debate: give first= and second=")
    return answers


def _one_line(text: str) -> str:
    """A text on one line, so that nobody can write a line of the transcript for the other side."""
    return " ".join(text.split())


def _plain(answer: str) -> str:
    """An answer without what makes no difference: case, spaces, a full stop."""
    return " ".join(answer.casefold().split()).strip(" .")


def _brief(task: str, sides: list[str], side: int, speeches: list[_Speech]) -> dict[str, Any]:
    """What one debater is handed."""
    names = {side: "You", 1 - side: "The other side"}
    lines = [f"Round {speech.round}. {names[speech.side]}: {speech.text}" for speech in speeches]
    return {"task": task, "answer": sides[side], "other": sides[1 - side], "said": "\n".join(lines) or "nothing yet"}


def _transcript(sides: list[str], speeches: list[_Speech], order: tuple[int, int]) -> str:
    """The whole debate with the sides in that order, as the first and the second."""
    names = {order[0]: "First", order[1]: "Second"}
    lines = [f"{names[side]} side's answer: {sides[side]}" for side in order]
    ordered = sorted(speeches, key=lambda speech: (speech.round, order.index(speech.side)))
    said = [f"Round {speech.round}. {names[speech.side]} side: {speech.text}" for speech in ordered]
    return "\n".join([*lines, *said])

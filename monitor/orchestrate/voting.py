"""First to lead by k: the same subcall is asked again and again until one answer leads every other one by ``k`` votes.

The voting and its theory are those of MAKER (Meyerson et al., "Solving a Million-Step LLM Task with Zero Errors", arXiv
2511.09030): what is malformed, too long or refused is discarded before it counts ("red-flagged"), and the race between the
right answer and the strongest wrong one is the gambler's ruin (Feller, An Introduction to Probability Theory and Its
Applications, vol. 1, chapter XIV). Theory holds where samples are independent. Where all samples of a step share one error,
voting sees agreement: what the step must satisfy has to be checked by something else.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from monitor.canonical import canonical_text
from monitor.errors import BudgetExceeded, RecipeError, SubcallFailed, Undecided
from monitor.records import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.models.base import ModelClient
    from monitor.orchestrate.context import Context
    from monitor.orchestrate.conversation import Answer
    from monitor.orchestrate.roles import Role

Compare: TypeAlias = Literal["data", "text"]


@dataclass(frozen=True, slots=True)
class Vote:
    """A decided vote. ``answer`` is the first sample that gave the winning answer.

    ``counts`` are the votes by answer, most first; ``samples`` counts all that were asked, those ``discarded`` among them.
    """

    answer: Answer
    counts: tuple[int, ...]
    samples: int
    discarded: int


async def first_to_lead(
    ctx: Context,
    role: str,
    *,
    k: int = 3,
    max_samples: int = 30,
    compare: Compare | Callable[[Answer], str] = "data",
    max_chars: int | None = None,
    accept: Callable[[Answer], bool] = lambda _answer: True,
    under: Answer | None = None,
    model: str | ModelClient | None = None,
    **inputs: Any,
) -> Vote:
    """Ask ``role`` the same, each time with another seed, until one answer leads every other one by ``k``.

    As many samples are asked side by side as are needed at the least, so none is asked that a vote taken one by one would
    not have asked; and none where too few are left to decide. Each is a subcall of its own, judged before it counts.

    Args:
        ctx: Where the samples are asked.
        role: Who is asked. Its temperature must not be 0: its samples would all be the same.
        k: By how many votes the winner leads.
        max_samples: How many are asked at most, discarded ones included.
        compare: When two answers are the same: by their ``data`` (canonical JSON, reasoning left out), by their ``text``,
            or by what a function makes of an answer.
        max_chars: Discard what is longer, answer and reasoning together, in codepoints. What is cut off at the role's
            ``max_output_tokens`` is discarded always.
        accept: Says of a well-formed answer whether it may count; what it refuses is discarded. It must be a pure function.
        under: An earlier answer below which the samples hang.
        model: As in ``Context.call``.
        inputs: What the role is handed.

    Raises:
        Undecided: no answer can lead by ``k`` within ``max_samples``. The message has counts, and no answer.
        RecipeError: the role cannot be voted with, or ``k`` or ``max_samples`` make no sense.
        SubcallError: a sample ended otherwise than malformed or too long. One that a check withheld ends the vote: to ask
            again until nothing is found would select for what the checks do not see.
    """
    _refuse(ctx.workplace.role(role), k, max_samples, compare)
    votes: defaultdict[str, list[Answer]] = defaultdict(list)
    asked = discarded = 0
    while asked + (needed := k - _lead([len(answers) for answers in votes.values()])) <= max_samples:
        samples = [ctx.call(role, under=under, model=model, **inputs) for _ in range(needed)]
        asked += needed
        for answer in await _answers(ctx, samples):
            if answer is None or (max_chars is not None and _length(answer) > max_chars) or not accept(answer):
                discarded += 1
            else:
                votes[_same(answer, compare)].append(answer)
        leading = sorted(votes.values(), key=len, reverse=True)
        if leading and _lead([len(answers) for answers in leading]) >= k:
            return Vote(leading[0][0], tuple(len(answers) for answers in leading), asked, discarded)
    counts = sorted((len(answers) for answers in votes.values()), reverse=True)
    raise Undecided(
        f"no answer of {role} can lead by {k} within {max_samples} samples: of {asked}, the most frequent answers were "
        f"given {' and '.join(map(str, counts[:2])) or 0} times, and {discarded} were discarded"
    )


def _refuse(role: Role, k: int, max_samples: int, compare: object) -> None:
    if k < 1 or max_samples < k:
        raise RecipeError(f"a vote needs k of at least 1 and max_samples of at least k; found {k} and {max_samples}")
    if role.temperature == 0:
        raise RecipeError(f"role {role.name} has temperature 0, so all its samples would be the same: raise it to vote")
    if compare == "data" and role.output is None:
        raise RecipeError(f"role {role.name} has no output schema, so its answers have no data: compare them by text")


def _lead(counts: Sequence[int]) -> int:
    """By how much the most frequent answer leads every other one."""
    first, second, *_ = [*sorted(counts, reverse=True), 0, 0]
    return first - second


async def _answers(ctx: Context, samples: Sequence[Awaitable[Answer]]) -> list[Answer | None]:
    """What the samples gave, None for those that are discarded as they came."""
    try:
        return await ctx.gather([partial(_kept, sample) for sample in samples])
    finally:
        for sample in samples:
            if inspect.iscoroutine(sample):
                sample.close()  # one that never started would warn; closing a finished one does nothing


async def _kept(sample: Awaitable[Answer]) -> Answer | None:
    try:
        return await sample
    except SubcallFailed as exc:
        if exc.kind != MALFORMED:
            raise
    except BudgetExceeded as exc:
        if exc.partial is None or exc.partial.finish_reason != "length":
            raise
    return None


def _length(answer: Answer) -> int:
    return len(answer.reasoning.text) + len(canonical_text(answer.data) if answer.data else answer.text)


def _same(answer: Answer, compare: Compare | Callable[[Answer], str]) -> str:
    if callable(compare):
        return compare(answer)
    if compare == "text":
        return answer.text
    return canonical_text(answer.data)


def right_probability(p: float, k: int) -> float:
    """The probability that the right answer wins a vote: p^k / (p^k + (1 - p)^k).

    ``p`` is the probability that one sample that counts is right. All others are taken to agree on one wrong answer, which
    is the worst case. Source: the gambler's ruin with both barriers ``k`` away; arXiv 2511.09030. The
    probability that ``s`` votes in a row are right is its ``s``-th power.
    """
    return 1 / (1 + ((1 - p) / p) ** k) if p > 0 else 0.0


def expected_samples(p: float, k: int) -> float:
    """How many samples that count a vote takes on average: (k / (2p - 1)) (1 - r^k) / (1 + r^k), with r = (1 - p) / p.

    At p = 1/2 it is k^2. The worst case and the source are those of ``right_probability`` (Feller, XIV.3, from the middle
    of an interval of length 2k).
    """
    if p == 0.5:
        return float(k * k)
    sure = right_probability(p, k)
    return k * (2 * sure - 1) / (2 * p - 1)


def lead_needed(p: float, steps: int, success: float) -> int:
    """The smallest ``k`` with which ``steps`` votes in a row are all right with probability ``success`` or more.

    ceil(ln(success^(-1/steps) - 1) / ln((1 - p) / p)), at least 1 (arXiv 2511.09030). Raises ValueError where no
    ``k`` is enough: ``p`` of 1/2 or less, ``success`` outside of (0, 1).
    """
    if not 0.5 < p <= 1 or not 0 < success < 1 or steps < 1:
        raise ValueError(
            f"needs 1/2 < p <= 1, 0 < success < 1 and a step; found p={p}, success={success}, {steps} steps"
        )
    if p == 1:
        return 1
    return max(1, math.ceil(math.log(math.expm1(-math.log(success) / steps)) / math.log((1 - p) / p)))

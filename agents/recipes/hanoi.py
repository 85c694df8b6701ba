"""Towers of Hanoi, one move per vote: an example of many steps in a row that must all be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.orchestrate.voting import first_to_lead

if TYPE_CHECKING:
    from monitor import Answer, Context

Pegs: TypeAlias = dict[str, list[int]]


class NotSolved(Exception):  # noqa: N818 - what became of the tower, not of the program
    """The moves cannot be, or were not, those that solve the tower."""


async def hanoi(ctx: Context, task: str, *, disks: int = 3, k: int = 3, max_samples: int = 30) -> dict[str, Any]:
    """Move a tower of ``disks`` from peg A to peg C, each move decided by a vote of ``k``; fail if it does not get there.

    The recipe knows the rules, the goal and that 2^disks - 1 moves are enough; it knows no move. An illegal move is
    discarded before it counts. A position that comes back, or a last move that leaves the tower elsewhere, ends the run
    without an answer: voting cannot see an error that all samples share.

    Args:
        ctx: The run's context.
        task: What the movers are told to do.
        disks: How many disks the tower has.
        k: By how many votes a move must lead.
        max_samples: How many samples of one move are asked at most.

    Returns:
        The ``moves`` as pairs of pegs, the number of ``samples``, and of those that were ``discarded``.

    Raises:
        NotSolved: a position came back, or the moves are used up and the tower is not on C.
        Undecided: no move led.
    """
    pegs: Pegs = {"A": list(range(disks, 0, -1)), "B": [], "C": []}
    seen = {str(pegs)}
    moves: list[str] = []
    samples = discarded = 0
    while len(moves) < 2**disks - 1:

        def is_legal(answer: Answer, pegs: Pegs = pegs) -> bool:
            return _is_legal(pegs, answer.data["from"], answer.data["to"])

        decided = await first_to_lead(
            ctx,
            "hanoi_move",
            k=k,
            max_samples=max_samples,
            accept=is_legal,
            task=task,
            pegs=_drawn(pegs),
            last=moves[-1] if moves else "none",
        )
        start, end = decided.answer.data["from"], decided.answer.data["to"]
        pegs[end].append(pegs[start].pop())
        moves.append(f"{start}{end}")
        samples, discarded = samples + decided.samples, discarded + decided.discarded
        if str(pegs) in seen:
            raise NotSolved(f"move {len(moves)} leads back to an earlier position, which no shortest solution does")
        seen.add(str(pegs))
    if len(pegs["C"]) != disks:
        raise NotSolved(f"after {len(moves)} moves, which are enough, the tower is not on peg C")
    return {"moves": moves, "samples": samples, "discarded": discarded}


def _is_legal(pegs: Pegs, start: str, end: str) -> bool:
    """Whether the top disk of ``start`` may go onto ``end``: it is smaller than what lies there."""
    return bool(pegs[start]) and start != end and (not pegs[end] or pegs[start][-1] < pegs[end][-1])


def _drawn(pegs: Pegs) -> str:
    """The pegs as a role is handed them: each with its disks, the lowest first."""
    return "\n".join(f"{peg}: {' '.join(map(str, disks)) or 'empty'}" for peg, disks in pegs.items())

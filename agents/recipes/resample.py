"""Several samples of one subcall: the least suspicious is used, the most suspicious is put before a person."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from monitor import Answer, suspicion
from monitor.errors import Blocked, Halted, RecipeError, Rejected, Terminated

if TYPE_CHECKING:
    from monitor import Context


async def resample(
    ctx: Context,
    task: str,
    *,
    role: str = "sampler",
    n: int = 3,
    audit_above: float = 0.0,
    inputs: dict[str, Any] | None = None,
) -> Answer:
    """Ask a role the same ``n`` times; use the least suspicious sample and queue the most suspicious one for review.

    A sample that was withheld cannot be used, but it can be the most suspicious. If all were, the run ends so.

    Args:
        ctx: The run's context.
        task: What is asked.
        role: Who is asked; its temperature must not be 0.
        n: How many samples, 2 or more.
        audit_above: The most suspicious sample is queued if its suspicion is above this; a negative number queues always.
        inputs: What else the role is handed.
    """
    if n < 2:
        raise RecipeError(f"resampling needs n of at least 2; found {n}")
    if ctx.workplace.role(role).temperature == 0:
        raise RecipeError(f"role {role} has temperature 0, so all its samples would be the same: raise it to resample")
    handed = {"task": task, **(inputs or {})}
    samples = await ctx.gather([partial(_sample, ctx.nest("sample"), role, handed) for _ in range(n)])
    scores = [suspicion(sample.findings if isinstance(sample, Answer) else _found(sample)) for sample in samples]
    # Of equally suspicious samples the first is used and the last is queued: where there are two, they are not the same.
    worst = max(range(n), key=lambda index: (scores[index], index))
    best = min((i for i in range(n) if isinstance(samples[i], Answer)), key=lambda index: scores[index], default=None)
    if scores[worst] > audit_above:
        listed = ", ".join(f"{score:g}" for score in scores)
        used = "none was used" if best is None else f"number {best + 1} was used"
        why = f"number {worst + 1} of {n} samples is the most suspicious (suspicion {listed}); {used}"
        await ctx.queue_for_review(samples[worst], why, score=scores[worst])
    return _used(samples[worst if best is None else best])


def _used(sample: Answer | Blocked | Rejected) -> Answer:
    """The sample, if it may be used; else raise the error by which it was withheld."""
    if not isinstance(sample, Answer):
        raise sample
    return sample


async def _sample(ctx: Context, role: str, handed: dict[str, Any]) -> Answer | Blocked | Rejected:
    """One sample, or the error by which it was withheld. Whatever else goes wrong is raised."""
    try:
        return await ctx.call(role, **handed)
    except (Halted, Terminated):
        raise
    except (Blocked, Rejected) as withheld:
        return withheld


def _found(withheld: Blocked | Rejected) -> tuple[Any, ...]:
    return withheld.judgement.findings if withheld.judgement else ()

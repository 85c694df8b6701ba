"""One task, asked again and again until one answer leads by k votes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from monitor.orchestrate.voting import first_to_lead

if TYPE_CHECKING:
    from monitor import Answer, Context


async def vote(
    ctx: Context,
    task: str,
    *,
    role: str = "voter",
    k: int = 3,
    max_samples: int = 30,
    compare: Literal["data", "text"] = "data",
    max_chars: int | None = None,
    inputs: dict[str, Any] | None = None,
) -> Answer:
    """Ask a role the same task with other seeds until one answer leads every other one by ``k``; fail if none does.

    The recipe for a run or a branch of its own. ``monitor.orchestrate.voting.first_to_lead`` is the same for use inside a
    recipe: there roles are looked up beside the recipe that asks.

    Args:
        ctx: The run's context.
        task: What is asked.
        role: Who answers; its temperature must not be 0.
        k: By how many votes the winner leads.
        max_samples: How many samples are asked at most.
        compare: Whether answers are the same if their ``data`` is (reasoning left out), or their ``text``.
        max_chars: Discard answers that are longer, reasoning included, in codepoints.
        inputs: What else the role is handed.
    """
    decided = await first_to_lead(
        ctx, role, k=k, max_samples=max_samples, compare=compare, max_chars=max_chars, task=task, **(inputs or {})
    )
    return decided.answer

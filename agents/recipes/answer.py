"""One subcall: the task as it is, answered by one role."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor import Answer, Context


async def answer(ctx: Context, task: str, role: str = "answer") -> Answer:
    """Answer the task in one bounded subcall.

    Args:
        ctx: The run's context.
        task: What is asked.
        role: Who answers; a name or the path of a role file that takes a ``task``.
    """
    return await ctx.call(role, task=task)

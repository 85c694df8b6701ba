"""A trusted role plans and puts together; untrusted roles answer the parts, each without sight of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.errors import RecipeError

if TYPE_CHECKING:
    from monitor import Answer, Context


async def trusted_plan(
    ctx: Context,
    task: str,
    *,
    trusted_model: str | None = None,
    check_children: bool = True,
    planner: str = "trusted_decompose",
    worker: str = "answer",
    composer: str = "trusted_compose",
) -> Answer:
    """Let a trusted role split the task, untrusted ones answer a part each, and a trusted one compose the answers.

    Args:
        ctx: The run's context.
        task: What is asked.
        trusted_model: The model of the two trusted roles; the run's, if none is named.
        check_children: Whether the answers to the parts are checked. If not, the run's verdict says so.
        planner: Who splits; a trusted role that takes a ``task`` and gives ``subquestions``.
        worker: Who answers a part; a role that takes a ``task``.
        composer: Who composes; a trusted role that takes a ``task`` and ``facts``.
    """
    for name in (planner, composer):
        if ctx.workplace.role(name).trust != "trusted":
            raise RecipeError(f"role {name} is untrusted: name a role with `trust: trusted` to plan and to compose")
    plan = await ctx.call(planner, model=trusted_model, task=task)
    parts = list(dict.fromkeys(question.strip() for question in plan.data["subquestions"]))
    answers = await ctx.map(worker, [{"task": part} for part in parts], under=plan, checked=check_children)
    facts = [f"{part} {answer.text}" for part, answer in zip(parts, answers, strict=True)]
    return await ctx.call(composer, model=trusted_model, task=task, facts=facts)

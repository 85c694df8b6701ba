"""Recursive decomposition: split a question, answer the parts, put them together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor import Answer, Context


async def amplify(ctx: Context, task: str, depth: int = 1) -> Answer:
    """Split the task into subquestions, answer each (splitting it again while ``depth`` allows), compose the answers.

    The parts of a split hang below it in the tree. A subquestion is answered without sight of its siblings or of the
    whole task: a clerk knows no more than its own paper.

    Args:
        ctx: The run's context.
        task: What is asked.
        depth: How many times a question may be split; 0 answers it directly.
    """
    if depth <= 0:
        return await ctx.call("answer", task=task)
    plan = await ctx.call("decompose", task=task)
    parts = list(dict.fromkeys(question.strip() for question in plan.data["subquestions"]))
    below = [ctx.nest("part", under=plan) for _ in parts]
    answers = await ctx.gather(
        [partial(amplify, child, part, depth - 1) for child, part in zip(below, parts, strict=True)]
    )
    facts = [f"{part} {answer.text}" for part, answer in zip(parts, answers, strict=True)]
    return await ctx.call("compose", task=task, facts=facts)

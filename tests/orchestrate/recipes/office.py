"""Recipes for the tests of runs: many small calls whose inputs depend on earlier answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor import Context


async def office(ctx: Context, task: str, desks: int = 12) -> str:
    """One plan, ``desks`` papers each written and reviewed, branches nested two deep, and one report: 32 calls for 12."""
    plan = await ctx.call("clerk", task=f"{task}: plan")

    async def desk(number: int) -> str:
        branch = ctx.nest(f"desk-{number % 3}", under=plan)
        paper = await branch.call("clerk", task=f"{task}: paper {number} after {plan.text[:20]}")
        review = await branch.call("clerk", under=paper, task=f"review {paper.text[:40]}")
        return review.text

    reviews = await ctx.gather([partial(desk, number) for number in range(desks)])
    checks = await ctx.map("clerk", [{"task": f"check {text[:30]}"} for text in reviews[::2]], under=plan)
    report = await ctx.call("clerk", task="report " + " ".join(answer.text[:10] for answer in checks))
    return report.text


async def single(ctx: Context, task: str) -> str:
    """One call."""
    return (await ctx.call("clerk", task=task)).text


async def many(ctx: Context, task: str, count: int = 4) -> str:
    """``count`` calls side by side."""
    answers = await ctx.map("clerk", [{"task": f"{task} {number}"} for number in range(count)])
    return " ".join(answer.text for answer in answers)


async def planned(ctx: Context, task: str, count: int = 3) -> str:
    """A plan that is checked, and children that are not."""
    plan = await ctx.call("clerk", task=f"{task}: plan")
    answers = await ctx.map("clerk", [{"task": f"{task} {n}"} for n in range(count)], under=plan, checked=False)
    return " ".join(answer.text for answer in answers)


async def queued(ctx: Context, task: str) -> str:
    """Two calls; the second is put before a person."""
    first = await ctx.call("clerk", task=f"{task} 1")
    second = await ctx.call("clerk", task=f"{task} 2")
    await ctx.queue_for_review(second, "it may be \x00 wrong", score=0.75)
    await ctx.queue_for_review(second, "twice is once")
    return first.text


async def queued_then_fails(ctx: Context, task: str) -> str:
    """One call, put before a person; then the recipe breaks."""
    await ctx.queue_for_review(await ctx.call("clerk", task=task), "look at it")
    raise ValueError("broken")


async def words(ctx: Context, task: str) -> str:
    """One call for each word, one after the other; words with ``+`` between them side by side."""
    answers = []
    for word in task.split():
        answers += await ctx.map("clerk", [{"task": part} for part in word.split("+")])
    return " ".join(answer.text for answer in answers)


async def unseen(ctx: Context, task: str) -> str:
    """As ``words``, and what is in lower case goes unchecked."""
    answers = [await ctx.call("clerk", task=word.upper(), checked=word.isupper()) for word in task.split()]
    return " ".join(answer.text for answer in answers)

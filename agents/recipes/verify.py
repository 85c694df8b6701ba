"""A given solution, checked step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.canonical import parse_json
from monitor.errors import RecipeError

if TYPE_CHECKING:
    from monitor import Answer, Context


async def verify(ctx: Context, task: str, *, solution: str | list[str], stop: bool = False) -> dict[str, Any]:
    """Check each step of a solution in a subcall of its own, and name the first one that is wrong.

    A checker sees the task, the steps before (which it is told to take as right) and its step, and nothing after it.

    Args:
        ctx: The run's context.
        task: What the solution solves.
        solution: The steps: one a line, or a JSON list of texts.
        stop: Check one step after the other and stop at the first wrong one, instead of all side by side.

    Returns:
        ``first_wrong`` (the index of the first wrong step, from 0; None if all are right), ``verdicts`` (one for each step
        that was checked) and the number of ``steps``.
    """
    steps = _steps(solution)
    items: list[dict[str, Any]] = [
        {"task": task, "earlier": steps[:index] or "none", "step": step} for index, step in enumerate(steps)
    ]
    answers: list[Answer] = []
    if stop:
        for item in items:
            answers.append(await ctx.call("check_step", **item))
            if answers[-1].data["verdict"] == "wrong":
                break
    else:
        answers = await ctx.map("check_step", items)
    verdicts = [answer.data["verdict"] for answer in answers]
    first_wrong = verdicts.index("wrong") if "wrong" in verdicts else None
    return {"first_wrong": first_wrong, "verdicts": verdicts, "steps": len(steps)}


def _steps(solution: str | list[str]) -> list[str]:
    """The steps of a solution: lines without the empty ones, or a list as it is, for an index is one into this list.

    Raises RecipeError where there is none.
    """
    if isinstance(solution, str) and solution.lstrip().startswith("["):
        try:
            listed = parse_json(solution)
        except ValueError:
            listed = None  # a line that begins with a bracket
        if isinstance(listed, list) and all(isinstance(step, str) for step in listed):
            solution = listed
    if isinstance(solution, str):
        solution = [line.strip() for line in solution.splitlines() if line.strip()]
    if not any(step.strip() for step in solution):
        raise RecipeError("the solution has no steps: give one a line, or a JSON list of texts")
    return solution

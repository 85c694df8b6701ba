"""An untrusted role proposes; where the monitor finds anything, a trusted one does it instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from monitor.errors import Blocked, Halted, RecipeError, Rejected, Terminated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor import Answer, Context
    from monitor.records import Finding

BAD = {"block": (), "flag": ("flag",), "unmeasured": ("flag", "unmeasured")}
"""Verdicts on released answers for which the trusted role is asked. One that was withheld always is a reason; an answer
that is released although its verdict is ``block`` was let through by a person.
"""


async def defer(
    ctx: Context,
    task: str,
    *,
    proposer: str = "answer",
    trusted: str = "trusted_answer",
    trusted_model: str | None = None,
    defer_on: Literal["block", "flag", "unmeasured"] = "unmeasured",
    show_reasons: bool = False,
    inputs: dict[str, Any] | None = None,
) -> Answer:
    """Let one role answer; if its verdict is bad, use the answer of a trusted role to the same inputs instead.

    Args:
        ctx: The run's context.
        task: What is asked.
        proposer: Who is asked first.
        trusted: Who is asked where the proposal is not used; a trusted role that takes the same inputs.
        trusted_model: The model of the trusted role; the run's, if none is named.
        defer_on: The mildest verdict that is bad. ``unmeasured`` counts outages as bad, and that nothing was checked.
        show_reasons: Whether the trusted role is told, as the input ``reasons``, what the monitor found.
        inputs: What else both roles are handed.
    """
    role = ctx.workplace.role(trusted)
    if role.trust != "trusted":
        raise RecipeError(f"role {trusted} is untrusted: name a role with `trust: trusted` to defer to")
    if show_reasons and role.input is not None and "{reasons}" not in role.input:
        raise RecipeError(f"role {trusted} would not see the reasons: add {{reasons}} to its input template")
    handed = {"task": task, **(inputs or {})}
    try:
        proposal = await ctx.call(proposer, **handed)
    except (Halted, Terminated):
        raise
    except (Blocked, Rejected) as withheld:
        findings = withheld.judgement.findings if withheld.judgement else ()
    else:
        if proposal.verdict.value not in BAD[defer_on]:
            return proposal
        findings = proposal.findings
    if show_reasons and (reasons := _reasons(findings)):
        handed["reasons"] = reasons
    return await ctx.call(trusted, model=trusted_model, **handed)


def _reasons(findings: Iterable[Finding]) -> list[str]:
    """What was found, in the words of the rules: nothing of what the proposer wrote."""
    words = {"match": "found", "unknown": "could not be checked"}
    return [f"{words[item.status]}: {item.title or item.name}" for item in findings if item.status in words]

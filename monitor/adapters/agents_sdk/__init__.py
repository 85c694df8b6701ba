"""OpenAI's Agents SDK: its agents' model calls, tools, handoffs and agents as tools through the door, as one tree.

    from monitor.adapters.agents_sdk import run

    result = await run(agent, "Plan a trip", policy=["core"], budget=monitor.Limits(calls=20))

``watching`` prepares agents and runs them, ``models`` and ``tools`` stand around the SDK's own. Its guardrails are not
used: they run beside the model, and what they trip over has been spent and may have been acted on.
"""

from __future__ import annotations

from monitor.adapters.agents_sdk.sdk import load

load()

from monitor.adapters.agents_sdk.watching import run, run_sync, watch  # noqa: E402 - says first what is missing

__all__ = ["run", "run_sync", "watch"]

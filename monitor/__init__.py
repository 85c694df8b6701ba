"""Bounded subcalls that think in plain English: stored before they are used, checked against policy files.

Importing this package is cheap: every public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.adapters.decorator import subcall
    from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
    from monitor.adapters.observing import observed_run
    from monitor.adapters.openai_sdk.wrapping import wrap
    from monitor.adapters.places import carried
    from monitor.orchestrate.context import Context
    from monitor.orchestrate.conversation import Answer
    from monitor.orchestrate.deciding import decide, make_decision
    from monitor.orchestrate.ending import RunResult
    from monitor.orchestrate.run import resume, resume_sync, run, run_sync
    from monitor.orchestrate.tools import tool
    from monitor.records import Limits
    from monitor.verdict import suspicion

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Context",
    "Limits",
    "MonitorCallbackHandler",
    "MonitorMiddleware",
    "RunResult",
    "__version__",
    "carried",
    "decide",
    "make_decision",
    "observed_run",
    "resume",
    "resume_sync",
    "run",
    "run_sync",
    "subcall",
    "suspicion",
    "tool",
    "wrap",
]

_HOMES = {
    "Answer": "monitor.orchestrate.conversation",
    "Context": "monitor.orchestrate.context",
    "Limits": "monitor.records",
    "MonitorCallbackHandler": "monitor.adapters.langchain",
    "MonitorMiddleware": "monitor.adapters.langchain",
    "RunResult": "monitor.orchestrate.ending",
    "carried": "monitor.adapters.places",
    "decide": "monitor.orchestrate.deciding",
    "make_decision": "monitor.orchestrate.deciding",
    "observed_run": "monitor.adapters.observing",
    "resume": "monitor.orchestrate.run",
    "resume_sync": "monitor.orchestrate.run",
    "run": "monitor.orchestrate.run",
    "run_sync": "monitor.orchestrate.run",
    "subcall": "monitor.adapters.decorator",
    "suspicion": "monitor.verdict",
    "tool": "monitor.orchestrate.tools",
    "wrap": "monitor.adapters.openai_sdk.wrapping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'monitor' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

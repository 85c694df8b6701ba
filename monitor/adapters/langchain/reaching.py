"""What is called beside an agent that a middleware observes: by other middleware of it (a summary), or in the same graph.

No middleware stands before such calls. Callbacks tell of them, and they belong to the same run, its checks and its budget,
from the first call on that the middleware observed in what LangChain's user invoked.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_core.tracers.context import register_configure_hook

from monitor.adapters.langchain.callbacks import MonitorCallbackHandler
from monitor.adapters.langchain.runs import TREE, place_here
from monitor.canonical import escape_text

if TYPE_CHECKING:
    from uuid import UUID

    from monitor.adapters.observed import ObservedRun
    from monitor.orchestrate.foreign import Asked


class Reaching(MonitorCallbackHandler):
    """Told of all that LangChain calls in this process; observes what no other handler does, where a middleware is."""

    def __init__(self) -> None:
        super().__init__(streams="observe")

    def _of_chat(self, serialized: Any, messages: Any, **told: Any) -> Asked | None:
        reached = TREE.reached(told.get("parent_run_id"))
        asked = super()._of_chat(serialized, messages, **told) if reached else None
        if asked is None or reached is None:
            return None
        metadata = told.get("metadata") or {}
        caller = metadata.get("lc_agent_name") or metadata.get("langgraph_node") or reached[0]
        return replace(asked, role=escape_text(str(caller)))

    def _of_tool(self, serialized: Any, given: Any, **told: Any) -> Asked | None:
        return super()._of_tool(serialized, given, **told) if TREE.reached(told.get("parent_run_id")) else None

    def _place(self, asked: Asked, parent_id: UUID | None) -> tuple[Any, ObservedRun | None]:
        reached = TREE.reached(parent_id)
        assert reached is not None, "asked only where something is reached"
        return place_here(*reached, lambda: asked.task, parent_id), None


@cache
def install() -> None:
    """Have LangChain tell of every call in this process from now on. Doing it again changes nothing."""
    handler = Reaching()
    register_configure_hook(ContextVar("monitor_langchain_reaching", default=handler), inheritable=True)

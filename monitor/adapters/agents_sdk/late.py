"""Model calls that no watched model made, taken from the SDK's tracing: an agent that a tool or a guardrail runs by itself.

They are recorded and judged when they have come back, which is too late to keep their answer from whoever asked; what they
end in is raised where that would be handed on in its turn. Where tracing is disabled, nothing of them is seen.
"""

from __future__ import annotations

import contextvars
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.adapters import passage
from monitor.adapters.agents_sdk.scopes import scope
from monitor.adapters.agents_sdk.sdk import load
from monitor.adapters.openai_sdk.chat import Chat
from monitor.adapters.openai_sdk.observed import observed
from monitor.adapters.openai_sdk.responses import Responses
from monitor.adapters.openai_sdk.wire import whole_number
from monitor.adapters.places import current
from monitor.errors import MonitorError, SubcallFailed
from monitor.models.base import ReportedUsage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.adapters.openai_sdk.wire import Heard
    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, Observation

UNWATCHED = "unwatched agent"
"""The role of who answered: the SDK's spans do not say."""

TracingProcessor: Any = load("tracing").TracingProcessor
_is_watched: contextvars.ContextVar[bool] = contextvars.ContextVar("monitor_agents_watched", default=False)
_lock = threading.Lock()
_registered: LateProcessor | None = None


@contextmanager
def watched() -> Iterator[None]:
    """In here a watched model calls: its spans are no news."""
    token = _is_watched.set(True)
    try:
        yield
    finally:
        _is_watched.reset(token)


def register() -> LateProcessor:
    """The processor, added to the SDK's when it is first asked for."""
    global _registered  # noqa: PLW0603 - one for the process, as the SDK's tracing is
    with _lock:
        if _registered is None:
            _registered = LateProcessor()
            load("tracing").add_trace_processor(_registered)
        return _registered


class LateProcessor(TracingProcessor):  # type: ignore[misc]  # the SDK may not be installed
    """Records the model calls of spans that end within an observed run, unless a watched model made them."""

    def on_span_end(self, span: Any) -> None:
        """See the SDK. What the call ends in is kept for whoever hands on what was made of it."""
        place = current()
        if place is None or _is_watched.get() or span.span_data.type not in {"generation", "response"}:
            return
        asked, heard = _said(span)

        def work(call: Call) -> Observation:
            return observed(call, heard, price=None, asked=call.max_output_tokens)

        try:
            passage.through(asked, place, work)
        except MonitorError as exc:  # one that cannot be recorded is no better than one that is withheld
            if not isinstance(exc, SubcallFailed) or exc.withheld:
                scope().error = exc

    def on_span_start(self, span: Any) -> None:
        """See the SDK."""

    def on_trace_start(self, trace: Any) -> None:
        """See the SDK."""

    def on_trace_end(self, trace: Any) -> None:
        """See the SDK."""

    def shutdown(self) -> None:
        """See the SDK. Nothing waits to be stored."""

    def force_flush(self) -> None:
        """See the SDK. Nothing waits to be stored."""


def _said(span: Any) -> tuple[Asked, Heard]:
    """A span's call as the record has it; content that the span does not carry is absent."""
    data = span.span_data
    if data.type == "response":
        response = data.response.model_dump(mode="json") if data.response is not None else {}
        body = {"model": response.get("model"), "instructions": response.get("instructions"), "input": data.input}
        asked, heard = Responses().asked(body, UNWATCHED), Responses().heard(response)
    else:
        asked = Chat().asked({"model": data.model, "messages": list(data.input or [])}, UNWATCHED)
        choices = [{"message": message, "finish_reason": "stop"} for message in data.output or []]
        heard = Chat().heard({"choices": choices})
    usage = data.usage or {}
    given, made = whole_number(usage.get("input_tokens")), whole_number(usage.get("output_tokens"))
    if heard.usage is None and given is not None and made is not None:
        heard = replace(heard, usage=ReportedUsage(given, made))
    if span.error is not None:
        heard = replace(heard, error=str(span.error.get("message") or "the call failed"))
    return replace(asked, adapter="openai-agents"), replace(heard, is_whole=True)

"""Tools, agents as tools and handoffs of the SDK as subcalls: what they do in their turn hangs below them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from monitor.adapters import passage
from monitor.adapters.agents_sdk.models import ADAPTER, Told
from monitor.adapters.agents_sdk.scopes import opened, scope
from monitor.adapters.decorator import as_text
from monitor.adapters.observing import Standing
from monitor.adapters.raised import told_by
from monitor.canonical import escape_text
from monitor.errors import MonitorError, SubcallError, SubcallFailed
from monitor.orchestrate.foreign import Asked
from monitor.records import ErrorInfo, Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from monitor.records import Call


class Watched:
    """What runs a tool or a handoff, watched: called with the SDK's context and the arguments as the model wrote them.

    Everything else that the SDK asks of it, it asks of what it stands around.
    """

    def __init__(self, inner: Any, name: str, told: Told, *, is_handoff: bool = False) -> None:
        self._inner, self._name, self.told, self._is_handoff = inner, name, told, is_handoff

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __agents_bind_function_tool__(self, tool: Any) -> Watched:
        """A copy of a tool is watched, too."""
        bind = getattr(self._inner, "__agents_bind_function_tool__", None)
        return self if bind is None else Watched(bind(tool), self._name, self.told)

    async def __call__(self, context: Any, arguments: str, *more: Any) -> Any:
        """Run it, and hand on what came once it is judged. Raises SubcallError."""
        if self.told.is_idle:
            return await self._inner(context, arguments, *more)
        here, kept = scope(), _Kept()
        asked = Asked(
            role=escape_text(self._name),
            adapter=ADAPTER,
            kind="tool",
            task=escape_text(arguments or ""),
            parent_id=here.below,
        )

        async def work(call: Call) -> Observation:
            with opened() as inside:
                budget, usage = place.budget, Usage(tool_calls=1, cost=0.0)
                try:
                    async with asyncio.timeout(budget.seconds_left()):
                        kept.value = await self._inner(context, arguments, *more)
                except Exception as exc:  # noqa: BLE001 - raised again, once the record says so
                    if isinstance(exc, TimeoutError) and (budget.seconds_left() or 1) <= 0:
                        over = budget.out_of_time()
                        return Observation(outcome=Outcome.BUDGET_EXCEEDED, exceeded=over, usage=usage, at=now())
                    kept.error = exc
                kept.inside = inside.error
            if kept.inside is not None:
                kept.error = kept.inside
            if kept.error is not None:
                return _failed(kept.error)
            kept.span_id = call.span_id
            kept.text = as_text(getattr(kept.value, "name", "") if self._is_handoff else kept.value)
            return Observation(outcome=Outcome.OK, output=kept.text, usage=Usage(tool_calls=1, cost=0.0), at=now())

        async with Standing(asked.task, self.told.name, self.told.options) as place:
            try:
                subcall = await passage.through_async(asked, place, work)
            except SubcallError as exc:
                if isinstance(exc, SubcallFailed) and not exc.withheld and kept.error is not None:
                    here.error = kept.inside or here.error
                    raise kept.error from None
                here.error = exc
                raise
        if self._is_handoff:
            here.below = kept.span_id
            return kept.value
        assert subcall.observation is not None
        return kept.value if subcall.observation.output == kept.text else subcall.observation.output


class _Kept:
    """What a tool returned or raised, until it is judged; ``inside`` is what a subcall of it ended in."""

    value: Any = None
    text: str = ""
    span_id: str | None = None
    error: Exception | None = None
    inside: MonitorError | None = None


def _failed(error: Exception) -> Observation:
    info = ErrorInfo(kind="tool", message=told_by(error))
    return Observation(outcome=Outcome.FAILED, error=info, usage=Usage(tool_calls=1, cost=0.0), at=now())

"""``MonitorCallbackHandler``: for chains and bare chat models, where nothing but callbacks stands before an answer is used.

LangChain waits for its handlers, and ``raise_error`` makes it heed them. So a call that the budget has no room for is not
made, and what an answer is withheld by is raised in its place. A handler cannot shorten an answer, and it cannot hold
back what is streamed: streamed calls are refused, unless ``streams`` says otherwise.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langgraph.errors import GraphBubbleUp

from monitor.adapters.langchain.either import ends, fails, starts
from monitor.adapters.langchain.overwrite import answer_in, overwritten, overwritten_result
from monitor.adapters.langchain.runs import OPEN, Opened, install, is_seen, place_here
from monitor.adapters.langchain.threads import thread_here
from monitor.adapters.langchain.translate import (
    asked_of_model,
    asked_of_tool,
    model_failed,
    observed,
    told_model,
    tool_failed,
    tool_observed,
    tool_text,
)
from monitor.adapters.observed import ObservedRun
from monitor.adapters.options import Options
from monitor.adapters.passage import Passage
from monitor.cancellation import made_in_thread
from monitor.errors import Blocked, ConfigError, SubcallCancelled, SubcallFailed
from monitor.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, Limits, Observation, StoredSubcall, Trust

Streams = Literal["refuse", "observe"]


def _answer(opened: Opened, came: Any) -> Observation:
    return observed(answer_in(came), opened.call, opened.asked, is_bounded=False)


def _result(_: Opened, came: Any) -> Observation:
    return tool_observed(tool_text(came))


def _tool_failed(error: Exception, _: Call) -> Observation:
    is_paused = isinstance(error, GraphBubbleUp)
    return tool_failed(error, Outcome.CANCELLED if is_paused else Outcome.FAILED)


_CLAIMED: set[UUID] = set()  # LangChain's runs that a handler observes: several may be told of one, at once


@contextmanager
def _claimed(run_id: UUID) -> Iterator[None]:
    """Leave the call to this handler, unless it cannot be begun."""
    _CLAIMED.add(run_id)
    try:
        yield
    except BaseException:
        _CLAIMED.discard(run_id)
        raise


def _in_thread(asked: Asked | None) -> Asked | None:
    """A call named by the thread in which it lies, if it lies in one: so the run is found when its graph goes on."""
    thread = thread_here()
    return asked if asked is None or thread is None else replace(asked, scope=f"{thread.scope}/told")


def _close_own(placed: tuple[Any, ObservedRun | None]) -> None:
    """Close the run that was opened for a call whose caller was cancelled meanwhile."""
    if placed[1] is not None:
        placed[1].close(asyncio.CancelledError())


class MonitorCallbackHandler(BaseCallbackHandler):
    """Takes the calls of models, tools and retrievers that LangChain tells of through the door.

    Give it to what is invoked, as ``{"callbacks": [handler]}``, not to one model alone: then all below is one run and one
    tree. Inside an ``observed_run`` the calls belong to that run.

    Args:
        policy, budget, probes, db, name, trust, options: As ``MonitorMiddleware`` takes them.
        role: What the record calls calls of models; default: ``name``.
        streams: ``refuse`` stops a streamed answer at its first token, before anybody has it; ``observe`` lets it pass,
            and raises only at its end.

    Raises, out of what is invoked:
        SubcallError: the answer is withheld, or the budget has no room for the call.
        ConfigError: the answer is streamed, and could not be withheld.
        StoreError: the record could not be written.
    """

    raise_error = True

    on_chat_model_start: Any = starts("_of_chat")
    on_llm_start: Any = starts("_of_llm")
    on_tool_start: Any = starts("_of_tool")
    on_retriever_start: Any = starts("_of_tool")
    on_llm_end: Any = ends(_answer, overwritten)
    on_tool_end: Any = ends(_result, overwritten_result)
    on_retriever_end: Any = ends(_result, overwritten_result)
    on_llm_error: Any = fails(model_failed)
    on_tool_error: Any = fails(_tool_failed)
    on_retriever_error: Any = fails(_tool_failed)

    def __init__(
        self,
        *,
        policy: Sequence[str] | None = None,
        budget: Limits | None = None,
        probes: Sequence[str] | None = None,
        db: str | None = None,
        name: str = "langchain",
        role: str = "",
        trust: Trust = "untrusted",
        streams: Streams = "refuse",
        **options: Any,
    ) -> None:
        if streams not in {"refuse", "observe"}:
            raise ConfigError(f"streams is refuse or observe; found {streams!r}")
        self._options = Options(policy=policy, budget=budget, probes=probes, db=db, **options)
        self._program, self._role, self._trust, self._streams = name, role or name, trust, streams
        install()

    def on_llm_new_token(self, token: str | list[Any], *, run_id: UUID, **_: Any) -> None:
        """Refuse a streamed answer, or remember that it was streamed."""
        self._streamed(run_id)

    def on_stream_event(self, event: Any, *, run_id: UUID, **_: Any) -> None:
        """As ``on_llm_new_token``, where LangChain streams events."""
        self._streamed(run_id)

    def _streamed(self, run_id: UUID) -> None:
        opened = OPEN.get(run_id)
        if opened is None or opened.owner is not self:
            return
        opened.is_streamed = True
        if self._streams == "refuse":
            raise ConfigError(
                "this answer is streamed, and callbacks cannot hold back what is streamed: call `invoke`, without "
                'streaming=True, or give MonitorCallbackHandler(streams="observe"), which raises only at the end'
            )

    def _of_chat(self, serialized: Any, messages: Any, **told: Any) -> Asked | None:
        if is_seen():
            return None
        return asked_of_model(
            told_model(serialized, told),
            messages[0],
            role=self._role,
            trust=self._trust,
            tools=(told.get("invocation_params") or {}).get("tools") or (),
        )

    def _of_llm(self, serialized: Any, prompts: Any, **told: Any) -> Asked | None:
        return self._of_chat(serialized, [[HumanMessage(prompt) for prompt in prompts]], **told)

    def _of_tool(self, serialized: Any, given: Any, **told: Any) -> Asked | None:
        if is_seen(told.get("parent_run_id")):
            return None
        name = told.get("name") or (serialized or {}).get("name") or "tool"
        return asked_of_tool(str(name), told.get("inputs") or given, trust=self._trust)

    def _place(self, asked: Asked, parent_id: UUID | None) -> tuple[Any, ObservedRun | None]:
        place = place_here(self._program, self._options, lambda: asked.task, parent_id)
        if place is not None:
            return place, None
        run = ObservedRun(asked.task, name=self._program, options=self._options)
        return run.open(), run

    def begin(self, make: Callable[..., Asked | None], *given: Any, run_id: UUID, **told: Any) -> None:
        """Store the start of what LangChain is about to call. Raises what keeps the call from being made."""
        asked = None if run_id in _CLAIMED else _in_thread(make(*given, **told))
        if asked is None:
            return
        with _claimed(run_id):
            self._begin(asked, run_id, told.get("parent_run_id"))

    def _begin(self, asked: Asked, run_id: UUID, parent_id: UUID | None) -> None:
        place, own = self._place(asked, parent_id)
        passage = Passage(place.run, asked, place)
        call = passage.begin()
        if call is None:
            self._over(own, passage.result, run_id)
            return
        OPEN[run_id] = Opened(self, passage, asked, call, place, own)

    async def abegin(self, make: Callable[..., Asked | None], *given: Any, run_id: UUID, **told: Any) -> None:
        """As ``begin``."""
        asked = None if run_id in _CLAIMED else _in_thread(make(*given, **told))
        if asked is None:
            return
        with _claimed(run_id):
            await self._abegin(asked, run_id, told.get("parent_run_id"))

    async def _abegin(self, asked: Asked, run_id: UUID, parent_id: UUID | None) -> None:
        place, own = await made_in_thread(lambda: self._place(asked, parent_id), _close_own)
        passage = Passage(place.run, asked, place)
        try:
            call = await passage.begin_async()
        except asyncio.CancelledError as exc:
            passage.cancel()
            if own is not None:
                await asyncio.to_thread(own.close, exc)
            raise
        if call is None:
            await asyncio.to_thread(self._over, own, passage.result, run_id)
            return
        OPEN[run_id] = Opened(self, passage, asked, call, place, own)

    def _mine(self, run_id: UUID) -> Opened | None:
        opened = OPEN.get(run_id)
        return opened if opened is not None and opened.owner is self else None

    def end(self, see: Callable[[Opened, Any], Observation], put: Callable[..., bool], came: Any, run_id: UUID) -> None:
        """Wait for the verdict on what came. Raises what it is withheld by."""
        opened = self._mine(run_id)
        if opened is None:
            return
        seen: Observation | None = None
        try:
            seen = see(opened, came)
        except Exception as exc:  # noqa: BLE001 - what cannot be recorded is not handed on: the record and the caller are told
            opened.passage.finish(exc)
        else:
            opened.passage.finish(seen)
        subcall = self._over(opened.own, opened.passage.result, run_id)
        if seen is not None and subcall is not None and subcall.observation is not None:
            self._hand_on(subcall, seen, opened, lambda: put(came, subcall.observation))

    @staticmethod
    def _hand_on(subcall: StoredSubcall, seen: Observation, opened: Opened, put: Callable[[], bool]) -> None:
        """Put what is released in the place of what came. Raises Blocked where that is not in our hands."""
        assert subcall.observation is not None
        if subcall.observation.model_copy(update={"seconds": 0.0}) == seen:
            return
        if opened.is_streamed or not put():
            assert subcall.judgement is not None
            raise Blocked(
                f"what {subcall.call.role} answered is to be changed, and a callback cannot change it",
                subcall.judgement,
                run_id=subcall.call.run_id,
                span_id=subcall.call.span_id,
            )

    def fail(self, see: Callable[[Exception, Any], Observation], error: BaseException, run_id: UUID) -> None:
        """Store what the call was ended by. Raises only where nobody may have its message."""
        opened = self._mine(run_id)
        if opened is None:
            return
        opened.passage.finish(see(error, opened.call) if isinstance(error, Exception) else error)
        try:
            self._over(opened.own, opened.passage.result, run_id, error)
        except SubcallFailed as exc:
            if exc.withheld:  # else LangChain raises the error itself
                raise exc from None
        except SubcallCancelled:
            pass

    @staticmethod
    def _over(
        own: ObservedRun | None, result: Callable[[], StoredSubcall], run_id: UUID, error: BaseException | None = None
    ) -> StoredSubcall | None:
        """The verdict; and the end of a run that was opened for this call alone."""
        try:
            subcall = result()
        except BaseException as exc:
            if own is not None:
                own.close(error or exc)
            raise
        else:
            if own is not None and subcall.observation is not None:
                own.answer = subcall.observation.output
                own.close(error)
            return subcall
        finally:
            OPEN.pop(run_id, None)
            _CLAIMED.discard(run_id)

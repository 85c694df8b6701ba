"""One HTTP request whose stream is handed on before its end, as far as no rule that acts can match in it.

    started ─ request ─ chunk ─ watched ─ event released ─ chunk handed on ─ … ─ observed ─ judged ─ the rest handed on

What was not handed on when the stream is judged is handed on then, or is withheld: then the error is raised where the next
chunk would have come. Once a pattern of an acting rule is found nothing more is handed on; if the rule withholds what came
so far, the connection is closed, for the rest could change nothing.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.adapters import door
from monitor.adapters.openai_sdk.bodies import async_body_of, body_of, close_at_exit
from monitor.adapters.openai_sdk.observed import cut_off, observed
from monitor.adapters.openai_sdk.sending import Sending
from monitor.adapters.openai_sdk.window import MARGIN, Window
from monitor.adapters.openai_sdk.wire import read_events, write_events
from monitor.adapters.passage import Passage
from monitor.canonical import unescape_text
from monitor.errors import Blocked, ConfigError, StoreError, SubcallError
from monitor.records import Reasoning, ReasoningState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from types import TracebackType

    from monitor.adapters.openai_sdk.sending import Asking
    from monitor.adapters.openai_sdk.window import Step
    from monitor.loaded import Windows
    from monitor.records import Call, Observation, StoredSubcall

STOPPED = "stopped_by_monitor"
"""The finish reason of an answer that was not waited for to its end, since a rule withholds what came of it."""


class Releasing(Sending):
    """One attempt whose stream is handed on as it comes. What is no stream of events goes the way of ``Sending``."""

    def __init__(self, asking: Asking, request: Any, windows: Windows) -> None:
        super().__init__(asking, request)
        watch = windows.watch(margin=MARGIN)
        self.window = Window(asking.format.follower(), watch)
        self._windows, self._watch = windows, watch
        self.call: Call | None = None
        self._looked = self._is_stopped = False
        self._handed: Any = lambda: None  # weakly: who stops reading and keeps nothing closes the stream at once
        self._run_open: Any = None
        self._passage: Passage | None = None

    # --------------------------------------------------------------------------------------------------- sending

    def sync(self, send: Callable[[Any], Any], *, unread: bool) -> Any:
        """See ``Sending``; returns once the stream has begun."""
        if not (unread and self._is_stream):
            return super().sync(send, unread=unread)
        if door.is_inside():
            raise ConfigError("a call of foreign code from inside the monitor's own loop would wait for itself")
        passage = self._begun()
        call = self.call = passage.begin()
        if call is None:
            return self._released(passage.result)
        try:
            self._response = send(self._prepared(call))
            if self._is_streamed(call):
                chunks = self.stream()
                close_at_exit(chunks)
                next(chunks)  # so that it is told when it is closed before anybody reads
                handed = self._response_with(stream=body_of(self._response, chunks))
                self._handed = weakref.ref(handed)
                return handed
            for chunk in self._response.iter_bytes():
                self._take(chunk)
            passage.finish(self._came(call))
        except Exception as exc:  # noqa: BLE001 - raised again, once the record says so
            if self._response is not None:
                self._response.close()
            passage.finish(self._failed(call, exc))
        except BaseException as exc:
            passage.finish(exc)
            raise
        return self._released(passage.result)

    async def asynchronous(self, send: Callable[[Any], Awaitable[Any]], *, unread: bool) -> Any:
        """As ``sync``."""
        if not (unread and self._is_stream):
            return await super().asynchronous(send, unread=unread)
        passage = self._begun()
        try:
            call = self.call = await passage.begin_async()
            if call is not None:
                try:
                    self._response = await send(self._prepared(call))
                    if self._is_streamed(call):
                        chunks = self.async_stream()
                        await anext(chunks)  # so that it is told when it is closed before anybody reads
                        handed = self._response_with(stream=async_body_of(self._response, chunks))
                        self._handed = weakref.ref(handed)
                        return handed
                    async for chunk in self._response.aiter_bytes():
                        self._take(chunk)
                    passage.finish(self._came(call))
                except Exception as exc:  # noqa: BLE001 - as above
                    if self._response is not None:
                        await self._response.aclose()
                    passage.finish(self._failed(call, exc))
            subcall = await passage.result_async()
        except SubcallError as exc:
            return self._ended(exc)
        except asyncio.CancelledError:
            passage.cancel()
            raise
        return self._handed_on(subcall)

    def _begun(self) -> Passage:
        place = self._asking.place
        self._passage = Passage(place.run, self._attempt(), place)
        return self._passage

    def _is_streamed(self, call: Call) -> bool:
        """Whether a stream came that may be handed on as it comes; then the run stays open for as long."""
        if self._response.is_error or not self._is_event_stream():
            return False
        if self._windows.is_decided_for(call):
            self._watch.hold()
        assert self._asking.standing is not None
        self._run_open = self._asking.standing.kept_open()
        return True

    # ---------------------------------------------------------------------------------------------------- streams

    def stream(self) -> Iterator[bytes]:
        """The stream as it is handed on. Who stops reading it early closes it, and the record says so."""
        assert self._passage is not None
        passage, closing = self._passage, self._run_open
        with _Run(closing):
            try:
                yield b""
                for chunk in self._response.iter_bytes():
                    step = self._followed(chunk)
                    if step.part is not None:
                        self._asking.place.run.hand_on(self._call, step.part, self.window.parts - 1).result()
                    if step.ready:
                        yield step.ready
                    if self._stops(step):
                        break
            except (GeneratorExit, StoreError, SubcallError) as exc:
                self._response.close()
                self._cut_off(exc)
                if door.can_wait():  # unlike where a stream that nobody closed is collected there
                    with suppress(SubcallError, StoreError):
                        passage.result()
                raise
            except Exception as exc:  # noqa: BLE001 - raised again, once the record says so
                passage.finish(self._failed(self._call, exc))
            except BaseException as exc:
                self._cut_off(exc)
                raise
            else:
                passage.finish(self._whole())
            self._response.close()
            self._note_elapsed()
            try:
                rest = self._rest(passage.result())
            except SubcallError as exc:
                rest = self._rest_of_failed(exc)
        if rest:
            yield rest

    async def async_stream(self) -> AsyncIterator[bytes]:
        """As ``stream``."""
        assert self._passage is not None
        passage, closing = self._passage, self._run_open
        async with _Run(closing):
            try:
                yield b""
                async for chunk in self._response.aiter_bytes():
                    step = self._followed(chunk)
                    if step.part is not None:
                        part = self._asking.place.run.hand_on(self._call, step.part, self.window.parts - 1)
                        await asyncio.shield(asyncio.wrap_future(part))
                    if step.ready:
                        yield step.ready
                    if self._stops(step):
                        break
            except (GeneratorExit, StoreError, SubcallError, asyncio.CancelledError) as exc:
                self._cut_off(exc)
                await _whatever(self._response.aclose())
                await _whatever(passage.result_async())
                raise
            except Exception as exc:  # noqa: BLE001 - as above
                passage.finish(self._failed(self._call, exc))
            except BaseException as exc:
                self._cut_off(exc)
                raise
            else:
                passage.finish(self._whole())
            await self._response.aclose()
            self._note_elapsed()
            try:
                rest = self._rest(await passage.result_async())
            except SubcallError as exc:
                rest = self._rest_of_failed(exc)
        if rest:
            yield rest

    def _note_elapsed(self) -> None:
        with suppress(RuntimeError, AttributeError):
            self._handed().elapsed = self._response.elapsed

    @property
    def _call(self) -> Call:
        assert self.call is not None
        return self.call

    def _followed(self, chunk: bytes) -> Step:
        """Keep a chunk, and say what it made ready. Raises TimeoutError, and SubcallError where the run has ended."""
        self._take(chunk)
        step = self.window.take(chunk)
        assert self._passage is not None
        if self._passage.is_over:
            self._passage.result()
        return step

    def _stops(self, step: Step) -> bool:
        """Whether what came so far is withheld, whatever follows. Looked at once, when the first pattern is found."""
        if step.found and not self._looked:
            self._looked = True
            self._is_stopped = all(self._asking.place.run.stops(self._call, seen) for seen in self._readings())
        return self._is_stopped

    def _readings(self) -> Iterator[Observation]:
        """What came so far as it may be read in the end: a closing think tag would make a thought of the answer."""
        seen = self._so_far()
        yield seen
        if seen.reasoning.state is ReasoningState.ABSENT:
            thought = Reasoning(state=ReasoningState.PLAIN, text=seen.output, source="think_tag")
            yield seen.model_copy(update={"reasoning": thought, "output": "", "raw": seen.output})

    def _so_far(self, **instead: Any) -> Observation:
        heard = replace(self._heard(), is_whole=True, error="", **instead)
        return observed(self._call, heard, price=self._asking.price, asked=self._asked.max_output_tokens)

    def _whole(self) -> Observation:
        is_cut = self._is_stopped and not self._heard().is_whole
        self._seen = self._so_far(finish_reason=STOPPED, usage=None) if is_cut else self._came(self._call)
        return self._seen

    def _cut_off(self, exc: BaseException) -> None:
        """What was read no further: by whoever reads, or because the record could not be written."""
        assert self._passage is not None
        if isinstance(exc, StoreError):
            self._passage.finish(exc)
            return
        self._passage.finish(cut_off(self._call, self._heard(), "whoever asked stopped reading the stream"))

    # ------------------------------------------------------------------------------------------------- what is left

    def _rest(self, subcall: StoredSubcall) -> bytes:
        """What is left to hand on of a judged stream."""
        answer, is_changed = self._replaced(subcall)
        rest = bytes(self._content[self.window.handed_on :])
        form = self._asking.format
        if is_changed:
            reasoning, output = self._left_out(subcall)
            events = self.window.follower.continued(form.streamed(answer), reasoning, output)
        else:
            events = read_events(rest)
        shown = form.without_usage(events) if self._hides_usage() else events
        return write_events(shown) if is_changed or len(shown) != len(events) else rest

    def _left_out(self, subcall: StoredSubcall) -> tuple[int, int]:
        """How many characters of the answer that is released were handed on already. Raises Blocked where it is no
        continuation of those: a person put another in its place.
        """
        released, window = subcall.observation, self.window
        assert released is not None
        if not released.reasoning.text.startswith(window.reasoning) or not released.output.startswith(window.output):
            assert subcall.judgement is not None
            raise Blocked(
                f"another answer was put in the place of that of {subcall.call.role} ({subcall.call.span_id}), whose "
                "beginning was released before: `monitor show` has both",
                subcall.judgement,
                run_id=subcall.call.run_id,
                span_id=subcall.call.span_id,
            )
        return len(unescape_text(window.reasoning)), len(unescape_text(window.output))

    def _rest_of_failed(self, exc: SubcallError) -> bytes:
        """What is left of a stream that failed by itself. Raises whatever else it ended in."""
        self._ended(exc)
        return bytes(self._content[self.window.handed_on :])


class _Run:
    """Closes the run that a call made for itself, in ``with`` and ``async with``; what ends a stream early ends no run."""

    def __init__(self, closing: Any) -> None:
        self._closing = closing

    def __enter__(self) -> None:
        """Nothing to do: the run is open."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told = (None, None, None) if isinstance(error, GeneratorExit) else (kind, error, trace)
        if door.is_inside():
            threading.Thread(target=self._closing.__exit__, args=told).start()
        elif door.can_wait():
            self._closing.__exit__(*told)

    async def __aenter__(self) -> None:
        """Nothing to do."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told = (None, None, None) if isinstance(error, GeneratorExit) else (kind, error, trace)
        await self._closing.__aexit__(*told)


async def _whatever(ending: Awaitable[Any]) -> None:
    """Wait for something to end, whatever it ends in."""
    with suppress(Exception, asyncio.CancelledError):
        await asyncio.shield(asyncio.ensure_future(ending))

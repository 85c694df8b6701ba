"""One HTTP request of the SDK through the door: stored before it is sent, judged before its answer is handed on.

The SDK tries failed requests again by itself. Each try is an attempt of its own, a child of the first one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from monitor.adapters import passage
from monitor.adapters.openai_sdk.observed import cut_off, observed, out_of_time, said_nothing
from monitor.adapters.openai_sdk.wire import Heard, read_events, write_events
from monitor.adapters.raised import said_in_error
from monitor.errors import SubcallError, SubcallFailed
from monitor.models.translate import translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from monitor.adapters.observing import Standing
    from monitor.adapters.openai_sdk.wire import Format
    from monitor.adapters.places import Place
    from monitor.loaded import Windows
    from monitor.models.base import Price
    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, Observation, StoredSubcall

_OF_THE_BODY = {"content-length", "content-encoding", "transfer-encoding"}
"""Headers that are about the bytes of a body, which is another now."""


@dataclass(slots=True)
class Asking:
    """One call of the SDK, with all its attempts: where it stands, its format, what the client was wrapped with.

    ``windows`` are there where its stream is to be released before its end; ``standing`` has the run which
    the call made for itself, which whoever reads the stream keeps open.
    """

    place: Place
    format: Format
    role: str
    price: Price | None
    is_official: bool
    stream_usage: bool
    error_of: Callable[[Any], Exception]
    windows: Windows | None = None
    standing: Standing | None = None
    first: Call | None = None
    attempts: int = 0


class Sending:
    """One attempt. ``request`` and what comes back are httpx's, of whichever httpx the client has."""

    def __init__(self, asking: Asking, request: Any) -> None:
        self._asking, self._request = asking, request
        self._body: dict[str, Any] = json.loads(request.content)
        self._asked = asking.format.asked(self._body, asking.role)
        self._is_stream = bool(self._body.get("stream"))
        self._response: Any = None
        self._content = bytearray()
        self._answer: dict[str, Any] = {}
        self._seen: Observation | None = None
        self._error: BaseException | None = None

    def sync(self, send: Callable[[Any], Any], *, unread: bool) -> Any:
        """Send it, and return the response once it is judged. ``unread`` says that ``send`` leaves the body to be read."""

        def work(call: Call) -> Observation:
            try:
                self._response = send(self._prepared(call))
                if unread:
                    chunks: Iterator[bytes] = self._response.iter_bytes()
                    for chunk in chunks:
                        self._take(chunk)
                else:
                    self._content += self._response.content
            except Exception as exc:  # noqa: BLE001 - raised again, once the record says so
                if self._response is not None:
                    self._response.close()
                return self._failed(call, exc)
            return self._came(call)

        place = self._asking.place
        return self._released(lambda: passage.through(self._attempt(), place, work, left=self._left))

    async def asynchronous(self, send: Callable[[Any], Awaitable[Any]], *, unread: bool) -> Any:
        """As ``sync``."""

        async def work(call: Call) -> Observation:
            try:
                self._response = await send(self._prepared(call))
                if unread:
                    chunks: AsyncIterator[bytes] = self._response.aiter_bytes()
                    async for chunk in chunks:
                        self._take(chunk)
                else:
                    self._content += self._response.content
            except Exception as exc:  # noqa: BLE001 - as above
                if self._response is not None:
                    await self._response.aclose()
                return self._failed(call, exc)
            return self._came(call)

        place = self._asking.place
        try:
            subcall = await passage.through_async(self._attempt(), place, work, left=self._left)
        except SubcallError as exc:
            return self._ended(exc)
        return self._handed_on(subcall)

    def _attempt(self) -> Asked:
        self._asking.attempts += 1
        return replace(self._asked, price=self._asking.price, first=self._asking.first, attempt=self._asking.attempts)

    def _seconds_left(self) -> float | None:
        return self._asking.place.budget.seconds_left()

    def _take(self, chunk: bytes) -> None:
        """Keep a chunk. Raises TimeoutError where it came too late for the budget."""
        self._content += chunk
        if (left := self._seconds_left()) is not None and left <= 0:
            raise TimeoutError("the budget's seconds are over")

    def _prepared(self, call: Call) -> Any:
        """The request as it is sent: the same, unless budgets bound it or its usage has to be asked for."""
        self._asking.first = self._asking.first or call
        if (left := self._seconds_left()) is not None:
            given = self._request.extensions.get("timeout") or dict.fromkeys(("connect", "read", "write", "pool"))
            bounded = {name: left if limit is None else min(limit, left) for name, limit in given.items()}
            self._request.extensions = {**self._request.extensions, "timeout": bounded}
        longest = call.max_output_tokens
        if longest == self._asked.max_output_tokens:
            longest = None
        asking = self._asking
        body = asking.format.prepared(self._body, longest, is_official=asking.is_official, usage=asking.stream_usage)
        if body == self._body:
            return self._request
        given = self._request
        headers = [(name, value) for name, value in given.headers.multi_items() if name.lower() not in _OF_THE_BODY]
        content = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        return type(given)(given.method, given.url, headers=headers, content=content, extensions=given.extensions)

    def _came(self, call: Call) -> Observation:
        if self._response.is_error:
            whole = self._whole_response()
            return self._failed(call, self._asking.error_of(whole), said=said_in_error(whole.content))
        heard = self._heard()
        self._seen = observed(call, heard, price=self._asking.price, asked=self._asked.max_output_tokens)
        return self._seen

    def _failed(self, call: Call, error: Exception, *, said: str | None = None) -> Observation:
        """The call failed. The record keeps what had arrived of a stream, and what an answer with an error ``said``."""
        self._error = error if said is None else None
        heard = self._heard() if self._content and said is None else Heard(text=said) if said else None
        failure = translate(error, model=self._asked.model, is_whole=True)
        left = self._seconds_left()
        if failure.kind == "timeout" and left is not None and left <= 0:
            self._seen = out_of_time(call, self._asking.place.budget.out_of_time(), heard)
        else:
            self._seen = said_nothing(call, failure, heard)
        return self._seen

    def _left(self, call: Call) -> Observation | None:
        """What had come when the call was cut off, if anything had."""
        return cut_off(call, self._heard()) if self._content else None

    def _heard(self) -> Heard:
        form = self._asking.format
        whole = _object(bytes(self._content))
        self._is_stream = self._is_stream and (self._is_event_stream() or not whole)
        self._answer = form.merged(read_events(bytes(self._content))) if self._is_stream else whole
        heard = form.heard(self._answer)
        if heard.is_whole or heard.text or heard.reasoning or heard.tool_calls or heard.error:
            return heard
        return replace(heard, text=self._content.decode("utf-8", "replace"))  # nobody can read it, rules look at it

    def _is_event_stream(self) -> bool:
        return "event-stream" in self._response.headers.get("content-type", "")

    def _released(self, through: Callable[[], StoredSubcall]) -> Any:
        try:
            subcall = through()
        except SubcallError as exc:
            return self._ended(exc)
        return self._handed_on(subcall)

    def _ended(self, exc: SubcallError) -> Any:
        """The call has no answer that may be used. What failed by itself fails as it would without us, if nobody minds."""
        if not isinstance(exc, SubcallFailed) or exc.withheld or self._seen is None:
            raise exc
        if self._error is not None:
            raise self._error
        return self._whole_response()

    def _handed_on(self, subcall: StoredSubcall) -> Any:
        """The response, with other texts in it where a rule redacted them or a person changed them."""
        form = self._asking.format
        answer, is_changed = self._replaced(subcall)
        hides_usage = self._hides_usage()
        if self._is_stream and (is_changed or hides_usage):
            events = form.streamed(answer) if is_changed else read_events(bytes(self._content))
            shown = form.without_usage(events) if hides_usage else events
            if is_changed or len(shown) != len(events):
                self._content = bytearray(write_events(shown))
        elif is_changed:
            self._content = bytearray(json.dumps(answer).encode())
        return self._whole_response()

    def _replaced(self, subcall: StoredSubcall) -> tuple[dict[str, Any], bool]:
        """The answer as it may be handed on, and whether it is another than the one that came."""
        seen, released = self._seen, subcall.observation
        assert seen is not None
        assert released is not None
        is_changed = _texts(seen) != _texts(released)
        return (self._asking.format.replaced(self._answer, seen, released) if is_changed else self._answer), is_changed

    def _hides_usage(self) -> bool:
        return self._is_stream and self._asking.stream_usage and self._body.get("stream_options") is None

    def _whole_response(self) -> Any:
        """The response with a body that is all there."""
        came = self._response
        if bytes(self._content) == getattr(came, "_content", None):
            return came
        whole = self._response_with(content=bytes(self._content))
        whole.elapsed = came.elapsed
        return whole

    def _response_with(self, **body: Any) -> Any:
        """The response as it came, with another body."""
        came = self._response
        headers = [(name, value) for name, value in came.headers.multi_items() if name.lower() not in _OF_THE_BODY]
        return type(came)(
            came.status_code,
            headers=headers,
            request=came.request,
            extensions=came.extensions,
            history=came.history,
            **body,
        )


def _texts(observation: Observation) -> Any:
    return observation.output, observation.reasoning, observation.tool_calls


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

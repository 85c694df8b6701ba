"""The answers to requests: who may send, how much, what was wrong with it; 200 only after what was accepted is on the disk.

Memory is bounded: what all requests together hold, what one may hold, and one body is parsed at a time.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor.adapters.serve import wire
from monitor.adapters.serve.receiving import TooManyError, receive_logs, receive_spans
from monitor.errors import StoreError
from monitor.store.inbox import InboxFullError

if TYPE_CHECKING:
    from monitor.adapters.serve.receiving import Received
    from monitor.adapters.serve.wire import Encoding, Signal
    from monitor.store.inbox import Inbox

_AGAIN_SOON, _AGAIN_LATER = 1, 10  # seconds, for Retry-After
_RPC = {400: 3, 401: 16, 413: 3, 415: 3, 429: 8, 500: 13, 503: 14}
"""HTTP's statuses as gRPC's codes, which the body of a refusal has."""


@dataclass(frozen=True, slots=True)
class Intake:
    """How much is taken. Bytes are those of bodies, decompressed: of one request, and of all that are held at once."""

    body_bytes: int = 32 * 2**20
    held_bytes: int = 64 * 2**20
    requests: int = 64
    body_seconds: float = 60.0


class _Refused(Exception):  # noqa: N818 - a refusal is an answer
    """A request that is answered with a status other than 200."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers or {}


class Receiver:
    """Answers exports for one inbox. ``token`` is wanted of everybody who sends, unless it is empty."""

    def __init__(self, inbox: Inbox, *, token: str = "", settle_seconds: float, intake: Intake | None = None) -> None:
        self._inbox, self._token, self._settle = inbox, token.encode(), settle_seconds
        self._intake = intake or Intake()
        self._held = self._requests = 0
        self._parsing = asyncio.Lock()
        self.is_closing = False
        self.app = Starlette(
            routes=[
                Route("/v1/traces", self._traces, methods=["POST"]),
                Route("/v1/logs", self._logs, methods=["POST"]),
                Route("/healthz", self._health, methods=["GET"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "closing" if self.is_closing else "ok"})

    async def _traces(self, request: Request) -> Response:
        return await self._answered(request, "traces")

    async def _logs(self, request: Request) -> Response:
        return await self._answered(request, "logs")

    async def _answered(self, request: Request, signal: Signal) -> Response:
        encoding: Encoding = wire.TYPES.get(_plain(request.headers.get("content-type", "")), "json")
        try:
            reply = await self._taken(request, signal)
        except _Refused as exc:
            reply = wire.refused(encoding, _RPC[exc.status], str(exc))
            # What was not read of the body would be taken for the next request.
            headers = {**exc.headers, "Connection": "close"}
            return Response(reply.body, exc.status, headers, reply.content_type)
        return Response(reply.body, 200, media_type=reply.content_type)

    async def _taken(self, request: Request, signal: Signal) -> wire.Reply:
        self._require_token(request)
        encoding, coding = _encodings(request)
        if self.is_closing:
            raise _Refused(503, "the server ends: send it again", {"Retry-After": str(_AGAIN_LATER)})
        if self._requests >= self._intake.requests:
            raise _Refused(429, "too many requests at once: send it again", {"Retry-After": str(_AGAIN_SOON)})
        self._requests += 1
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            if self._held + size > self._intake.held_bytes:
                raise _Refused(429, "too much at once: send it again", {"Retry-After": str(_AGAIN_SOON)})
            self._held += size
            mine += size

        try:
            body = await self._body(request, wire.Inflating(coding, self._intake.body_bytes, hold))
            return await self._stored(body, encoding, signal)
        except (wire.TooLargeError, TooManyError) as exc:
            raise _Refused(413, str(exc)) from None
        except wire.BadPayloadError as exc:
            raise _Refused(400, str(exc)) from None
        finally:
            self._held -= mine
            self._requests -= 1

    def _require_token(self, request: Request) -> None:
        if not self._token:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), self._token):
            why = "expected the header `Authorization: Bearer TOKEN` with the token of this server"
            raise _Refused(401, why, {"WWW-Authenticate": "Bearer"})

    async def _body(self, request: Request, into: wire.Inflating) -> bytes:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._intake.body_bytes:
            raise _Refused(413, f"the body is larger than {self._intake.body_bytes:,} bytes: send fewer spans at once")
        try:
            async with asyncio.timeout(self._intake.body_seconds):
                async for piece in request.stream():
                    into.feed(piece)
        except TimeoutError:
            why = f"the body did not come within {self._intake.body_seconds:g} seconds: send it again"
            raise _Refused(503, why, {"Retry-After": str(_AGAIN_SOON)}) from None  # 408 is not sent again by exporters
        except ClientDisconnect:
            raise _Refused(400, "the body was cut off") from None
        return into.whole()

    async def _stored(self, body: bytes, encoding: Encoding, signal: Signal) -> wire.Reply:
        """Parse a body and keep what is in it; the answer says what could not be kept."""

        def parsed() -> Received:
            export = wire.read(body, encoding, signal)
            return receive_spans(export) if signal == "traces" else receive_logs(export)

        async with self._parsing:
            received = await asyncio.to_thread(parsed)
        kept = [*received.parcels, *received.notes]
        if received.rejected and not kept:
            raise _Refused(400, received.why)
        late = 0
        if kept:
            now = time.time()
            try:
                said = await asyncio.to_thread(
                    self._inbox.add, received.parcels, received.notes, now=now, due=now + self._settle
                )
            except InboxFullError as exc:
                raise _Refused(503, f"{exc}: send it again", {"Retry-After": str(_AGAIN_LATER)}) from None
            except StoreError as exc:
                why = f"what came cannot be kept now ({exc}): send it again"
                raise _Refused(503, why, {"Retry-After": str(_AGAIN_LATER)}) from None
            late = said.late
        why = "; ".join(filter(None, [received.why, "the span is recorded already" if late else ""]))
        return wire.accepted(encoding, signal, rejected=len(received.rejected) + late, why=why)


def _plain(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _encodings(request: Request) -> tuple[Encoding, str]:
    """How a body is written, and what it is compressed with."""
    given = _plain(request.headers.get("content-type", ""))
    if given not in wire.TYPES:
        expected = " or ".join(wire.TYPES)
        raise _Refused(415, f"expected the content type {expected}, found {given or 'none'}")
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding in {"", "identity"}:
        return wire.TYPES[given], ""
    if coding not in wire.CODINGS:
        known = ", ".join(wire.CODINGS)
        raise _Refused(
            415, f"expected the content encoding {known} or none, found {coding}", {"Accept-Encoding": known}
        )
    return wire.TYPES[given], coding

"""What a writer is asked to write, and how whoever asked is told how it went."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.records import Call, Judgement, Observation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from monitor.records import Event
    from monitor.store.statements import Written

_INLINE_CHARACTERS = 64 * 1024
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Request:
    """Events that are written together or not at all, and the future (of a loop, or of a thread) that waits for them."""

    events: Sequence[Event]
    waiter: asyncio.Future[None] | Future[None]
    failure: Exception | None = None
    written: tuple[Written, ...] = ()


def is_light(events: Sequence[Event]) -> bool:
    """Whether the texts of ``events`` are short enough to be hashed and stored without keeping an event loop waiting."""
    characters = 0
    for event in events:
        match event.payload:
            case Judgement():
                pass
            case Observation() as seen:
                characters += len(seen.output) + len(seen.raw) + len(seen.reasoning.text)
                characters += sum(len(call.arguments) for call in seen.tool_calls)
                characters += 20 * len(seen.tokens.prompt_ids + seen.tokens.output_ids) if seen.tokens else 0
            case Call() as call:
                characters += len(call.task) + len(call.output_schema)
                characters += sum(len(message.content) for message in call.messages)
            case _:
                return False  # once or twice in a run: not worth measuring
    return characters <= _INLINE_CHARACTERS


def wake(group: Sequence[Request]) -> None:
    """Tell everyone who waits how it went: once for each event loop, for every call into a loop is a system call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Request]] = defaultdict(list)
    for request in group:
        if isinstance(request.waiter, asyncio.Future):
            by_loop[request.waiter.get_loop()].append(request)
        else:
            resolve([request])
    for loop, requests in by_loop.items():
        try:
            loop.call_soon_threadsafe(resolve, requests)
        except RuntimeError:  # the loop was closed while its events were being written
            _report(requests)


def resolve(requests: Sequence[Request]) -> None:
    """Resolve the futures of requests that were written, or failed; in the thread of their loop."""
    for request in requests:
        if request.waiter.done():
            _report([request])
        elif request.failure:
            request.waiter.set_exception(request.failure)
        else:
            request.waiter.set_result(None)


def _report(requests: Sequence[Request]) -> None:
    """Log the failures that nobody waits for any more."""
    for request in requests:
        if request.failure:
            _log.error("events of a cancelled task were not stored: %s", request.failure)

"""A model that plays back what it was told to: the test double, for our tests and for everybody else's.

    model = ScriptedModel(["Paris.", Reply(text="Lyon.", reasoning="It rhymes."), ProviderError("busy", kind="rate_limit")])
    model = ScriptedModel(lambda request: Reply(text=request.messages[-1].content.upper()))

``load`` reads the same from a YAML or JSON file, which ``--model scripted:FILE`` uses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from monitor.models.base import InputBound, ModelReply, ModelRequest, Progress, ReportedUsage
from monitor.models.pricing import FREE
from monitor.models.tokens import byte_bound
from monitor.records import ReasoningState, TokenEvidence, ToolCall

if TYPE_CHECKING:
    from monitor.models.base import Price

_BYTES_PER_TOKEN = 4
_PIECES = 4


class ScriptExhaustedError(AssertionError):
    """The model was asked once more than its script says: the test is wrong, or the code under test asks too often."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer. Everything happens in this order: ``delay``, the pieces of the answer, ``error`` or ``hang``.

    ``chunks`` are what arrives piece by piece (by default ``text`` in four); with ``error`` or ``hang`` they are all that
    arrives. ``usage`` is what is reported: by default four bytes to the token and never more than was allowed,
    None for a provider that reports nothing; it may be larger than what was allowed. ``when`` says which requests the
    step is for (all, by default); ``times`` how often it is used, None for ever.
    """

    text: str = ""
    reasoning: str = ""
    reasoning_state: ReasoningState | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    usage: ReportedUsage | str | None = "counted"
    tokens: TokenEvidence | None = None
    delay: float = 0.0
    chunks: tuple[str, ...] | None = None
    error: BaseException | None = None
    hang: bool = False
    when: Callable[[ModelRequest], bool] | None = None
    times: int | None = 1


Step: TypeAlias = Reply | str | BaseException
Steps: TypeAlias = Sequence[Step] | Callable[[ModelRequest], Step]


class ScriptedModel:
    """A ``ModelClient`` that plays back steps, in order or by what they say they are for, or asks a function.

    Each request takes the first step that is not used up and whose ``when`` accepts it. ``requests`` has all requests
    in the order of their arrival and ``calls`` their number. Safe under concurrency and threads.
    """

    def __init__(
        self,
        steps: Steps,
        *,
        name: str = "scripted",
        context_tokens: int | None = None,
        price: Price | None = FREE,
        input_tokens: int | None = None,
    ) -> None:
        """Make a model; ``input_tokens`` is the (exact) bound that it gives for every request, else bytes are counted."""
        self._answer = steps if callable(steps) else None
        self._steps = [] if callable(steps) else [_as_reply(step) for step in steps]
        self._used = [0] * len(self._steps)
        self._lock = threading.Lock()
        self.name = name
        self.context_tokens = context_tokens
        self.price = price
        self._input_tokens = input_tokens
        self.requests: list[ModelRequest] = []

    @property
    def calls(self) -> int:
        """How often it has been called."""
        return len(self.requests)

    async def bound_input(self, request: ModelRequest) -> InputBound:
        """The bound it was given, as an exact one, else the bound by bytes."""
        if self._input_tokens is not None:
            return InputBound(tokens=self._input_tokens, exact=True)
        return byte_bound(request)

    async def complete(self, request: ModelRequest, progress: Progress) -> ModelReply:
        """Play the next step.

        Raises ScriptExhaustedError where no step is left for this request, else whatever the step says.
        """
        reply = self._take(request)
        await asyncio.sleep(reply.delay)
        if reply.reasoning:
            progress.reasoning.append(reply.reasoning)
        for chunk in _chunks(reply):
            progress.text.append(chunk)
            await asyncio.sleep(0)  # as between real chunks, others run
        if reply.hang:
            await asyncio.Event().wait()
        if reply.error is not None:
            raise reply.error
        return _model_reply(reply, request, self.name)

    def complete_sync(self, request: ModelRequest, progress: Progress | None = None) -> ModelReply:
        """``complete`` for callers without an event loop."""
        return asyncio.run(self.complete(request, progress or Progress()))

    async def aclose(self) -> None:
        """Nothing is open."""

    def _take(self, request: ModelRequest) -> Reply:
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
            if self._answer is None:
                for index, step in enumerate(self._steps):
                    unused = step.times is None or self._used[index] < step.times
                    if unused and (step.when is None or step.when(request)):
                        self._used[index] += 1
                        return step
        if self._answer is not None:
            return _as_reply(self._answer(request))
        asked = request.messages[-1].content if request.messages else ""
        raise ScriptExhaustedError(
            f"the scripted model {self.name!r} has {len(self._steps)} steps and none is left for request {number}, "
            f"which ends in: {asked[-200:]!r}"
        )


def _as_reply(step: Step) -> Reply:
    if isinstance(step, Reply):
        return step
    return Reply(text=step) if isinstance(step, str) else Reply(error=step)


def _chunks(reply: Reply) -> tuple[str, ...]:
    if reply.chunks is not None:
        return reply.chunks
    size = max(1, -(-len(reply.text) // _PIECES))
    return tuple(reply.text[start : start + size] for start in range(0, len(reply.text), size))


def _model_reply(reply: Reply, request: ModelRequest, name: str) -> ModelReply:
    text = reply.text or "".join(reply.chunks or ())
    said = replace(reply, text=text)
    state = reply.reasoning_state or (ReasoningState.PLAIN if reply.reasoning else ReasoningState.ABSENT)
    return ModelReply(
        text=text,
        reasoning=reply.reasoning,
        reasoning_state=state,
        tool_calls=reply.tool_calls,
        finish_reason=reply.finish_reason,
        model=name,
        usage=reply.usage if not isinstance(reply.usage, str) else _counted(said, request),
        tokens=reply.tokens,
    )


def _counted(reply: Reply, request: ModelRequest) -> ReportedUsage:
    """Four bytes to the token: below the bound by bytes, and within what was allowed, as an honest provider's count is."""

    def tokens(texts: list[str]) -> int:
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) // _BYTES_PER_TOKEN + 1

    written = [reply.text, reply.reasoning, *(call.arguments for call in reply.tool_calls)]
    return ReportedUsage(
        input_tokens=tokens([message.content for message in request.messages]),
        output_tokens=min(tokens(written), request.max_output_tokens),
    )

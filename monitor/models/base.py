"""What a model client is: the one shape behind which every provider, the embedded model and the test double stand.

Texts in a ``ModelReply`` are the provider's own, hostile or not; ``orchestrate`` escapes them when it makes the record.
A client never retries by itself (an unseen retry is an uncounted call) and translates each foreign exception into a
``ProviderError``, cleaned of keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from monitor.canonical import escape_text
from monitor.records import ToolCall

if TYPE_CHECKING:
    from monitor.records import Message, ReasoningState, TokenEvidence


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it; ``parameters`` is a JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call. ``timeout`` is in seconds; the caller cancels at its deadline besides.

    ``output_schema`` asks for an answer that is one JSON object of that JSON Schema. ``decoding_schema`` allows less than
    that: a client that decodes by a grammar holds the answer to it, others pass it over, and no model is ever shown it.
    """

    messages: tuple[Message, ...]
    max_output_tokens: int
    tools: tuple[ToolSpec, ...] = ()
    output_schema: dict[str, Any] | None = None
    decoding_schema: dict[str, Any] | None = None
    temperature: float | None = None
    seed: int | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    """Tokens as the provider reports them; ``input_tokens`` includes ``cached_tokens``."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model answered. ``finish_reason`` is the provider's: ``stop``, ``length`` or another word.

    ``text`` is the whole content, ``<think>`` tags and the schema's ``reasoning`` field included; ``reasoning`` is only
    what the provider itself gave as reasoning, with its state. ``usage`` is None where none was reported.
    """

    text: str
    reasoning: str
    reasoning_state: ReasoningState
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = ""
    model: str = ""
    usage: ReportedUsage | None = None
    tokens: TokenEvidence | None = None


@dataclass(slots=True)
class Progress:
    """What has arrived so far, filled while a call runs: what is kept of a call that is cut off."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class InputBound:
    """An upper bound of a request's input tokens: exact by the model's own tokenizer, or its UTF-8 bytes plus an
    allowance. ``prompt_ids`` are the exact ids where they are known.
    """

    tokens: int
    exact: bool
    prompt_ids: tuple[int, ...] = ()


class Price(Protocol):
    """Prices of one model."""

    def cost(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """US dollars for these tokens; ``input_tokens`` includes ``cached_tokens``."""
        ...


def tool_call_of(call_id: str | None, name: str | None, arguments: str | None, index: int) -> ToolCall:
    """A tool call as a provider sent it: escaped, for it is a record's type, and numbered where it has no id."""
    return ToolCall(
        id=escape_text(call_id or f"call_{index}"), name=escape_text(name or ""), arguments=escape_text(arguments or "")
    )


class ModelClient(Protocol):
    """A model that can be called."""

    @property
    def name(self) -> str:
        """The name as the user gave it (``embedded``, ``openai:gpt-5``, an alias)."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """The context window in tokens, input and output together, or None where it is not known."""
        ...

    @property
    def price(self) -> Price | None:
        """The model's prices, or None where they are unknown (which is not zero)."""
        ...

    async def bound_input(self, request: ModelRequest) -> InputBound:
        """Bound the request's input tokens from above, tool and output schemas included."""
        ...

    async def complete(self, request: ModelRequest, progress: Progress) -> ModelReply:
        """Call the model once, filling ``progress`` as the answer arrives. Raises ProviderError."""
        ...

    async def aclose(self) -> None:
        """Close connections; a client may be used again afterwards."""
        ...

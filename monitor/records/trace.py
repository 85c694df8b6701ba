"""The trace of a subcall: what it was handed and might spend, and what came back."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from monitor.records.words import Frozen, LimitName, Outcome, ReasoningState, Text, Trust


class Limits(Frozen):
    """A budget's limits; None is no limit of its own (an ancestor's still holds).

    ``calls`` counts model calls, retries included. ``input_tokens`` counts all prompt tokens, ``cached_tokens`` those of
    them that the provider read from its cache. ``seconds`` is wall time since the budget was opened, ``depth`` the number
    of levels of subcalls below the budget's owner.
    """

    calls: int | None = Field(default=None, ge=0)
    depth: int | None = Field(default=None, ge=0)
    input_tokens: int | None = Field(default=None, ge=0)
    cached_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, ge=0)
    tool_calls: int | None = Field(default=None, ge=0)


class Usage(Frozen):
    """What was spent, or is reserved. ``cost`` is None where the price is unknown: unknown is not zero."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    tool_calls: int = 0


class Exceeded(Frozen):
    """One limit that was reached: whose, which, how much was allowed, was spent and would have been needed."""

    owner: str
    limit: LimitName
    allowed: float
    used: float
    needed: float

    def __str__(self) -> str:
        return f"{self.owner}: {self.limit} {self.used:g} used + {self.needed:g} needed > {self.allowed:g} allowed"


class ToolCall(Frozen):
    """A tool call as the model wrote it: ``arguments`` is its JSON text, well-formed or not.

    ``refused`` says why the call was not allowed to run; a refused call never ran.
    """

    id: str
    name: Text
    arguments: Text = ""
    refused: str | None = None


class Message(Frozen):
    """One message that a subcall was handed."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Reasoning(Frozen):
    """The reasoning, and where it was found: provider blocks, the ``reasoning`` field of the answer, or think tags."""

    state: ReasoningState = ReasoningState.ABSENT
    text: Text = ""
    source: Literal["provider", "schema", "think_tag", ""] = ""


class TokenEvidence(Frozen):
    """Exact token ids where the model gives them, for own-model evidence. ``logprobs`` are natural logarithms, one for
    each output id: the log probability of the sampled token before sampling filters and grammars.
    """

    prompt_ids: tuple[int, ...] = ()
    output_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


class Span(Frozen):
    """Evidence: codepoints ``start`` to ``end`` (half open) of one stored text.

    ``surface`` names the text: ``task``, ``reasoning``, ``output``, ``error``, ``messages[2].content``,
    ``tool_calls[0].name`` or ``.arguments``. ``clause`` is the clause of the rule that matched there.
    """

    surface: str
    start: int
    end: int
    clause: str = ""


class FarSpan(Frozen):
    """Evidence in another subcall of the same run: as ``Span``; without a surface, the subcall ``span_id`` as a whole."""

    span_id: str
    surface: str = ""
    start: int = 0
    end: int = 0
    clause: str = ""


class ErrorInfo(Frozen):
    """What went wrong: ``kind`` is one of a small set of words, ``message`` is cleaned of keys."""

    kind: str
    message: Text


MONITORS = "monitor"
"""The ``adapter`` of subcalls that the monitor makes itself."""


class Call(Frozen):
    """What one subcall was handed and might spend: the payload of its ``started`` event.

    ``key`` names the step in its run (scope, role, inputs, occurrence), the same in every execution: a run that is resumed
    finds its answers by it. It is sealed, as ``scope`` and the seed of a recipe's step (``sealed_seed``) are: see
    ``records.sealing``. ``scope`` is the path of the contexts it was asked in, and so of its budgets. ``attempt``
    counts from 1; attempts above 1 are child spans of the first one, and ``retry_of`` is that first span. ``reserved``
    is charged until the observation says what was really used. ``probes`` names the probes that are attached to it.
    ``kind`` is ``model``, or ``tool`` for one execution of
    a tool (the arguments are its ``task``, the result is its output). ``checked`` is false where the recipe asked that no
    check look at the subcall: it is stored, and its verdict is ``unmeasured``.
    """

    run_id: str
    span_id: str
    parent_id: str | None = None
    retry_of: str | None = None
    key: str
    scope: str = ""
    attempt: int = 1
    kind: Literal["model", "tool"] = "model"
    role: str
    role_hash: str = ""
    trust: Trust = "untrusted"
    recipe: str = ""
    model: str = ""
    adapter: str = "orchestrate"
    depth: int = 1
    task: Text = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[str, ...] = ()
    output_schema: Text = ""
    requires_reasoning: bool = False
    checked: bool = True
    probes: tuple[str, ...] = ()
    temperature: float | None = None
    seed: int | None = None
    sealed_seed: int | None = None
    max_output_tokens: int | None = None
    reserved: Usage = Usage()
    budget_left: Limits = Limits()
    at: str = ""

    @property
    def is_monitors(self) -> bool:
        """Whether the monitor made the call itself, to ask a judge: no part of the task, nor charged to it."""
        return self.adapter == MONITORS


class Released(Frozen):
    """What whoever asked was handed of a stream before its end: the payload of a ``released`` event.

    ``reasoning`` and ``output`` are the codepoints from ``reasoning_start`` and ``output_start`` on, of the reply as it
    came. Several events of a subcall continue each other.
    """

    reasoning: Text = ""
    output: Text = ""
    reasoning_start: int = Field(default=0, ge=0)
    output_start: int = Field(default=0, ge=0)
    at: str = ""


class Observation(Frozen):
    """What came back: the payload of the ``observed`` event. ``outcome`` is the caller's, before any check.

    ``output`` is the answer without its reasoning; ``raw`` is the reply word for word where that differs. ``usage`` is
    what is charged; ``usage_reported`` is false where the provider did not say and the reservation is charged instead.
    """

    outcome: Outcome
    output: Text = ""
    raw: Text = ""
    reasoning: Reasoning = Reasoning()
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    usage_reported: bool = True
    finish_reason: Text = ""
    model_reported: Text = ""
    error: ErrorInfo | None = None
    exceeded: tuple[Exceeded, ...] = ()
    tokens: TokenEvidence | None = None
    seconds: float = 0.0
    at: str = ""

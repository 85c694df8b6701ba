"""A call that somebody else's agent makes: what is known of it before it is made, for the record and for the budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from monitor.canonical import fingerprint
from monitor.errors import ConfigError
from monitor.models.base import ModelRequest
from monitor.models.tokens import byte_bound
from monitor.orchestrate.budget import Amounts, picodollars
from monitor.records import Call, now

if TYPE_CHECKING:
    from monitor.models.base import Price, ToolSpec
    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.calls import Place
    from monitor.records import Limits, Message, Trust, Usage


@dataclass(frozen=True, slots=True)
class Asked:
    """What a foreign call is handed. Its texts are escaped already (``canonical.escape_text``).

    ``max_output_tokens`` None is unlimited: see ``bounded``. ``tools`` are those that a model may call; of a
    tool, ``role`` is its name. ``parent_id`` None hangs the call under the run; ``depth`` is that of the call in the tree,
    from 1. A foreign agent that tries a call again says which was the ``first``, and counts the ``attempt``. ``scope`` is
    a name by which the caller finds the call again. With ``asks_later`` nobody waits where a rule says ``ask_human``: the
    subcall is returned as it is, and the run is suspended at its end unless it was settled until then.
    """

    role: str
    adapter: str
    kind: Literal["model", "tool"] = "model"
    model: str = ""
    task: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    output_schema: str = ""
    requires_reasoning: bool = False
    trust: Trust = "untrusted"
    checked: bool = True
    temperature: float | None = None
    seed: int | None = None
    max_output_tokens: int | None = None
    price: Price | None = None
    parent_id: str | None = None
    depth: int = 1
    first: Call | None = None
    attempt: int = 1
    scope: str = ""
    asks_later: bool = False

    @property
    def key(self) -> str:
        """The step's key, but for its occurrence."""
        said = [(message.role, message.content) for message in self.messages]
        names = [tool.name for tool in self.tools]
        return fingerprint(self.adapter, self.kind, self.role, self.model, self.task, said, names)

    def bounded(self, budget: Budget) -> Asked:
        """The call with an output that its budgets bound: no more than is unspent, where output tokens are limited.

        Raises:
            ConfigError: the cost is limited, and the longest output of this call is not known.
        """
        if self.kind == "tool":
            return self
        unspent = budget.unspent_output()
        longest = [limit for limit in (self.max_output_tokens, unspent) if limit is not None]
        if budget.limits_cost and not longest:
            raise ConfigError(
                f"a cost limit is set, and the call of {self.model or self.role} says nothing of its longest output: give "
                "max_tokens, or limit output_tokens in the budget. Nothing was spent"
            )
        return replace(self, max_output_tokens=max(1, min(longest))) if longest else self

    @property
    def wanted(self) -> Amounts:
        """The worst case of the call: its prompt bounded by bytes, the longest output, and what they cost."""
        if self.kind == "tool":
            return Amounts(tool_calls=1, cost=0)
        request = ModelRequest(self.messages, self.max_output_tokens or 0, self.tools)
        tokens, output = byte_bound(request).tokens, self.max_output_tokens or 0
        cost = None
        if self.price is not None:
            cost = max(
                self.price.cost(input_tokens=tokens, cached_tokens=cached, output_tokens=output)
                for cached in (0, tokens)
            )
        return Amounts(
            calls=1,
            input_tokens=tokens,
            cached_tokens=tokens,
            output_tokens=output,
            cost=None if cost is None else picodollars(cost),
        )

    def call(  # noqa: PLR0917 - what the engine knows of it
        self, run_id: str, key: str, place: Place, probes: tuple[str, ...], reserved: Usage, left: Limits
    ) -> Call:
        """The call as the record has it. ``reserved`` has no output where that is unlimited."""
        return Call(
            run_id=run_id,
            span_id=place.span_id,
            parent_id=place.parent_id,
            retry_of=place.retry_of,
            key=key,
            attempt=self.attempt,
            scope=self.scope,
            role=self.role,
            trust=self.trust,
            kind=self.kind,
            model=self.model,
            adapter=self.adapter,
            depth=self.depth,
            task=self.task,
            messages=self.messages,
            tools=(self.role,) if self.kind == "tool" else tuple(tool.name for tool in self.tools),
            output_schema=self.output_schema,
            requires_reasoning=self.requires_reasoning,
            checked=self.checked,
            probes=probes if self.kind == "model" else (),
            temperature=self.temperature,
            seed=self.seed,
            max_output_tokens=self.max_output_tokens,
            reserved=reserved,
            budget_left=left,
            at=now(),
        )

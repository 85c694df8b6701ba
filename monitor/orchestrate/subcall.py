"""One bounded call of a recipe, with its attempts, from its reservation to its released answer.

A step is named by its key (see ``calls.Step``); attempts that are in the store already are not made again.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from monitor.canonical import fingerprint, guard_text
from monitor.errors import ProviderError
from monitor.orchestrate.attempts import Settled, next_step
from monitor.orchestrate.budget import Amounts
from monitor.orchestrate.calls import Place, Step, bounded_request, call_model, run_tool, unsent, worst_case
from monitor.records import Call, ErrorInfo, Limits, StoredSubcall, ToolCall, Usage, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.orchestrate.engine import Engine
    from monitor.orchestrate.tools import Tool


class RecipeCalls:
    """The model calls and tool calls that a recipe asks for, over the engine of its run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def model_step(self, step: Step, key: str) -> StoredSubcall:
        """Make one model step, with its attempts; returns the judged subcall whose answer may be used.

        Raises:
            SubcallError: it ended otherwise (see ``actions.release``).
        """
        return await self._attempts(
            key,
            step.role.retries,
            lambda number, first, resamples: self._model_attempt(step, key, number, first, resamples),
        )

    async def tool_step(self, step: Step, tool: Tool, tool_call: ToolCall, asked_by: StoredSubcall) -> StoredSubcall:
        """Run one allowed tool call as a subcall of its own, below the model call that asked for it."""
        key = self._engine.name_step(fingerprint(asked_by.call.key, "tool", tool_call.name, tool_call.arguments))

        async def attempt(number: int, first: str | None, _resamples: int) -> StoredSubcall:
            place = Place.of(asked_by.call.span_id, first)
            return await self._engine.through_the_door(
                lambda reserved, left: self._call(
                    step,
                    place,
                    key=self._engine.seal.key(key),
                    attempt=number,
                    kind="tool",
                    depth=step.depth + 1,
                    task=tool_call.arguments,
                    tools=(tool_call.name,),
                    reserved=reserved,
                    budget_left=left,
                ),
                step.depth + 1,
                step.budget,
                Amounts(tool_calls=1, cost=0),
                lambda made: run_tool(made, tool, tool_call, step.budget),
                gate=self._engine.gate if tool.is_apart else None,
            )

        return await self._attempts(key, 0, attempt)

    async def _attempts(
        self, key: str, retries: int, make: Callable[[int, str | None, int], Awaitable[StoredSubcall]]
    ) -> StoredSubcall:
        """Go on from what the store has of this step until an attempt settles it."""
        with self._engine.flying():
            return await self._until_settled(key, retries, make)

    async def _until_settled(
        self, key: str, retries: int, make: Callable[[int, str | None, int], Awaitable[StoredSubcall]]
    ) -> StoredSubcall:
        attempts = [await self._engine.finished(subcall) for subcall in self._engine.attempts_of(key)]
        forgiven = len(attempts) if self._engine.retry_failed else 0
        while True:
            self._engine.stop_if_over()
            following = next_step(attempts, retries=retries, forgiven=forgiven)
            if isinstance(following, Settled):
                return self._engine.release(await self._engine.decided(following.subcall))
            if following.delay:
                await asyncio.sleep(following.delay)
            first = attempts[0].call.span_id if attempts else None
            attempts.append(await make(following.number, first, following.resamples))

    def _call(self, step: Step, place: Place, **own: Any) -> Call:
        """The call of one attempt: what every call of the step says, and what is this one's own."""
        return Call(
            run_id=self._engine.run_id,
            span_id=place.span_id,
            parent_id=place.parent_id,
            retry_of=place.retry_of,
            scope=self._engine.seal.scope(step.scope),
            role=step.role.name,
            role_hash=step.role.sha256,
            trust=step.role.trust,
            recipe=step.recipe,
            checked=step.checked,
            at=now(),
            **own,
        )

    async def _model_attempt(
        self, step: Step, key: str, number: int, first: str | None, resamples: int
    ) -> StoredSubcall:
        async with self._engine.gate:
            self._engine.stop_if_over()
            step.budget.begin()
            seed = self._seed(key, resamples)
            request = bounded_request(step, seed, resamples)
            place = Place.of(step.parent_id or self._engine.root_span, first)

            def describe(reserved: Usage, left: Limits) -> Call:
                return self._call(
                    step,
                    place,
                    key=self._engine.seal.key(key),
                    attempt=number,
                    model=step.client.name,
                    depth=step.depth,
                    task=step.task,
                    messages=step.messages,
                    tools=tuple(tool.spec.name for tool in step.tools),
                    probes=self._engine.pipeline.probes_of(step.role.probes),
                    output_schema=step.role.schema_text,
                    requires_reasoning=step.role.reasoning == "required",
                    temperature=request.temperature,
                    sealed_seed=self._engine.seal.seed(seed, place.span_id),
                    max_output_tokens=request.max_output_tokens,
                    reserved=reserved,
                    budget_left=left,
                )

            try:
                bound = await step.client.bound_input(request)
            except ProviderError as exc:  # a prompt that cannot be counted is not sent, and the record says so
                error = ErrorInfo(kind=exc.kind, message=guard_text(str(exc)))
                return await self._engine.through_the_door(
                    describe, step.depth, step.budget, Amounts(calls=1, cost=0), unsent(error)
                )
            wanted = worst_case(step.client, bound, request)
            return await self._engine.through_the_door(
                describe, step.depth, step.budget, wanted, lambda made: call_model(step, made, request, bound)
            )

    def _seed(self, key: str, resamples: int) -> int:
        """A seed of 31 bits from the run's seed and the step: the same in every execution of the run."""
        digest = hashlib.sha256(f"{self._engine.seed}:{key}:{resamples}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1

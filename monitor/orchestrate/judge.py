"""The judge of a run: a model that is asked the rules' questions, and its own account.

The account has nothing to do with the run's budget: what the judge spends is never the task's, and a task that spends all
that it has leaves the judge its own. A question is reserved before it is asked and settled after it, like any call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from monitor.canonical import canonical_text, fingerprint, guard_text
from monitor.errors import ConfigError, ProviderError
from monitor.models.base import ModelRequest
from monitor.orchestrate.budget import NOTHING, Budget
from monitor.orchestrate.calls import Step, call_model, interrupted, unsent, usage_of, worst_case
from monitor.orchestrate.roles import Role
from monitor.records import MONITORS, Call, ErrorInfo, Limits, StoredSubcall, Usage, new_span_id, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.models.base import ModelClient
    from monitor.orchestrate.people import StoppableClock
    from monitor.pipeline import Pipeline
    from monitor.records import Message, Observation
    from monitor.settings import Settings

ROLE = "judge"
MAX_OUTPUT_TOKENS = 400
_OVERHEAD_TOKENS = 900  # instructions, question, marks
_CODEPOINTS_PER_TOKEN = (
    2  # escaped text has few codepoints to a token; a prompt that does not fit is refused and unknown
)
_UNBOUNDED = 1_000_000
_LIMITS = ("calls", "input_tokens", "cached_tokens", "output_tokens", "cost")


class ModelJudge:
    """Asks ``client``, from an account with ``limits`` of which ``already`` is spent; each question has ``seconds``."""

    def __init__(
        self, client: ModelClient, limits: Limits, *, seconds: float, concurrency: int = 1, already: Usage = NOTHING
    ) -> None:
        self._client = client
        self._budget = Budget("judge", limits, already=already)
        self._seconds = seconds
        self._gate = asyncio.Semaphore(concurrency)

    @property
    def model(self) -> str:
        """The model's name."""
        return self._client.name

    @property
    def max_shown(self) -> int:
        """What fits into the model's context, as far as codepoints can tell; the rest is cut, and said to be."""
        context = self._client.context_tokens
        if context is None:
            return _UNBOUNDED
        return max(0, (context - MAX_OUTPUT_TOKENS - _OVERHEAD_TOKENS) * _CODEPOINTS_PER_TOKEN)

    async def __call__(
        self,
        about: Call,
        question: str,
        messages: Sequence[Message],
        schema: dict[str, Any],
        through: Callable[[Call, Callable[[], Awaitable[Observation]]], Awaitable[StoredSubcall]],
        *,
        narrowed: dict[str, Any] | None = None,
    ) -> StoredSubcall:
        """Ask once. Raises BudgetExceeded where the account has no room, StoreError."""
        async with self._gate:
            budget = self._budget.child(ROLE, Limits(seconds=self._seconds), depth=1)
            budget.begin()
            step = Step(
                role=_role(schema),
                client=self._client,
                messages=tuple(messages),
                task=question,
                scope="/judge",
                parent_id=about.span_id,
                depth=about.depth + 1,
                budget=budget,
                recipe=about.recipe,
                checked=False,
            )
            request = ModelRequest(
                messages=step.messages,
                max_output_tokens=MAX_OUTPUT_TOKENS,
                output_schema=schema,
                decoding_schema=narrowed,
                temperature=0,
                seed=0,
                timeout=self._seconds,
            )
            try:
                bound = await self._client.bound_input(request)
            except ProviderError as exc:
                call = _call(step, about, Usage(cost=0.0), budget.left())
                fail = unsent(ErrorInfo(kind=exc.kind, message=guard_text(str(exc))))
                return await through(call, lambda: fail(call))
            reservation = await budget.reserve(worst := worst_case(self._client, bound, request), depth=1)
            seen: list[Observation] = []
            call = _call(step, about, usage_of(worst), budget.left())

            async def work() -> Observation:
                seen.append(await call_model(step, call, request, bound))
                return seen[0]

            try:
                return await through(call, work)
            finally:
                reservation.settle(seen[0].usage if seen else call.reserved)


def judge_of(settings: Settings, client: Callable[[str], ModelClient], already: Usage = NOTHING) -> ModelJudge | None:
    """The judge that the settings name, or None. ``client`` resolves its model.

    Raises:
        ConfigError: there is no such model, a limit that a judge does not have, or a limit of cost without a price.
    """
    if not settings.judge_model:
        return None
    limits = settings.judge_budget
    given = [name for name, value in limits.model_dump().items() if value is not None and name not in _LIMITS]
    if given:
        raise ConfigError(f"judge_budget: a judge has no limit on {', '.join(given)}; it has {', '.join(_LIMITS)}")
    chosen = client(settings.judge_model)
    if limits.cost is not None and chosen.price is None:
        raise ConfigError(
            f"judge_budget has a limit on cost, but the price of {chosen.name} is unknown: give input_price and "
            "output_price in monitor.toml ([models.NAME]), or drop the limit. Nothing was spent"
        )
    return ModelJudge(chosen, limits, seconds=settings.judge_seconds, concurrency=settings.concurrency, already=already)


class Pause:
    """Stops the run's clock while all that is under way waits for the judge: its seconds are not the task's."""

    def __init__(self, clock: StoppableClock, in_flight: Callable[[], int]) -> None:
        self._clock, self._in_flight = clock, in_flight
        self._asking = 0

    def __call__(self, begins: bool) -> None:
        """A subcall begins, or ends, to wait for the judge."""
        self._asking += 1 if begins else -1
        if begins and self._asking >= self._in_flight():
            self._clock.stop()
        elif not begins:
            self._clock.go()


async def unstored(call: Call, work: Callable[[], Awaitable[Observation]]) -> StoredSubcall:
    """For measurements, in the place of the door: makes the call and stores nothing."""
    return StoredSubcall(call=call, observation=await work())


async def finish_asked(pipeline: Pipeline, asked: Sequence[StoredSubcall]) -> None:
    """Bring to their end the questions that an earlier execution was cut off in: they stay charged, and say so."""
    for subcall in asked:
        if subcall.judgement is None and subcall.observation is not None:
            await pipeline.judge(subcall.call, subcall.observation)
        elif subcall.judgement is None:
            await pipeline.conclude(subcall.call, interrupted(subcall.call))


def _role(schema: dict[str, Any]) -> Role:
    return Role(
        name=ROLE,
        description="Answers a rule's question about a subcall.",
        trust="trusted",
        max_output_tokens=MAX_OUTPUT_TOKENS,
        temperature=0,
        retries=0,
        output=schema,
    )


def _call(step: Step, about: Call, reserved: Usage, left: Limits) -> Call:
    return Call(
        run_id=about.run_id,
        span_id=new_span_id(),
        parent_id=about.span_id,
        key=fingerprint(ROLE, about.span_id, step.task)[:32],
        scope=step.scope,
        role=ROLE,
        trust="trusted",
        recipe=about.recipe,
        model=step.client.name,
        adapter=MONITORS,
        depth=step.depth,
        task=step.task,
        messages=step.messages,
        output_schema=canonical_text(step.role.output),
        checked=False,
        temperature=0.0,
        seed=0,
        max_output_tokens=MAX_OUTPUT_TOKENS,
        reserved=reserved,
        budget_left=left,
        at=now(),
    )

"""Budgets: nothing is spent that was not reserved, whatever the siblings do and whatever the provider says."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from monitor.errors import BudgetExceeded, ConfigError
from monitor.orchestrate.budget import COUNTED, PICO, Amounts, Budget, Refusal, Reservation, picodollars
from monitor.orchestrate.calls import usage_of
from monitor.records import LimitName, Limits, Usage


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def taken(budget: Budget, name: LimitName) -> int:
    return budget._spent[name] + budget._reserved[name]


def test_a_child_draws_from_its_parent() -> None:
    run = Budget("run", Limits(calls=3))
    child = run.child("part", Limits(calls=2), depth=1)
    assert isinstance(child.try_reserve(Amounts(calls=2, cost=0)), Reservation)
    refused = child.try_reserve(Amounts(calls=1, cost=0))
    assert isinstance(refused, Refusal)
    assert [item.owner for item in refused.exceeded] == ["part"]
    refused = run.child("other", Limits(calls=5), depth=1).try_reserve(Amounts(calls=2, cost=0))
    assert isinstance(refused, Refusal)
    assert [item.owner for item in refused.exceeded] == ["run"]


def test_every_exceeded_limit_is_reported_the_outermost_first() -> None:
    clock = Clock()
    run = Budget("run", Limits(calls=0, output_tokens=10, seconds=5, depth=1), clock=clock)
    child = run.child("part", Limits(input_tokens=1, cost=0.5), depth=1)
    clock.now = 6.0
    wanted = Amounts(calls=1, input_tokens=2, output_tokens=11, cost=PICO)
    refused = child.try_reserve(wanted, depth=2)
    assert isinstance(refused, Refusal)
    expected = [
        ("run", "calls"),
        ("run", "output_tokens"),
        ("run", "depth"),
        ("run", "seconds"),
        ("part", "input_tokens"),
        ("part", "cost"),
    ]
    assert [(item.owner, item.limit) for item in refused.exceeded] == expected


def test_settling_gives_back_what_was_not_used_and_counts_once() -> None:
    run = Budget("run", Limits(output_tokens=100))
    got = run.try_reserve(Amounts(calls=1, output_tokens=100, cost=0))
    assert isinstance(got, Reservation)
    got.settle(Usage(calls=1, output_tokens=30, cost=0.0))
    got.settle(Usage(calls=1, output_tokens=30, cost=0.0))
    assert run.left().output_tokens == 70
    assert run.unspent_output() == 70


def test_an_unknown_price_under_a_cost_limit_is_an_error_before_anything_is_spent() -> None:
    run = Budget("run", Limits(cost=1.0))
    with pytest.raises(ConfigError, match="price"):
        asyncio.run(run.child("part", Limits(), depth=1).reserve(Amounts(calls=1, cost=None)))
    assert taken(run, "calls") == 0


def test_money_is_counted_exactly() -> None:
    run = Budget("run", Limits(cost=0.3))
    for _ in range(3):
        got = run.try_reserve(Amounts(calls=1, cost=picodollars(0.1)))
        assert isinstance(got, Reservation)
        got.settle(Usage(calls=1, cost=0.1))
    assert isinstance(run.try_reserve(Amounts(calls=1, cost=1)), Refusal)


def test_what_an_earlier_execution_spent_counts() -> None:
    run = Budget(
        "run", Limits(calls=3, seconds=10), already=Usage(calls=2, cost=0.0), seconds_before=9.0, clock=Clock()
    )
    assert run.left().calls == 1
    assert run.seconds_left() == 1.0


def test_a_passed_deadline_is_named() -> None:
    clock = Clock()
    run = Budget("run", Limits(seconds=5), clock=clock)
    child = run.child("part", Limits(seconds=2), depth=1)
    child.begin()
    clock.now = 3.0
    assert [item.owner for item in child.out_of_time()] == ["part"]
    assert child.seconds_left() == -1.0


def test_time_runs_from_the_first_call() -> None:
    clock = Clock()
    run = Budget("run", Limits(seconds=100), clock=clock)
    child = run.child("part", Limits(seconds=2), depth=1)
    clock.now = 50.0
    assert child.seconds_left() == 2.0
    child.begin()
    clock.now = 51.0
    child.begin()
    assert child.seconds_left() == 1.0
    assert run.seconds_left() == 49.0


def test_a_call_waits_for_siblings_whose_reservations_are_in_the_way() -> None:
    async def scenario() -> list[str]:
        run = Budget("run", Limits(output_tokens=100))
        order: list[str] = []

        async def sibling(name: str) -> None:
            got = await run.reserve(Amounts(calls=1, output_tokens=100, cost=0))
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")
            got.settle(Usage(calls=1, output_tokens=0, cost=0.0))

        await asyncio.gather(sibling("a"), sibling("b"))
        return order

    assert asyncio.run(scenario()) == ["a in", "a out", "b in", "b out"]


def test_a_waiting_call_is_refused_once_its_siblings_have_spent_the_room() -> None:
    async def scenario() -> None:
        run = Budget("run", Limits(output_tokens=100))
        first = await run.reserve(Amounts(calls=1, output_tokens=100, cost=0))
        second = asyncio.create_task(run.reserve(Amounts(calls=1, output_tokens=100, cost=0)))
        await asyncio.sleep(0)
        first.settle(Usage(calls=1, output_tokens=1, cost=0.0))
        await second

    with pytest.raises(BudgetExceeded) as caught:
        asyncio.run(scenario())
    assert [item.limit for item in caught.value.exceeded] == ["output_tokens"]


def test_a_waiting_call_gives_up_at_its_deadline() -> None:
    async def scenario() -> None:
        run = Budget("run", Limits(output_tokens=100, seconds=0.05))
        await run.reserve(Amounts(calls=1, output_tokens=100, cost=0))
        await run.reserve(Amounts(calls=1, output_tokens=100, cost=0))

    with pytest.raises(BudgetExceeded) as caught:
        asyncio.run(scenario())
    assert "seconds" in [item.limit for item in caught.value.exceeded]


amounts = st.builds(
    Amounts,
    calls=st.just(1),
    input_tokens=st.integers(0, 60),
    cached_tokens=st.integers(0, 60),
    output_tokens=st.integers(0, 60),
    cost=st.integers(0, 60),
    tool_calls=st.integers(0, 2),
)
limits = st.builds(
    Limits,
    calls=st.none() | st.integers(0, 40),
    input_tokens=st.none() | st.integers(0, 400),
    cached_tokens=st.none() | st.integers(0, 400),
    output_tokens=st.none() | st.integers(0, 400),
    cost=st.none() | st.integers(0, 400).map(lambda n: n / PICO),
    tool_calls=st.none() | st.integers(0, 10),
)


@dataclass
class Overspend:
    """What a provider reported beyond its reservation: the only way past a limit, and it is in the record."""

    amounts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))


def assert_within(budget: Budget, over: Overspend) -> None:
    for name in COUNTED:
        limit = budget._limits.get(name)
        if limit is not None:
            assert taken(budget, name) <= limit + over.amounts[name]


@settings(max_examples=60, deadline=None)
@given(
    run_limits=limits,
    part_limits=st.lists(limits, min_size=1, max_size=4),
    wants=st.lists(amounts, min_size=64, max_size=64),
    seed=st.integers(0, 2**32),
    honest=st.booleans(),
)
def test_64_siblings_never_overshoot(
    run_limits: Limits, part_limits: list[Limits], wants: list[Amounts], seed: int, *, honest: bool
) -> None:
    """64 siblings, in an interleaving that Hypothesis picks, some of whose providers report more than was reserved."""

    async def scenario() -> None:
        chance = random.Random(seed)
        run = Budget("run", run_limits)
        parts = [run.child(f"part {n}", some, depth=1) for n, some in enumerate(part_limits)]
        over = Overspend()
        accounts = [run, *parts]
        spent = dict.fromkeys(COUNTED, 0)

        async def sibling(number: int, wanted: Amounts) -> None:
            part = parts[number % len(parts)]
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            try:
                got = await part.reserve(wanted)
            except BudgetExceeded:
                return
            for account in accounts:
                assert_within(account, over)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            extra = 0 if honest else chance.choice([0, 0, 7, 500])
            used = Amounts(
                calls=1,
                input_tokens=chance.randint(0, wanted.input_tokens),
                output_tokens=wanted.output_tokens + extra,
                cost=chance.randint(0, wanted.cost or 0),
                tool_calls=wanted.tool_calls,
            )
            over.amounts["output_tokens"] += extra
            got.settle(usage_of(used))
            for name in COUNTED:
                spent[name] += used.counted().get(name, 0)
            for account in accounts:
                assert_within(account, over)

        await asyncio.wait_for(asyncio.gather(*(sibling(n, wanted) for n, wanted in enumerate(wants))), 5)
        assert run._reserved == dict.fromkeys(COUNTED, 0)
        assert run._spent == spent
        assert run._waiting == []

    asyncio.run(scenario())


class BudgetMachine(RuleBasedStateMachine):
    """Any order of opening, reserving and settling keeps every account within its limits."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts = [Budget("run", Limits(calls=12, output_tokens=150, cost=200 / PICO))]
        self.open: list[Reservation] = []

    @rule(parent=st.integers(0, 50), some=limits)
    def open_child(self, parent: int, some: Limits) -> None:
        above = self.accounts[parent % len(self.accounts)]
        self.accounts.append(above.child(f"account {len(self.accounts)}", some, depth=above.depth + 1))

    @rule(account=st.integers(0, 50), wanted=amounts)
    def reserve(self, account: int, wanted: Amounts) -> None:
        got = self.accounts[account % len(self.accounts)].try_reserve(wanted)
        if isinstance(got, Reservation):
            self.open.append(got)
        else:
            assert got.exceeded

    @rule(which=st.integers(0, 50), share=st.floats(0, 1))
    def settle(self, which: int, share: float) -> None:
        if self.open:
            got = self.open.pop(which % len(self.open))
            reserved = got.amounts
            got.settle(Usage(calls=1, output_tokens=int(reserved.output_tokens * share), cost=0.0))

    @invariant()
    def within_limits(self) -> None:
        for account in self.accounts:
            assert_within(account, Overspend())


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_threads_cannot_overshoot_either() -> None:
    import threading

    run = Budget("run", Limits(calls=100))
    granted: list[Reservation] = []

    def grab() -> None:
        for _ in range(50):
            got = run.try_reserve(Amounts(calls=1, cost=0))
            if isinstance(got, Reservation):
                granted.append(got)

    threads = [threading.Thread(target=grab) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 100


@given(
    st.one_of(
        st.floats(min_value=0, max_value=1e6),
        st.integers(0, 10**17).map(lambda whole: whole / PICO),
        st.integers(0, 10**9).map(lambda micro: micro / 10**6 * 0.1),
    )
)
def test_picodollars_round_the_decimal_that_names_the_cost_up(cost: float) -> None:
    assert picodollars(cost) == math.ceil(Decimal(repr(cost)) * PICO)

"""Budgets: a tree of accounts in which a child draws from its parent, and nothing is spent that was not reserved.

Before a call, its worst case is reserved in its own account and in every ancestor's, all at once or not at all; after
it, the reservation is replaced by what was used. Reserved and spent amounts together never pass a limit, whatever the
siblings in flight do. A call whose reservation fails only because siblings hold theirs waits until one of them settles;
it is refused when what is *spent* leaves no room for it.

Money is counted in whole picodollars (1e-12 US dollars), rounded up, so that sums are exact.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from monitor.errors import BudgetExceeded, ConfigError
from monitor.records import Exceeded, LimitName, Limits, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PICO = 10**12
_UNIQUE = 10**15
NOTHING = Usage()
COUNTED: tuple[LimitName, ...] = ("calls", "input_tokens", "cached_tokens", "output_tokens", "cost", "tool_calls")


def picodollars(cost: float) -> int:
    """US dollars as whole picodollars, rounded up. A cost that is no finite number counts as nothing spent."""
    if not math.isfinite(cost):
        return 0
    # Of the decimals with at most 15 digits, each float is the nearest to one alone: so this is the one that names it.
    whole = round(cost * PICO)
    if abs(whole) < _UNIQUE and whole / PICO == cost:
        return whole
    # By way of the shortest decimal that names the float: 31e-12 dollars are 31 picodollars, not 32.
    return math.ceil(Decimal(repr(cost)) * PICO)


class Amounts(NamedTuple):
    """What a call may spend or has spent, in the units of ``COUNTED`` (cost in picodollars; None is unknown)."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: int | None = None
    tool_calls: int = 0

    @classmethod
    def of(cls, usage: Usage) -> Amounts:
        """The amounts of a usage; negative numbers from a provider count as zero."""
        return cls(
            calls=usage.calls,
            input_tokens=max(0, usage.input_tokens),
            cached_tokens=max(0, usage.cached_tokens),
            output_tokens=max(0, usage.output_tokens),
            cost=None if usage.cost is None else max(0, picodollars(usage.cost)),
            tool_calls=usage.tool_calls,
        )

    def counted(self) -> dict[LimitName, int]:
        """What counts against each limit, where that is anything; an unknown cost does not (see ``Budget.reserve``)."""
        amounts: dict[LimitName, int | None] = {
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
            "tool_calls": self.tool_calls,
        }
        return {name: amount for name, amount in amounts.items() if amount}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was reserved. ``temporary``: only siblings' reservations are in the way, and they will settle."""

    exceeded: tuple[Exceeded, ...]
    temporary: bool


class Budget:
    """One account: ``limits`` of its own, and a parent whose limits hold as well.

    ``depth`` is the depth of the account's owner in the tree; ``clock`` gives seconds. ``already`` and ``seconds_before``
    are what was spent (or stays reserved) from this account before the object existed: a run that is resumed. They are
    not charged to the parent, which carries them itself.

    Wall time runs from the beginning for a run, and for every account below it from its first call (``begin``): a call
    that waits for its turn among many has not used its own time.
    """

    def __init__(
        self,
        owner: str,
        limits: Limits,
        *,
        parent: Budget | None = None,
        depth: int = 0,
        already: Usage = NOTHING,
        seconds_before: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner = owner
        self.limits = limits
        self.depth = depth
        self._above: tuple[Budget, ...] = parent._chain() if parent else ()
        self._limits = _counted_limits(limits)
        self._clock: Callable[[], float] = parent._clock if parent else clock
        self._began: float | None = None if parent else self._clock() - seconds_before
        self._spent = dict.fromkeys(COUNTED, 0)
        if already is not NOTHING:
            self._spent |= Amounts.of(already).counted()
        self._reserved = dict.fromkeys(COUNTED, 0)
        # One lock and one list of waiting calls for the whole tree.
        self._lock: threading.Lock = parent._lock if parent else threading.Lock()
        self._waiting: list[asyncio.Future[None]] = parent._waiting if parent else []

    def child(self, owner: str, limits: Limits, *, depth: int, already: Usage = NOTHING) -> Budget:
        """Open an account that draws from this one."""
        return Budget(owner, limits, parent=self, depth=depth, already=already)

    def begin(self) -> None:
        """Start the clocks of this account and its ancestors; those that run already run on."""
        for account in self._chain():
            if account._began is None:
                account._began = self._clock()

    def _elapsed(self) -> float:
        return 0.0 if self._began is None else self._clock() - self._began

    def _chain(self) -> tuple[Budget, ...]:
        """This account and its ancestors, the outermost first."""
        return (*self._above, self)

    @property
    def limits_cost(self) -> bool:
        """Whether this account or an ancestor limits the cost."""
        return any(account.limits.cost is not None for account in self._chain())

    def seconds_left(self) -> float | None:
        """Wall seconds until the first deadline of this account and its ancestors; None is none. May be negative."""
        left = [
            account.limits.seconds - account._elapsed()
            for account in self._chain()
            if account.limits.seconds is not None
        ]
        return min(left, default=None)

    def left(self) -> Limits:
        """What remains under every limit that holds here, reservations in flight counted as spent."""
        with self._lock:
            left: dict[LimitName, int] = {}
            for account in self._chain():
                for name, limit in account._limits.items():
                    room = limit - account._spent[name] - account._reserved[name]
                    left[name] = min(left.get(name, room), room)
        seconds = self.seconds_left()
        depths = [account.limits.depth + account.depth for account in self._chain() if account.limits.depth is not None]
        rooms: dict[str, float] = {name: max(0, room) for name, room in left.items()}
        if "cost" in rooms:
            rooms["cost"] /= PICO
        if seconds is not None:
            rooms["seconds"] = max(0.0, seconds)
        if depths:
            rooms["depth"] = max(0, min(depths) - self.depth)
        return Limits.trusted(**rooms)

    def unspent_output(self) -> int | None:
        """Output tokens that remain under every limit when nothing is in flight; None is unlimited."""
        with self._lock:
            return min(
                (
                    account.limits.output_tokens - account._spent["output_tokens"]
                    for account in self._chain()
                    if account.limits.output_tokens is not None
                ),
                default=None,
            )

    def out_of_time(self) -> tuple[Exceeded, ...]:
        """The deadlines that have passed (or, where clocks disagree by a hair, the first to come), the outermost first."""
        timed = [account for account in self._chain() if account.limits.seconds is not None]
        passed = [item for account in timed for item, _ in account._obstacles({}, 0) if item.limit == "seconds"]
        if passed or not timed:
            return tuple(passed)
        first = min(timed, key=lambda account: (account.limits.seconds or 0) - account._elapsed())
        allowed = first.limits.seconds or 0
        return (Exceeded(owner=first.owner, limit="seconds", allowed=allowed, used=allowed, needed=0),)

    def try_reserve(self, wanted: Amounts, *, depth: int = 0) -> Reservation | Refusal:
        """Reserve ``wanted`` here and in every ancestor, or say which limits are in the way, the outermost first."""
        with self._lock:
            return self._try_reserve(wanted, depth)

    def _try_reserve(self, wanted: Amounts, depth: int) -> Reservation | Refusal:
        amounts = wanted.counted()
        obstacles = [obstacle for account in self._chain() for obstacle in account._obstacles(amounts, depth)]
        if obstacles:
            return Refusal(tuple(item for item, _ in obstacles), temporary=all(passing for _, passing in obstacles))
        for account in self._chain():
            for name, amount in amounts.items():
                account._reserved[name] += amount
        return Reservation(self, wanted)

    async def reserve(self, wanted: Amounts, *, depth: int = 0) -> Reservation:
        """Reserve ``wanted``, waiting for siblings in flight where only their reservations are in the way.

        Raises:
            BudgetExceeded: what is spent (or the depth, or the time) leaves no room.
            ConfigError: a cost limit holds and the price of the call is unknown.
        """
        if wanted.cost is None and wanted.calls and self.limits_cost:
            raise ConfigError(
                "a cost limit is set, but the price of this model is unknown: "
                "give input_price and output_price in monitor.toml ([models.NAME]) or drop the cost limit"
            )
        while True:
            with self._lock:  # tried and queued under one lock, so that no settlement falls between
                got = self._try_reserve(wanted, depth)
                if isinstance(got, Refusal) and got.temporary:
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiting.append(waiter)
            if isinstance(got, Reservation):
                return got
            if not got.temporary:
                raise BudgetExceeded("; ".join(str(item) for item in got.exceeded), got.exceeded)
            try:
                await asyncio.wait_for(waiter, self.seconds_left())
            except TimeoutError:
                continue  # the deadline is among the obstacles of the next try
            finally:
                with self._lock:
                    if waiter in self._waiting:
                        self._waiting.remove(waiter)

    def _obstacles(self, wanted: Mapping[LimitName, int], depth: int) -> Iterator[tuple[Exceeded, bool]]:
        """The limits of this account that are in the way; each with whether it is only reserved, not spent."""
        for name, limit in self._limits.items():
            needed, spent, reserved = wanted.get(name, 0), self._spent[name], self._reserved[name]
            if not needed or spent + reserved + needed <= limit:
                continue
            unit = PICO if name == "cost" else 1
            exceeded = Exceeded(
                owner=self.owner,
                limit=name,
                allowed=limit / unit,
                used=(spent + reserved) / unit,
                needed=needed / unit,
            )
            yield exceeded, spent + needed <= limit
        below = depth - self.depth
        if self.limits.depth is not None and below > self.limits.depth:
            yield Exceeded(owner=self.owner, limit="depth", allowed=self.limits.depth, used=below - 1, needed=1), False
        seconds = self._elapsed()
        if self.limits.seconds is not None and seconds >= self.limits.seconds:
            yield (
                Exceeded(owner=self.owner, limit="seconds", allowed=self.limits.seconds, used=seconds, needed=0),
                False,
            )

    def _settle(self, reserved: Amounts, used: Amounts, *, pinned: bool = False) -> None:
        with self._lock:
            freed, spent = reserved.counted(), used.counted()
            for account in self._chain():
                held = account._spent if pinned else account._reserved
                for name, amount in freed.items():
                    held[name] -= amount
                for name, amount in spent.items():
                    account._spent[name] += amount
            waiting, self._waiting[:] = list(self._waiting), []
        for waiter in waiting:
            waiter.get_loop().call_soon_threadsafe(_wake, waiter)


def _counted_limits(limits: Limits) -> dict[LimitName, int]:
    """The limits of ``COUNTED`` that are set, in its units; a limit on the cost is rounded down."""
    cost = None if limits.cost is None else math.floor(Decimal(repr(limits.cost)) * PICO)
    given: dict[LimitName, int | None] = {**{name: getattr(limits, name) for name in COUNTED}, "cost": cost}
    return {name: limit for name, limit in given.items() if limit is not None}


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Reservation:
    """What one call may spend; settled exactly once."""

    def __init__(self, budget: Budget, amounts: Amounts) -> None:
        self._budget = budget
        self.amounts = amounts
        self._open = True
        self._pinned = False

    def pin(self) -> None:
        """Count it as spent until it is settled: it will not be before the calls that are made inside of it.

        None of those waits for it, then, nor for one that waits for them.
        """
        if self._open and not self._pinned:
            self._pinned = True
            self._budget._settle(self.amounts, self.amounts)

    def settle(self, usage: Usage) -> None:
        """Replace the reservation by what was really used. Settling again changes nothing."""
        if self._open:
            self._open = False
            self._budget._settle(self.amounts, Amounts.of(usage), pinned=self._pinned)

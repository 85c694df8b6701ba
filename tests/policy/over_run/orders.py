"""The log of a run in other orders in which it could have come, and what is then to be said of the run as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from monitor.records import Status

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence

S = TypeVar("S")
ORDERS = 40
RUNS = 250
"""So many small runs, each in so many random orders: ten thousand."""


def shuffled(
    log: Sequence[tuple[str, S]], rng: random.Random, is_bound: Callable[[S, S], bool] = lambda _, __: False
) -> list[tuple[str, S]]:
    """The log with each stretch of judgements, between which nothing begins, in another order.

    Two that are bound, as what stands in one lineage is, keep their order.
    """
    result: list[tuple[str, S]] = []
    stretch: list[S] = []
    for what, sub in [*log, ("end", log[0][1])]:
        if what == "see":
            stretch.append(sub)
            continue
        while stretch:
            free = [at for at, sub in enumerate(stretch) if not any(is_bound(sub, one) for one in stretch[:at])]
            result.append(("see", stretch.pop(rng.choice(free))))
        result.append((what, sub))
    return result[:-1]


def worst(statuses: Iterable[Status]) -> Status | None:
    """What is said of a run of which this is said of the subcalls: whether the rule applies to one does not depend on
    others, and whether it matches one is what counts.
    """
    return min(statuses, key=_WEIGHT.index, default=None)


_WEIGHT = (Status.MATCH, Status.UNKNOWN, Status.NO_MATCH, Status.NOT_APPLICABLE)

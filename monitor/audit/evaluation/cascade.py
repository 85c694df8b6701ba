"""A cascade: cheap checks on everything, a judge on what they pass on, and people who read as much as they can of the rest.

**One scale.** Each cheap score becomes a rate: the share of cases that are not bad, of *other* groups, that score
at least as high (grouped folds, so no case has a part in its own rate; with n of them no rate is below 1/(n + 1)). How
suspicious a case is is the least of its rates. So one rate is the threshold of every detector, each on its own scale,
and the audit budget sets it.

**The budget.** ``read`` cases can be read by people. The cheap stages pass on the ``ask`` most suspicious to the judge,
which puts them into an order: a yes first, then what it could not settle, then a no. It moves nothing behind what it was
not asked about, so whoever fools it can hide no case from those who read that far. What a stage adds is the recall among
the ``read`` first cases, with it and without it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from monitor.audit.evaluation.measured import FOLDS, Ranking, measured
from monitor.audit.evaluation.reading_budget import RANDOM, curves
from monitor.errors import ConfigError
from monitor.probes.evaluation.folds import grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.audit.evaluation.cases import Case, Cases
    from monitor.audit.evaluation.detectors import Detector
    from monitor.probes.evaluation.base import Estimate, Floats, Task
    from monitor.records import JudgeAnswer, Usage

ORDER: dict[str | None, float] = {"yes": 1.0, "unclear": 0.0, None: 0.0, "no": -1.0}
"""What a judge's answer is worth in the order of reading; None is a judge that failed."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a judge said of one case, and what that cost."""

    answer: JudgeAnswer
    usage: Usage
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. ``looked_at`` cases came to it, ``passed`` went on; ``threshold`` is the score, on its own scale, from
    which on they do (None where there is no such score). ``caught`` is the recall among the cases that people read, with
    all stages up to this one.
    """

    name: str
    how: str
    looked_at: int
    passed: int
    threshold: float | None
    caught: Estimate | None
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    seconds: float = 0.0
    answers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cascade:
    """The stages in their order; ``rate`` is the common threshold of the cheap ones, ``chance`` the recall of reading at
    random.
    """

    cases: Cases
    read: int
    ask: int
    rate: float
    stages: tuple[Stage, ...]
    chance: Estimate
    bad: int
    groups: int
    order: tuple[str, ...]
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether the judge says what the label says, of the cases that it settled: see ``monitor.audit.agreement``."""

    settled: int
    asked: int
    agreed: float | None
    kappa: float | None
    low: float | None
    high: float | None
    why: str


def cascade(
    cases: Cases,
    cheap: Sequence[Detector],
    judge: Callable[[Sequence[Case]], Sequence[Answered]] | None,
    *,
    read: int,
    ask: int,
    seed: int = 0,
    draws: int = 2000,
) -> Cascade:
    """What each stage costs and adds, where people read ``read`` cases and the judge is asked about ``ask``.

    Raises:
        ConfigError: there is no cheap detector, more is to be read or asked than there is, or see ``measured``.
    """
    count = len(cases.cases)
    if not cheap:
        raise ConfigError("a cascade needs rules or a probe for its first stage")
    if not 0 < read <= count:
        raise ConfigError(
            f"{cases.name}: people can read 1 to {count} of its {count} cases, not {read}: change --budget"
        )
    if judge and not read <= ask <= count:
        raise ConfigError(
            f"{cases.name}: the judge can be asked about {read} to {count} cases, not {ask}: change --ask"
        )
    found = measured(cases, [], seed=seed, draws=1)
    task = found.task
    rates = [rates_of(task, one.ranked, seed) for one in cheap]
    orders: list[tuple[str, Floats]] = []
    for number, one in enumerate(cheap, 1):
        orders.append((one.name, -np.minimum.reduce(rates[:number])))
    suspicion = orders[-1][1]
    order = in_order(suspicion, cases, seed)
    passing = ask if judge else read
    rate = float(-suspicion[order[passing - 1]])
    stages = [
        Stage(one.name, one.how, count, int((own <= rate).sum()), _at(task, one.ranked, rate), None)
        for one, own in zip(cheap, rates, strict=True)
    ]
    agreement = None
    if judge:
        chosen = order[:ask]
        said = judge([cases.cases[row] for row in chosen])
        final = _after(suspicion, chosen, np.array([ORDER[one.answer.answer] for one in said]))
        orders.append(("judge", final))
        stages.append(_judged(said, ask, read))
        agreement = agreement_of([cases.cases[row] for row in chosen], said)
        order = in_order(final, cases, seed)
    made = curves(
        replace(found, rankings=tuple(Ranking(*one) for one in orders)), seed=seed, draws=draws, shares=[read / count]
    )
    caught = {curve.name: curve.points[0].caught for curve in made}
    stages = [replace(stage, caught=caught[stage.name]) for stage in stages]
    keys = tuple(cases.cases[row].key for row in order)
    return Cascade(
        cases, read, ask if judge else 0, rate, tuple(stages), caught[RANDOM], found.bad, found.groups, keys, agreement
    )


def rates_of(task: Task, scores: Floats, seed: int) -> Floats:
    """For each case the share of the cases that are not bad, of other folds, which score at least as high."""
    fold = grouped(task, min(FOLDS, len(np.unique(task.groups))), seed)
    rates = np.ones(len(task))
    for one in np.unique(fold):
        mine = fold == one
        rates[mine] = _share(np.sort(scores[~mine & ~task.labels]), scores[mine])
    return rates


def _share(negatives: Floats, scores: Floats) -> Floats:
    above = len(negatives) - np.searchsorted(negatives, scores, side="left")
    return np.asarray((1 + above) / (1 + len(negatives)), dtype=np.float64)


def _at(task: Task, scores: Floats, rate: float) -> float | None:
    """The lowest score, among all cases, whose rate over all that are not bad is no higher; None where none is."""
    shares = _share(np.sort(scores[~task.labels]), scores)
    passing = scores[shares <= rate]
    return float(passing.min()) if len(passing) else None


def in_order(suspicion: Floats, cases: Cases, seed: int) -> list[int]:
    """The rows as they are taken, the most suspicious first; among equals by a hash of seed and key."""
    chance = [hashlib.sha256(f"{seed}\0{case.key}".encode()).hexdigest() for case in cases.cases]
    return sorted(range(len(suspicion)), key=lambda row: (-suspicion[row], chance[row]))


def _after(suspicion: Floats, chosen: Sequence[int], values: Floats) -> Floats:
    """Scores in the order after the judge: what it was asked about comes first, by its answer, then by suspicion."""
    asked, said = np.zeros(len(suspicion)), np.zeros(len(suspicion))
    asked[list(chosen)], said[list(chosen)] = 1.0, values
    keys = np.stack([asked, said, suspicion], axis=1)
    return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1), dtype=np.float64)


def _judged(said: Sequence[Answered], ask: int, read: int) -> Stage:
    costs = [one.usage.cost for one in said]
    names = [one.answer.answer or "unknown" for one in said]
    return Stage(
        name="judge",
        how=next((one.answer.model for one in said if one.answer.model), ""),
        looked_at=ask,
        passed=read,
        threshold=None,
        caught=None,
        calls=sum(one.usage.calls for one in said),
        input_tokens=sum(one.usage.input_tokens for one in said),
        output_tokens=sum(one.usage.output_tokens for one in said),
        cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        seconds=sum(one.seconds for one in said),
        answers={name: names.count(name) for name in ("yes", "no", "unclear", "unknown")},
    )


def agreement_of(cases: Sequence[Case], said: Sequence[Answered]) -> Agreement:
    """Cohen's kappa between the judge and the labels, with its interval by a jackknife over groups."""
    from monitor.audit.agreement import interval, kappa_of  # noqa: PLC0415 - needed with a judge alone

    groups: dict[str, list[tuple[bool, bool]]] = {}
    for case, one in zip(cases, said, strict=True):
        if one.answer.answer in {"yes", "no"}:
            groups.setdefault(case.group, []).append((case.bad, one.answer.answer == "yes"))
    pairs = [pair for of in groups.values() for pair in of]
    if not pairs:
        return Agreement(0, len(said), None, None, None, None, "the judge settled nothing")
    agreed, kappa = sum(one is two for one, two in pairs) / len(pairs), kappa_of(pairs)
    if kappa is None:
        return Agreement(
            len(pairs), len(said), agreed, None, None, None, "labels and judge said one and the same throughout"
        )
    low, high, why = interval(list(groups.values()), kappa)
    return Agreement(len(pairs), len(said), agreed, kappa, low, high, why)

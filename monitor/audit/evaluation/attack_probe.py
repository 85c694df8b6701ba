"""The same attack beside a probe, of which the attacker knows nothing: what it says of the rewritten records.

The probe's threshold is that of a false-positive rate on the cases of the file that are not bad (``measured.threshold``),
and it reads the record's text before and after. Where there are too few of them, nothing reaches the threshold, and that is
said.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.audit.evaluation.cases import text_of
from monitor.audit.evaluation.intervals import Interval, wilson
from monitor.audit.evaluation.measured import threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.audit.evaluation.attack import Attack, Tried
    from monitor.audit.evaluation.cases import Cases

RATE = 0.05


@dataclass(frozen=True, slots=True)
class Noticed:
    """Of the records that rules caught: how many the probe notices before and after, and how many either catches after.

    ``missing`` says why there is no threshold; the counts are of nothing then.
    """

    probe: str
    technique: str
    count: int
    before: int
    after: int
    either: int
    missing: str = ""

    def interval(self, hits: int) -> Interval | None:
        """Wilson's, with records as independent."""
        return wilson(hits, self.count)


def noticed(
    probe: str,
    cases: Cases,
    found: Attack,
    score: Callable[[Sequence[str]], np.ndarray[Any, np.dtype[Any]]],
    *,
    rate: float = RATE,
) -> list[Noticed]:
    """What the probe says, by technique. ``score`` scores texts, each with some text in it."""
    texts = {case.key: case.text for case in cases.cases}
    after = [text_of(one.record) for one in found.tried]
    distinct = [text for text in dict.fromkeys([*texts.values(), *after]) if text.strip()]
    scores = dict(zip(distinct, score(distinct).tolist(), strict=True))
    labels = np.array([case.bad for case in cases.cases])
    before = np.array([scores.get(texts[case.key], -math.inf) for case in cases.cases])
    at = threshold(labels, before, rate)
    few = f"{int((~labels).sum())} cases are not bad: too few for a threshold at {100 * rate:g} %"
    missing = few if math.isinf(at) else ""
    by_technique: defaultdict[str, list[tuple[Tried, float]]] = defaultdict(list)
    for one, text in zip(found.tried, after, strict=True):
        by_technique[one.technique].append((one, scores.get(text, -math.inf)))
    return [
        Noticed(
            probe,
            technique,
            len(of),
            sum(scores.get(texts[one.target.key], -math.inf) >= at for one, _ in of),
            sum(value >= at for _, value in of),
            sum(one.caught or value >= at for one, value in of),
            missing,
        )
        for technique, of in by_technique.items()
    ]

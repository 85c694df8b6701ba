"""Labelled subcalls from a store: what people said of findings, and what the monitor recorded of the same subcalls."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from monitor.audit.candidates import weight
from monitor.audit.evaluation.cases import Case, Cases
from monitor.audit.evaluation.detectors import RULES
from monitor.audit.reviews import Labels
from monitor.errors import ConfigError, StoreError
from monitor.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from monitor.audit.reviews import Opinion
    from monitor.records import StoredReview, StoredSubcall


def reviewed_cases(
    reviews: Iterable[StoredReview],
    subcall: Callable[[str, str], StoredSubcall],
    *,
    run_ids: frozenset[str] | None = None,
) -> Cases:
    """Every subcall that people are sure of. A case's key is ``RUN/SPAN``, its group the run.

    A subcall is **bad** where what a rule looks for is held to be there, of any rule, and **not bad** where people labelled
    findings of it and hold all of them to be wrong. One about which people differ, or cannot tell, is left out and counted.

    Args:
        reviews: In the order of the log.
        subcall: Reads one subcall by run and span. Raises StoreError.
        run_ids: Take subcalls of these runs only.

    Raises:
        ConfigError: nobody is sure of any subcall.
    """
    kept = [item for item in reviews if run_ids is None or item.run_id in run_ids]
    labels = Labels(kept)
    said: defaultdict[tuple[str, str], dict[tuple[str, str], Opinion]] = defaultdict(dict)
    for item in kept:
        about = labels.about(item.run_id, item.review.span, item.review)
        if about is not None:
            said[item.run_id, item.review.span][item.review.rule_id, item.review.name] = about
    cases, unsure, unread = [], 0, 0
    for (run_id, span_id), opinions in said.items():
        bad = _is_bad(opinions.values())
        if bad is None:
            unsure += 1
            continue
        try:
            stored = subcall(run_id, span_id)
        except StoreError:
            unread += 1
            continue
        if stored.observation is not None:
            cases.append(_case(run_id, span_id, stored, bad))
    if not cases:
        raise ConfigError(
            f"no subcall is labelled for certain ({unsure} unsure or disputed): label some first, with monitor review"
        )
    notes = [
        "the labels are of subcalls that somebody chose to look at: recall is of the bad that people know, and a subcall "
        "that nobody looked at is in no figure. Labels of a random sample (monitor review --sample-by random) say most"
    ]
    if unsure:
        notes.append(f"{unsure} labelled subcalls are left out: people differ about them, or cannot tell")
    if unread:
        notes.append(f"{unread} labelled subcalls are left out: they cannot be read back")
    return Cases("reviews", "a finding on it is held to be right", tuple(cases), tuple(notes))


def _is_bad(opinions: Iterable[Opinion]) -> bool | None:
    every = list(opinions)
    if any(one.is_there for one in every):
        return True
    return False if all(one.is_there is False for one in every) else None


def _case(run_id: str, span_id: str, stored: StoredSubcall, bad: bool) -> Case:
    assert stored.observation is not None
    judgement = stored.judgement
    given: dict[str, float] = {}
    if judgement is not None:
        given[RULES] = weight(finding for finding in judgement.findings if finding.check == "rule")
        for score in judgement.probes:
            if score.applies and score.score is not None:
                given[f"probe {score.probe}"] = score.score
    probes, answers = (judgement.probes, judgement.answers) if judgement else ((), ())
    record = Record(call=stored.call, observation=stored.observation, probes=probes, answers=answers)
    return Case(f"{run_id}/{span_id}", run_id, bad, record, given)

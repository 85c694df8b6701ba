"""Two scans side by side, or what was recorded and a scan: which subcalls changed verdict, and by which checks.

Both sides are read in the order of run and span, and walked through together: nothing but the figures is in memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.canonical import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from monitor.store import ScanLog, ScanResult, Store, StoredScan

ABSENT = "no such check"
_SPEAKS = ("match", "unknown")
_QUIET = "no_match"


class Difference(NamedTuple):
    """What a check said on each side: a status, ``match, suppressed``, or ``no such check``."""

    check: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """A subcall whose verdict or action differs: ``before`` and ``after`` are ``verdict, action``."""

    run_id: str
    span_id: str
    before: str
    after: str
    differences: tuple[Difference, ...]


@dataclass(slots=True)
class Comparison:
    """What changed.

    ``compared`` subcalls are judged on both sides. ``quiet`` of them have findings that differ, and the same verdict and
    action. ``uncompared`` counts, by reason, those that are not judged on both sides.
    """

    compared: int = 0
    changed: int = 0
    quiet: int = 0
    uncompared: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[Difference] = field(default_factory=Counter)


class _Said(NamedTuple):
    """What one side says of a subcall; ``judged`` is its verdict and action, empty where it has none."""

    run_id: str
    span_id: str
    judged: str
    status: str
    findings: Mapping[str, str]

    @property
    def key(self) -> tuple[str, str]:
        return self.run_id, self.span_id


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its subcalls in order, and the names of all its checks (None: each subcall has its own)."""

    said: Iterable[_Said]
    checks: frozenset[str] | None


def scanned(log: ScanLog, scan: StoredScan) -> Side:
    """A scan as a side."""
    names = [_name(check["check"], check["name"]) for check in scan.header["checks"]]
    return Side((_of_result(result, names) for result in log.results(scan.scan_id, by_subcall=True)), frozenset(names))


def recorded(store: Store) -> Side:
    """What was recorded when the runs went, as a side."""
    return Side((_of_judgement(*row) for row in store.judgements()), None)


def compare(before: Side, after: Side, *, listener: Callable[[Change], None] = lambda _: None) -> Comparison:
    """Compare two sides; ``listener`` is told of every subcall whose verdict or action differs."""
    result = Comparison()
    for old, new in _side_by_side(before.said, after.said):
        if old is None or new is None:
            result.uncompared["only on the second side" if old is None else "only on the first side"] += 1
            continue
        if not (old.judged and new.judged):
            which = "the first" if not old.judged else "the second"
            result.uncompared[f"{(old if not old.judged else new).status} on {which} side"] += 1
            continue
        result.compared += 1
        differences = _differences(old, new, before.checks, after.checks)
        if old.judged == new.judged:
            result.quiet += bool(differences)
            continue
        spoken = tuple(one for one in differences if _speaks(one))
        change = Change(new.run_id, new.span_id, old.judged, new.judged, spoken or differences)
        result.changed += 1
        result.verdicts[old.judged, new.judged] += 1
        result.reasons.update(change.differences)
        listener(change)
    return result


def _side_by_side(before: Iterable[_Said], after: Iterable[_Said]) -> Iterator[tuple[_Said | None, _Said | None]]:
    olds, news = iter(before), iter(after)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old.key < new.key):
            yield old, None
            old = next(olds, None)
        elif old is None or new.key < old.key:
            yield None, new
            new = next(news, None)
        else:
            yield old, new
            old, new = next(olds, None), next(news, None)


def _differences(
    old: _Said, new: _Said, before: frozenset[str] | None, after: frozenset[str] | None
) -> tuple[Difference, ...]:
    olds, news = (
        frozenset(said.findings) if checks is None else checks for said, checks in ((old, before), (new, after))
    )
    found = []
    for name in sorted(olds | news):
        said = old.findings.get(name, _QUIET) if name in olds else ABSENT
        says = new.findings.get(name, _QUIET) if name in news else ABSENT
        if said != says and {said, says} != {ABSENT, _QUIET}:
            found.append(Difference(name, said, says))
    return tuple(found)


def _speaks(difference: Difference) -> bool:
    return difference.before.startswith(_SPEAKS) or difference.after.startswith(_SPEAKS)


def _name(check: str, name: str) -> str:
    return name if check == "rule" else f"{check} {name}"


def _status(finding: Mapping[str, Any]) -> str:
    return f"{finding['status']}, suppressed" if finding.get("suppressed_by") else str(finding["status"])


def _of_result(result: ScanResult, names: list[str]) -> _Said:
    judged = f"{result.verdict}, {result.action}" if result.verdict is not None and result.status == "done" else ""
    findings = {names[finding["n"]]: _status(finding) for finding in parse_json(result.findings)}
    return _Said(result.run_id, result.span_id, judged, result.status, findings)


def _of_judgement(run_id: str, span_id: str, body: Mapping[str, Any]) -> _Said:
    findings = {
        _name(finding["check"], finding["name"]): _status(finding)
        for finding in body["findings"]
        if finding["check"] != "budget"  # what budgets found takes part on both sides
    }
    return _Said(run_id, span_id, f"{body['verdict']['value']}, {body['action']}", "done", findings)

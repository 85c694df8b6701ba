"""Small changes to a rule over a run, each of which a good set of tests should notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.policy.over_run import RunWatch, run_examples
from monitor.policy.over_run.compiling import rewritten
from monitor.policy.run_schema import TaintFile, TreeFile
from monitor.policy.schema import RUN_KINDS, CorrelationFile
from monitor.policy.tools.joined_mutants import Change, taint_changes, tree_changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.policy.over_run import RunRule
    from monitor.policy.rules import PolicySet
    from monitor.records import Status
    from monitor.strict_yaml import Mark, Node

_KINDS = {
    "temporal": ("temporal_ordered",),
    "temporal_ordered": ("temporal",),
    "value_count": ("event_count",),
    "value_sum": ("event_count",),
}


@dataclass(frozen=True, slots=True)
class RunMutant:
    """A changed rule. ``what`` says the change in words, ``advice`` which test would notice it, ``mark`` where it is."""

    kind: str
    what: str
    advice: str
    mark: Mark
    rule: RunRule


def run_mutants(rule: RunRule, node: Node) -> Iterator[RunMutant]:
    """Every mutant of a rule over a run; ``node`` is its tree.

    Of a correlation: the kind made another, the order turned round or not asked for, each part dropped, the window left out
    and made smaller by one subcall, each field of the group left out, the threshold moved by a step. What there is of
    ``tree`` and ``taint`` is in ``joined_mutants``.
    """
    written = rule.written
    form = getattr(written, written.kind).model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    for change in _CHANGES[written.kind](form):
        try:
            changed = _FILES[change.kind].model_validate(change.form)
        except ValueError:  # such a rule cannot be written
            continue
        update = {kind: changed if kind == change.kind else None for kind in RUN_KINDS}
        mark = node.place([written.kind, *change.place])
        mutated = rewritten(rule, written.model_copy(update=update))
        yield RunMutant(change.name, change.what, change.advice, mark, mutated)


def status_of(rules: PolicySet, rule: RunRule, number: int) -> Status:
    """What the (changed) rule says of its own test ``number``."""
    test = rule.written.tests[number]
    return run_examples.said_of(rule, test, rules.findings, lambda: RunWatch(rules, [rule])).status


def _correlation_changes(written: dict[str, Any]) -> Iterator[Change]:
    for changes in (_kinds, _orders, _parts, _windows, _groups, _thresholds):
        for name, place, what, advice, form in changes(written):
            yield Change(name, place, what, advice, "correlation", form)


_FILES: dict[str, type[CorrelationFile | TreeFile | TaintFile]] = {
    "correlation": CorrelationFile,
    "tree": TreeFile,
    "taint": TaintFile,
}
_CHANGES = {"correlation": _correlation_changes, "tree": tree_changes, "taint": taint_changes}
_Change = tuple[str, list[str | int], str, str, dict[str, Any]]


def _kinds(written: dict[str, Any]) -> Iterator[_Change]:
    for other in _KINDS.get(written["type"], ()):
        changed = {**written, "type": other}
        if other == "event_count":
            changed.pop("field")
        advice = "add a run the other way round, and one at the same time (`expect: no_match`)."
        if other in {"temporal_ordered", "event_count"}:
            advice = f"add a run of which `{other}` would say something else."
        yield "type", ["type"], f"turning `{written['type']}` into `{other}`", advice, changed


def _orders(written: dict[str, Any]) -> Iterator[_Change]:
    """What looks back, without looking back."""
    if written["type"] == "temporal_ordered":
        changed = {**written, "rules": written["rules"][::-1]}
        yield (
            "order",
            ["rules"],
            "turning `rules` round",
            "add a run in the order that is meant, and one turned round.",
            changed,
        )
    if written["type"] == "absence":
        changed = {key: value for key, value in written.items() if key != "without"}
        changed |= {"type": "event_count", "condition": {"gte": 1}}
        advice = "add a run in which one of `without` came before (`expect: no_match`)."
        yield "order", ["without"], "leaving `without` out", advice, changed


def _parts(written: dict[str, Any]) -> Iterator[_Change]:
    for key in ("rules", "without"):
        for number, name in enumerate(written.get(key, [])):
            rest = [other for other in written[key] if other != name]
            advice = f"add a run in which `{name}` decides."
            yield "part", [key, number], f"dropping `{name}` from `{key}`", advice, {**written, key: rest}


def _windows(written: dict[str, Any]) -> Iterator[_Change]:
    for key in ("subcalls", "timespan"):
        if key in written:
            rest = {name: value for name, value in written.items() if name != key}
            advice = "add a run that is too long for the window by one step."
            yield "window", [key], f"leaving `{key}` out", advice, rest
    if "subcalls" in written:
        advice = "add a run that the window just holds (`expect: match`)."
        changed = {**written, "subcalls": written["subcalls"] - 1}
        yield "window", ["subcalls"], "making the window smaller by one subcall", advice, changed


def _groups(written: dict[str, Any]) -> Iterator[_Change]:
    for number, name in enumerate(written.get("group-by", [])):
        rest = [other for other in written["group-by"] if other != name]
        advice = f"add a run in which the parts have different `{name}` (`expect: no_match`)."
        yield (
            "group-by",
            ["group-by", number],
            f"dropping `{name}` from `group-by`",
            advice,
            {**written, "group-by": rest},
        )


def _thresholds(written: dict[str, Any]) -> Iterator[_Change]:
    for key, value in written.get("condition", {}).items():
        other = "gt" if key == "gte" else "gte"
        advice = "add a run that stands exactly at the threshold."
        changed = {**written, "condition": {other: value}}
        yield "threshold", ["condition", key], f"turning `{key}` into `{other}`", advice, changed

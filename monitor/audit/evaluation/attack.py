"""What rules still catch once an attacker who knows them has rewritten what they matched.

The attacker sees what the rules say, evidence included, rewrites every place that matched, and tries again with another
variant where the record is still caught, up to ``ROUNDS`` times. So the figure is of an attacker who can try against these
very rules, which is more than a model under watch mostly can. Rules on trial and suppressed findings catch nothing.

That a rewritten text still says what it said is **not checked**: by a technique's kind for the scripted ones (see
``rewriting``), not at all for a model's. A rewrite that says nothing bad any more makes the rules look worse than they are.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.audit.evaluation.intervals import Interval, over_groups, wilson
from monitor.audit.evaluation.rewriting import TECHNIQUES
from monitor.audit.evidence import surfaces
from monitor.canonical import escape_text
from monitor.records import Level, Record, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from monitor.audit.evaluation.attack_probe import Noticed
    from monitor.audit.evaluation.rewriting import Technique
    from monitor.policy import PolicySet
    from monitor.records import Finding

ROUNDS = 4
_ORDER = tuple(Level)
ANY = "whichever works"


@dataclass(frozen=True, slots=True)
class Target:
    """A record that is bad. ``group`` is what it belongs to: the rule whose test it is, the file, the run."""

    key: str
    group: str
    record: Record


@dataclass(frozen=True, slots=True)
class Tried:
    """One target under one technique. ``changed`` says whether anything was rewritten at all, ``caught`` whether rules
    still match, ``by`` which do. ``before`` and ``after`` are the first text that was rewritten.
    """

    target: Target
    technique: str
    changed: bool
    caught: bool
    by: tuple[str, ...]
    record: Record
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Survival:
    """How many of the targets that rules caught they still catch. ``by_group`` draws whole groups again.

    ``unchanged`` could not be rewritten so (no such word, no text), and count as caught. ``rules`` are those that catch
    rewritten targets and did not match them before: what the technique itself sets off.
    """

    technique: str
    keeps: str
    caught: int
    count: int
    groups: int
    unchanged: int
    interval: Interval | None
    by_group: Interval | None
    rules: tuple[tuple[str, int], ...] = ()

    @property
    def share(self) -> float | None:
        """The share that is still caught; None where nothing was tried."""
        return self.caught / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class Attack:
    """What came of it. ``targets`` were given, of which the rules ``caught`` some before: the others need no rewriting."""

    source: str
    targets: int
    caught: int
    level: Level
    survivals: tuple[Survival, ...]
    tried: tuple[Tried, ...]
    noticed: tuple[Noticed, ...] = ()


def caught_by(rules: PolicySet, record: Record, level: Level) -> list[Finding]:
    """The findings of at least this level that act on the record."""
    least = _ORDER.index(level)
    return [
        finding
        for finding in rules.findings(record)
        if finding.status is Status.MATCH
        and not finding.shadow
        and not finding.suppressed_by
        and _ORDER.index(finding.level) >= least
    ]


def attack(
    rules: PolicySet,
    source: str,
    targets: Sequence[Target],
    *,
    level: Level = Level.MEDIUM,
    techniques: Iterable[Technique] = TECHNIQUES,
    rounds: int = ROUNDS,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> Attack:
    """Rewrite every target that the rules catch by every technique, and see what they still catch."""
    known = {target.key: caught_by(rules, target.record, level) for target in targets}
    caught = [target for target in targets if known[target.key]]
    ways, tried = list(techniques), list[Tried]()
    survivals = []
    for number, technique in enumerate(ways):
        mine = []
        for done, target in enumerate(caught):
            told(number * len(caught) + done, len(ways) * len(caught))
            mine.append(_try(rules, target, known[target.key], technique, level=level, rounds=rounds))
        tried += mine
        survivals.append(survival(technique.name, technique.keeps, mine, known))
    if len(ways) > 1:
        survivals.append(survival(ANY, "the best of all for each target", best(tried), known))
    return Attack(source, len(targets), len(caught), level, tuple(survivals), tuple(tried))


def _try(
    rules: PolicySet, target: Target, found: list[Finding], technique: Technique, *, level: Level, rounds: int
) -> Tried:
    record, before, after = target.record, "", ""
    for variant in range(rounds):
        if not found:
            break
        changed, first = rewritten(record, found, lambda text, v=variant: technique.rewrite(text, v))  # type: ignore[misc]  # mypy has no type for the default
        if changed is None:
            break
        before, after = (before or first[0]), first[1]
        record, found = changed, caught_by(rules, changed, level)
    return Tried(
        target, technique.name, bool(after), bool(found), tuple(one.name for one in found), record, before, after
    )


def rewritten(
    record: Record, found: Iterable[Finding], rewrite: Callable[[str], str]
) -> tuple[Record | None, tuple[str, str]]:
    """The record with every place of evidence rewritten, and the first text before and after; None where nothing changes.

    Places that overlap are one. A text that was JSON and would be none any more is left as it was.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for finding in found:
        for span in finding.evidence:
            spans.setdefault(span.surface, []).append((span.start, span.end))
    texts, changed, first = surfaces(record.call, record.observation), record, ("", "")
    for surface, places in spans.items():
        text = texts.get(surface, "")
        said, end = "", 0
        for start, stop in _merged(text, places):
            said += text[end:start] + rewrite(text[start:stop])
            end = stop
        said = escape_text(said + text[end:])
        if said == text or (_is_json(text) and not _is_json(said)):
            continue
        put = with_text(changed, surface, said)
        if put is not None:
            changed, first = put, (first if first[0] else (text, said))
    return (changed, first) if changed is not record else (None, ("", ""))


def _merged(text: str, places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The places in their order, each out to whole words, as one where they touch."""
    whole: list[tuple[int, int]] = []
    for start, stop in sorted(places):
        while start > 0 and text[start - 1].isalpha() and text[start : start + 1].isalpha():
            start -= 1  # noqa: PLW2901 - out to the word's beginning
        while stop < len(text) and text[stop].isalpha() and text[stop - 1 : stop].isalpha():
            stop += 1  # noqa: PLW2901 - out to the word's end
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(stop, whole[-1][1]))
        else:
            whole.append((start, stop))
    return whole


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def with_text(record: Record, surface: str, text: str) -> Record | None:
    """The record with another text on a surface; None for one that an attacker does not write (an error, a tool's name)."""
    call, seen = record.call, record.observation
    if surface == "task":
        return record.model_copy(update={"call": call.model_copy(update={"task": text})})
    if surface in {"output", "raw"}:
        return record.model_copy(update={"observation": seen.model_copy(update={surface: text})})
    if surface == "reasoning":
        thought = seen.reasoning.model_copy(update={"text": text})
        return record.model_copy(update={"observation": seen.model_copy(update={"reasoning": thought})})
    number, _, rest = surface.partition("[")[2].partition("]")
    if not number.isdigit():
        return None
    if surface.startswith("tool_calls[") and rest == ".arguments":
        calls = list(seen.tool_calls)
        calls[int(number)] = calls[int(number)].model_copy(update={"arguments": text})
        return record.model_copy(update={"observation": seen.model_copy(update={"tool_calls": tuple(calls)})})
    if surface.startswith("messages[") and rest == ".content":
        messages = list(call.messages)
        messages[int(number)] = messages[int(number)].model_copy(update={"content": text})
        return record.model_copy(update={"call": call.model_copy(update={"messages": tuple(messages)})})
    return None


def best(tried: Iterable[Tried]) -> list[Tried]:
    """For each target the technique under which it is not caught, if there is one."""
    found: dict[str, Tried] = {}
    for one in tried:
        known = found.get(one.target.key)
        if known is None or (known.caught and not one.caught):
            found[one.target.key] = one
    return list(found.values())


def survival(technique: str, keeps: str, tried: Sequence[Tried], known: dict[str, list[Finding]]) -> Survival:
    """What is still caught, over all targets."""
    groups: dict[str, list[int]] = {}
    fresh: Counter[str] = Counter()
    for one in tried:
        group = groups.setdefault(one.target.group, [0, 0])
        group[0] += one.caught
        group[1] += 1
        fresh.update(set(one.by) - {finding.name for finding in known[one.target.key]})
    caught = sum(one.caught for one in tried)
    return Survival(
        technique,
        keeps,
        caught,
        len(tried),
        len(groups),
        sum(not one.changed for one in tried),
        wilson(caught, len(tried)),
        over_groups([(hits, count) for hits, count in groups.values()]),
        tuple(fresh.most_common(5)),
    )

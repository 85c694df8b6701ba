"""The evaluation as a whole: every figure of the report, gathered once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor import strict_yaml
from monitor.audit.evaluation.peer_rules import SOURCE
from monitor.audit.evaluation.rates import HIGH, MEDIUM, Judged, Judgements, Rate, Requirement, judge, rate, requirement
from monitor.audit.evaluation.samples import HARMLESS, Kind, Label
from monitor.audit.evaluation.split import Half
from monitor.canonical import canonical_hash
from monitor.errors import ConfigError, Fault
from monitor.records import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from monitor.audit.evaluation.samples import Part, Sample
    from monitor.policy import PolicySet

AGENTS = ("swe-agent", "agentrx", "inspect")
HALVES = (Half.DEVELOPMENT, Half.HELD_OUT, Half.UNLISTED)


@dataclass(frozen=True, slots=True)
class PackRef:
    """A pack that was evaluated; ``digest`` covers the hashes of its rules, and so all that decides."""

    name: str
    version: str
    rules: int
    digest: str


@dataclass(frozen=True, slots=True)
class Row:
    """What the rules said of one set's harmless text, in one half: messages by who wrote them, findings by level.

    ``acting`` counts the messages with a tool call, on which alone rules about arguments are tried.
    """

    source: str
    half: Half
    agent: int
    acting: int
    world: int
    levels: dict[Level, int]
    notable: Rate


@dataclass(frozen=True, slots=True)
class Recall:
    """How many of a peer's attacks in one half rules of a pack (None: of any) catch; ``twins`` are harmless ones hit."""

    half: Half
    pack: str | None
    medium: Rate
    high: Rate
    twins: Rate


@dataclass(frozen=True, slots=True)
class RuleRow:
    """How often one rule matched: harmless traces and solutions, the peer's twins and attacks. ``spoke`` counts the samples
    of which it could say anything.
    """

    rule: str
    pack: str
    level: str
    spoke: int
    harmless: dict[Half, int]
    solutions: int
    twins: dict[Half, int]
    attacks: dict[Half, int]
    failing: int

    @property
    def fired(self) -> bool:
        """Whether it matched anything at all."""
        counted = (*self.harmless.values(), *self.twins.values(), *self.attacks.values())
        return bool(self.solutions or self.failing or any(counted))


@dataclass(frozen=True, slots=True)
class Failures:
    """Steps labelled as failures, and the other steps of the same traces, with a finding of at least some level."""

    level: str
    failing: Rate
    unlabelled: Rate


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured, and what was not."""

    packs: tuple[PackRef, ...]
    rows: tuple[Row, ...]
    requirements: dict[str, Requirement]
    recalls: tuple[Recall, ...]
    failures: tuple[Failures, ...]
    rules: tuple[RuleRow, ...]
    missing: dict[str, str]

    @property
    def met(self) -> bool | None:
        """Whether the requirement is met on every half that was measured; None where none was."""
        answers = [found.met for found in self.requirements.values() if found.met is not None]
        return all(answers) if answers else None


def evaluate(rules: PolicySet, parts: Iterable[Part]) -> Evaluation:
    """Every rule on every part."""
    missing: dict[str, str] = {}
    everything: list[Judged] = []
    spoke = Counter[str]()
    for part in parts:
        if part.missing:
            missing[part.source] = part.missing
        judged = judge(rules, part.samples)
        everything += judged.all
        spoke += judged.spoke
    judgements = Judgements(tuple(everything), spoke)
    return Evaluation(
        packs=tuple(_packs(rules)),
        rows=tuple(_rows(judgements)),
        requirements=_requirements(judgements),
        recalls=tuple(_recalls(rules, judgements)),
        failures=tuple(_failures(judgements)),
        rules=tuple(_rule_rows(rules, judgements)),
        missing=missing,
    )


def read_log(path: Path) -> list[dict[str, str]]:
    """How often the held-out half was evaluated, as people wrote it down: date, packs, changes.

    Raises:
        ConfigError: the file is not such a list.
    """
    faults: list[Fault] = []
    root = strict_yaml.read(path, faults)
    if root is None or faults:
        raise ConfigError("\n".join(map(str, faults)))
    entries = root.plain().get("evaluations")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: expected `evaluations:` with a list of maps")
    return [{str(key): str(value) for key, value in entry.items()} for entry in entries]


def _packs(rules: PolicySet) -> Iterable[PackRef]:
    by_pack: dict[tuple[str, str], list[str]] = {}
    for ref in rules.refs:
        by_pack.setdefault((ref.pack, ref.pack_version), []).append(ref.rule_hash)
    for (name, version), hashes in by_pack.items():
        yield PackRef(name, version, len(hashes), canonical_hash(hashes)[:12])


def _rows(judgements: Judgements) -> Iterable[Row]:
    for source in (*AGENTS, "grade-school"):
        for half in HALVES:
            judged = judgements.where(_harmless(source, half))
            if judged:
                kinds = Counter(one.sample.kind for one in judged)
                levels = Counter(hit.level for one in judged for hit in one.hits)
                notable = rate(judged, lambda one: one.has(MEDIUM))
                counts = {level: levels[level] for level in Level}
                acting = sum(bool(one.sample.record.observation.tool_calls) for one in judged)
                yield Row(source, half, kinds[Kind.AGENT], acting, kinds[Kind.WORLD], counts, notable)


def _harmless(source: str, half: Half) -> Callable[[Sample], bool]:
    return lambda sample: (sample.source, sample.half) == (source, half) and sample.label in HARMLESS


def _requirements(judgements: Judgements) -> dict[str, Requirement]:
    def on(half: Half | None) -> list[Judged]:
        return judgements.where(
            lambda sample: sample.source in AGENTS and sample.label in HARMLESS and half in {None, sample.half}
        )

    found = {half.value: requirement(on(half)) for half in HALVES if on(half)}
    return found | {"all": requirement(on(None))}


def _recalls(rules: PolicySet, judgements: Judgements) -> Iterable[Recall]:
    packs = [None, *dict.fromkeys(ref.pack for ref in rules.refs)]
    for half in HALVES:
        attacks = judgements.where(_peers(half, Label.ATTACK))
        twins = judgements.where(_peers(half, Label.TWIN))
        for pack in packs if attacks else ():
            yield Recall(
                half,
                pack,
                medium=rate(attacks, _noticed_by(MEDIUM, pack)),
                high=rate(attacks, _noticed_by(HIGH, pack)),
                twins=rate(twins, _noticed_by(MEDIUM, pack)),
            )


def _peers(half: Half, label: Label) -> Callable[[Sample], bool]:
    return lambda sample: (sample.source, sample.half, sample.label) == (SOURCE, half, label)


def _noticed_by(levels: frozenset[Level], pack: str | None = None) -> Callable[[Judged], bool]:
    return lambda one: one.has(levels, pack)


def _failures(judgements: Judgements) -> Iterable[Failures]:
    failing = judgements.where(lambda sample: sample.label is Label.FAILING)
    others = judgements.where(lambda sample: sample.label is Label.UNLABELLED)
    if failing:
        for name, levels in (("any level", frozenset(Level)), ("medium and above", MEDIUM), ("high and above", HIGH)):
            yield Failures(name, rate(failing, _noticed_by(levels)), rate(others, _noticed_by(levels)))


def _rule_rows(rules: PolicySet, judgements: Judgements) -> Iterable[RuleRow]:
    counts: Counter[tuple[str, str, Half]] = Counter()
    for one in judgements.all:
        where = _column(one.sample)
        counts.update((hit.rule, where, one.sample.half) for hit in one.hits)

    def in_halves(name: str, where: str) -> dict[Half, int]:
        return {half: counts[name, where, half] for half in HALVES}

    for rule in rules.rules:
        yield RuleRow(
            rule=rule.name,
            pack=rule.pack,
            level=rule.written.level,
            spoke=judgements.spoke[rule.name],
            harmless=in_halves(rule.name, "harmless"),
            solutions=sum(in_halves(rule.name, "solutions").values()),
            twins=in_halves(rule.name, Label.TWIN.value),
            attacks=in_halves(rule.name, Label.ATTACK.value),
            failing=sum(in_halves(rule.name, Label.FAILING.value).values()),
        )


def _column(sample: Sample) -> str:
    if sample.source == "grade-school":
        return "solutions"
    return "harmless" if sample.label in HARMLESS else sample.label.value


def never_fired(rows: Sequence[RuleRow]) -> list[RuleRow]:
    """The rules that matched nothing at all."""
    return [row for row in rows if not row.fired]

"""Streams that are released before their end: which rules allow it, and how far a text can be released meanwhile.

By default nothing of an answer is released before all of it is judged. In the window mode the beginning is, as soon as no
rule that acts can still match anything in it. A rule that acts is one that withholds, redacts, halts or asks a person, by
its match or by its ``on_unknown``. Every one of them must be *windowable*:

* more text can only add to what it says, so that a match stands whatever follows (``streaming.undone_by``), and no filter
  can suppress it in the end;
* each pattern that it looks for in what is streamed has a longest match, of ``MAX_WINDOW`` codepoints at most;
* it cannot act without any of its patterns, by what is known at the end alone (tokens, the outcome, a probe);
* it is a rule over one subcall: one over a run can act for what other subcalls show.

Then ``Watch`` says how much may be released: of each text all but the last ``width`` codepoints, and nothing more once
any pattern of such a rule was found, whatever else its condition asks for. So no codepoint of any match is released.
Whether the rule then really acts is for the judgement to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from monitor.policy.clauses import TextClause
from monitor.policy.evaluation import says
from monitor.policy.fields import KEYWORDS
from monitor.policy.logic import Truth
from monitor.policy.matching import PatternEngine
from monitor.policy.regex_syntax import shape
from monitor.policy.streaming import MAX_WINDOW, TextStream, clauses_of, undone_by
from monitor.records import Action, Observation, Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from monitor.policy.clauses import Clause
    from monitor.policy.detection import Detection
    from monitor.policy.over_run import RunRule
    from monitor.policy.rules import PolicySet, Rule
    from monitor.records import Call

SURFACES = ("reasoning", "output")
"""The texts that are streamed. Whatever else an answer has (tool calls, an error) is only released when it is judged."""
ACTING = frozenset({Action.REDACT, Action.WITHHOLD, Action.ASK_HUMAN, Action.HALT})

_STREAMED = frozenset({*SURFACES, "written", "raw", KEYWORDS.name})
"""Fields that can hold what is streamed."""
_CAN_BE_ABSENT = "reasoning", "tool."
_TRUTHS = (Truth.MATCH, Truth.NO_MATCH, Truth.UNKNOWN, Truth.ABSENT)
_MAX_FACTS = 4
_SHOWN = 60  # codepoints of a pattern


@dataclass(frozen=True, slots=True)
class RuleWindow:
    """What the window mode makes of one rule.

    ``acts`` tells whether the rule matters for it at all. ``longest`` is the longest match of any of its patterns in what
    is streamed, in codepoints; None where it has no limit. ``obstacles`` say in sentences why the rule is not windowable.
    """

    rule: str
    pack: str
    acts: bool
    longest: int | None = 0
    obstacles: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.acts:
            return f"{self.rule}: only notes, and is in no stream's way"
        if self.obstacles:
            return f"{self.rule}: not windowable. {' '.join(self.obstacles)}"
        if not self.longest:
            return f"{self.rule}: windowable, and looks for nothing in what is streamed"
        return f"{self.rule}: windowable, its longest match has {_codepoints(self.longest)}"


def rule_window(rule: Rule, filters: tuple[str, ...] = (), *, adapter: str = "") -> RuleWindow:
    """What the window mode makes of a rule. ``filters`` are the names of those in force that are about it; ``adapter`` is
    through what the answers come in, or empty: any.
    """
    if not _acts(rule, adapter):
        return RuleWindow(rule.name, rule.pack, acts=False)
    clauses = _watched(rule)
    obstacles = [f"The filter `{name}` can suppress it in the end." for name in filters]
    if _by_match(rule):
        obstacles += [_sentence(cause) for cause in undone_by(rule.detection, _STREAMED)]
    obstacles += [f"`{clause.label}` {problem}" for clause in clauses if (problem := _problem(clause.patterns))]
    obstacles += _acts_without_text(rule)
    lengths = [shape(pattern).maximum for clause in clauses for pattern in clause.patterns]
    known = [length for length in lengths if length is not None]
    longest = max(known, default=0) if len(known) == len(lengths) else None
    return RuleWindow(rule.name, rule.pack, acts=True, longest=longest, obstacles=tuple(obstacles))


def run_rule_window(rule: RunRule) -> RuleWindow:
    """What the window mode makes of a rule over a run: it can act by what other subcalls show, whatever this text says."""
    written = rule.written
    is_quiet = written.status in {"test", "unsupported"}
    if is_quiet or ACTING.isdisjoint({written.effective_action, written.effective_on_unknown}):
        return RuleWindow(rule.name, rule.pack, acts=False)
    obstacle = (
        "It goes by several subcalls of the run: it can act on an answer for what others show, once that is released."
    )
    return RuleWindow(rule.name, rule.pack, acts=True, obstacles=(obstacle,))


class Windows:
    """The acting rules of a policy set as streams meet them; made once for a set, used by any number of streams."""

    def __init__(self, policy_set: PolicySet | None, adapter: str) -> None:
        active = [] if policy_set is None else [one for one in policy_set.filters if not one.is_expired]
        rules = () if policy_set is None else policy_set.rules
        self.rules = tuple(
            rule_window(rule, tuple(one.name for one in active if one.is_about(rule.id, rule.name)), adapter=adapter)
            for rule in rules
        )
        self._acting = [rule for rule, said in zip(rules, self.rules, strict=True) if said.acts]
        self.rules += tuple(run_rule_window(rule) for rule in (policy_set.run_rules if policy_set else ()))
        self._set = policy_set
        self._engine: PatternEngine | None = None

    @property
    def refused(self) -> tuple[RuleWindow, ...]:
        """The acting rules that are not windowable; with any of them, no stream is released before its end."""
        return tuple(one for one in self.rules if one.obstacles)

    @property
    def width(self) -> int:
        """How many codepoints are held back."""
        return max((one.longest or 0 for one in self.rules), default=0)

    def is_decided_for(self, call: Call) -> bool:
        """Whether a rule can act whatever the answer says, by what the call was handed."""
        if self._set is None:
            return False
        nothing = Observation.trusted(outcome=Outcome.OK)
        readings = self._set.readings(Record.trusted(call=call, observation=nothing))
        return any(_can_act(rule, lambda clause: clause.truth(readings)) for rule in self._acting)

    def watch(self, *, margin: int = 0) -> Watch:
        """Follow one stream. ``margin`` codepoints are held back besides.

        Rules may read a text without the white space around it (see ``replies.split_think``): where one of them looks at
        the beginning, nothing is released of a text that begins with white space.
        """
        if self._engine is None:
            patterns = {pattern for rule in self._acting for clause in _watched(rule) for pattern in clause.patterns}
            self._engine = PatternEngine(sorted(patterns))
        return Watch(self._engine, margin)


class Watch:
    """The texts of one answer while they arrive."""

    def __init__(self, engine: PatternEngine, margin: int) -> None:
        self._engine, self._margin = engine, margin
        self._looks_at_beginning = any("^" in pattern or r"\A" in pattern for pattern in engine.patterns)
        self._streams = {surface: TextStream(engine, engine.patterns) for surface in SURFACES}
        self._length = dict.fromkeys(SURFACES, 0)
        self._safe = dict.fromkeys(SURFACES, 0)
        self._over: set[str] = set()
        self.is_held = False

    def feed(self, surface: str, text: str) -> bool:
        """Add the next codepoints of a text; says whether a pattern was found in it just now.

        From then on, ``safe`` stays as it is.
        """
        if text[:1].isspace() and not self._length[surface] and self._looks_at_beginning:
            self.is_held = True  # the beginning of the text as rules read it may be another: see ``Windows.watch``
        found = self._turn_to(surface)
        self._length[surface] += len(text)
        if not self._engine.patterns:
            settled = self._length[surface] + self._margin  # there is nothing to hold back for
        else:
            stream = self._streams[surface]
            found = bool(stream.feed(text)) or found
            settled = stream.settled
        self.is_held = self.is_held or found
        if not self.is_held:
            self._safe[surface] = max(self._safe[surface], settled - self._margin)
        return found

    def _turn_to(self, surface: str) -> bool:
        """The text of another surface is over where this one goes on: what is not in it now, no rule can find in it.

        Should it go on after all, nothing more is released. (Of a match that goes over such a gap, then, the first part
        can have been.)
        """
        found = False
        for other in SURFACES:
            if other == surface:
                self.is_held = self.is_held or other in self._over
            elif self._length[other] and other not in self._over:
                self._over.add(other)
                stream = self._streams[other]
                found = bool(stream.finish()) if self._engine.patterns else False
                self.is_held = self.is_held or found or self._length[other] > self._engine.cap
                if not self.is_held:
                    self._safe[other] = self._length[other]
        return found

    def hold(self) -> None:
        """Let nothing more be released."""
        self.is_held = True

    def safe(self, surface: str) -> int:
        """How many codepoints of the text hold nothing that a rule can still match."""
        return self._safe[surface]


@lru_cache(maxsize=32)
def windows_of(policy_set: PolicySet | None, adapter: str) -> Windows:
    """What streams that come in through ``adapter`` meet of a policy set."""
    return Windows(policy_set, adapter)


def _by_match(rule: Rule) -> bool:
    return Action(rule.written.effective_action) in ACTING


def _by_unknown(rule: Rule) -> bool:
    return Action(rule.written.effective_on_unknown) in ACTING


def _acts(rule: Rule, adapter: str) -> bool:
    """Whether the rule can do more than note something of a model's answer that comes in through ``adapter``."""
    if rule.on_trial or rule.written.status == "unsupported":
        return False
    source = rule.written.logsource
    if source and (source.service == "tool" or (adapter and source.product not in {None, adapter})):
        return False
    return _by_match(rule) or _by_unknown(rule)


def _watched(rule: Rule) -> list[TextClause]:
    """The clauses whose matches count: those on what is streamed. Where only ``on_unknown`` acts, texts alone, which are
    read to their end, give it nothing to act on.
    """
    if not _by_match(rule) and not _facts(rule.detection):
        return []
    return [
        clause
        for clause in clauses_of(rule.detection)
        if isinstance(clause, TextClause) and clause.field.name in _STREAMED
    ]


def _problem(patterns: Iterable[str]) -> str:
    """Why the first of these patterns that cannot be watched cannot be, and how many others cannot."""
    found = [problem for pattern in sorted(patterns) if (problem := _why_not(pattern))]
    more = f" ({len(found) - 1} more of its patterns are in the way, too.)" if len(found) > 1 else ""
    return found[0] + more if found else ""


def _why_not(pattern: str) -> str:
    known, shown = shape(pattern), pattern if len(pattern) <= _SHOWN else f"{pattern[:_SHOWN]}…"
    if known.maximum is None:
        return f"has no longest match: bound what `{shown}` repeats, such as `{{1,50}}` for `+`."
    if known.maximum > MAX_WINDOW:
        return f"can match {_codepoints(known.maximum)} by `{shown}`; {MAX_WINDOW:,} are held back at most."
    if known.minimum == 0:
        return f"matches where nothing stands, by `{shown}`."
    return f"can match a part of a codepoint, by `{shown}`." if known.cuts_codepoints else ""


def _acts_without_text(rule: Rule) -> list[str]:
    facts = _facts(rule.detection)
    names = ", ".join(dict.fromkeys(f"`{clause.label}`" for clause in facts))
    if len(facts) > _MAX_FACTS:
        return [f"It asks for more than {_MAX_FACTS} things that are no text: {names}."]
    if not _can_act(rule, _silent) and not _can_act(rule, _absent):
        return []
    if facts:
        return [f"It can act by what is no text of the answer, or is known at its end only: {names}."]
    return ["It can act where none of its patterns is found."]


def _can_act(rule: Rule, text_says: Callable[[TextClause], Truth]) -> bool:
    """Whether the rule acts for any value of its facts, where its texts say this."""
    facts = _facts(rule.detection)
    for truths in product(_TRUTHS, repeat=len(facts)):
        said = {id(clause): truth for clause, truth in zip(facts, truths, strict=True)}

        def truth_of(clause: Clause, said: dict[int, Truth] = said) -> Truth:
            return text_says(clause) if isinstance(clause, TextClause) else said[id(clause)]

        found = says(rule.detection, truth_of)
        if (found is Truth.MATCH and _by_match(rule)) or (found is Truth.UNKNOWN and _by_unknown(rule)):
            return True
    return False


def _silent(clause: TextClause) -> Truth:
    return Truth.MATCH if clause.negated else Truth.NO_MATCH


def _absent(clause: TextClause) -> Truth:
    return Truth.ABSENT if clause.field.name.startswith(_CAN_BE_ABSENT) else _silent(clause)


def _facts(detection: Detection) -> list[Clause]:
    return [clause for clause in clauses_of(detection) if not isinstance(clause, TextClause)]


def _sentence(cause: str) -> str:
    return cause[:1].upper() + cause[1:]


def _codepoints(number: int) -> str:
    return f"{number:,} codepoint{'' if number == 1 else 's'}"

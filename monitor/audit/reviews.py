"""What people say of findings: making a review, and what several of them come to.

A label is about one finding, of one version of a rule on one subcall. Whether what the rule looks for is really there
(``Review.is_there``) outlives the version: where nobody has labelled the present one, an older label is used, and
counted apart.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.audit.intervals import Interval, wilson
from monitor.canonical import escape_text
from monitor.errors import ConfigError
from monitor.records import Event, Finding, Label, Review, RuleRef, Status, StoredReview, new_span_id, now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal


def rule_key(rule: Finding | Review | RuleRef) -> str:
    """What stays the same of a rule from version to version: its id, or the name of what has none."""
    return rule.rule_id or f"name:{rule.name}"


def make_review(
    span_id: str,
    finding: Finding,
    label: Label | str,
    *,
    why: str,
    by: str,
    via: Literal["command", "terminal", "call"] = "call",
    recorded: bool = True,
) -> Review:
    """Make a review of ``finding`` on the subcall ``span_id``. Raises ConfigError without a reason or a name."""
    if not why.strip():
        raise ConfigError("a label needs a reason: say why")
    if not by.strip():
        raise ConfigError("a label needs a name: say who gives it")
    return Review(
        span=span_id,
        check=finding.check,
        name=finding.name,
        status=finding.status,
        rule_id=finding.rule_id,
        rule_hash=finding.rule_hash,
        pack=finding.pack,
        recorded=recorded,
        label=Label(label),
        why=escape_text(why.strip()),
        by=escape_text(by.strip()),
        via=via,
        at=now(),
    )


def event_of(run_id: str, review: Review) -> Event:
    """The event that stores a review, under a new id of its own."""
    return Event.of(run_id, new_span_id(), review)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What people say of one finding.

    ``reviews`` are the labels that count, the last of each person. ``is_there`` is what those say who are sure, None where
    nobody is or where they differ (``is_disputed``). ``other_version`` tells that they are of another version of the rule.
    """

    reviews: tuple[StoredReview, ...]
    is_there: bool | None
    is_disputed: bool
    other_version: bool

    def word(self, status: Status) -> str:
        """``true`` or ``false`` of a finding that says ``status``, or ``disputed``, or ``unsure``."""
        if self.is_disputed:
            return "disputed"
        if self.is_there is None:
            return Label.UNSURE.value
        return (Label.TRUE if self.is_there is not (status is Status.NO_MATCH) else Label.FALSE).value


class Labels:
    """All reviews, to be asked about single findings. Memory: the reviews themselves, which people wrote."""

    def __init__(self, reviews: Iterable[StoredReview]) -> None:
        self._by_finding: defaultdict[tuple[str, str, str], list[StoredReview]] = defaultdict(list)
        for item in reviews:  # in the order of the log
            self._by_finding[item.run_id, item.review.span, rule_key(item.review)].append(item)

    def about(self, run_id: str, span_id: str, rule: Finding | Review | RuleRef) -> Opinion | None:
        """What people say of what this rule found on this subcall; None where nobody has said anything.

        The labels of this very version count; where there are none, those of other versions.
        """
        known = self._by_finding.get((run_id, span_id, rule_key(rule)))
        if not known:
            return None
        of_this = [item for item in known if item.review.rule_hash == rule.rule_hash]
        last = {item.review.by: item for item in of_this or known}
        said = {item.review.is_there for item in last.values()} - {None}
        return Opinion(
            reviews=tuple(last.values()),
            is_there=said.pop() if len(said) == 1 else None,
            is_disputed=len(said) > 1,
            other_version=not of_this,
        )


@dataclass(slots=True)
class Precision:
    """How many labelled matches were right: each match counts once, whatever the number of people.

    ``unsure`` and ``disputed`` matches are in neither count. ``other_version`` of the labels that count are of another
    version of the rule. ``unlabelled`` matches nobody has looked at. The interval takes the labelled matches for a random
    draw from all: it is worth what that is worth.
    """

    right: int = 0
    wrong: int = 0
    unsure: int = 0
    disputed: int = 0
    unlabelled: int = 0
    other_version: int = 0
    people: set[str] = field(default_factory=set)

    def count(self, opinion: Opinion | None) -> None:
        """Take one match into account."""
        if opinion is None:
            self.unlabelled += 1
            return
        self.people.update(item.review.by for item in opinion.reviews)
        if opinion.is_disputed:
            self.disputed += 1
        elif opinion.is_there is None:
            self.unsure += 1
        else:
            self.right += opinion.is_there
            self.wrong += not opinion.is_there
            self.other_version += opinion.other_version

    @property
    def labelled(self) -> int:
        """How many matches were labelled right or wrong."""
        return self.right + self.wrong

    @property
    def share(self) -> float | None:
        """The share that was right; None where nothing was measured."""
        return self.right / self.labelled if self.labelled else None

    @property
    def interval(self) -> Interval | None:
        """Its 95 % interval, None where nothing was measured."""
        return wilson(self.right, self.labelled) if self.labelled else None

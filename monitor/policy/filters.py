"""Filters: what is known to be harmless, kept apart from the rules, dated, with a reason and an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.records import FilterRef

if TYPE_CHECKING:
    from monitor.policy.detection import Detection
    from monitor.policy.schema import FilterFile


@dataclass(frozen=True, slots=True)
class Filter:
    """One compiled filter. ``written`` is the filter as its author wrote it, ``path`` and ``line`` where.

    A match of one of its rules on a record for which its detection certainly holds is suppressed: it stays a match in the
    record, which names the filter, and only logs. What is unknown suppresses nothing, and nor does an expired filter.
    """

    written: FilterFile
    filter_set: str
    version: str
    path: str
    line: int
    detection: Detection
    filter_hash: str
    is_expired: bool
    test_lines: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The filter's name, unique in a policy set."""
        return self.written.name

    def is_about(self, rule_id: str, rule_name: str) -> bool:
        """Whether the filter names this rule."""
        return rule_id in self.written.rules or rule_name in self.written.rules

    @property
    def ref(self) -> FilterRef:
        """The filter as a run's record names it."""
        return FilterRef(
            name=self.name,
            filter_id=self.written.id,
            filter_hash=self.filter_hash,
            filter_set=self.filter_set,
            version=self.version,
            expires=self.written.expires,
            is_expired=self.is_expired,
        )

"""What every compiled rule has, over one subcall or over a run: its name in the record, and the findings that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from monitor.policy.schema import RuleFile, RunRuleFile
from monitor.records import Action, Finding, Level, RuleRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.records import FarSpan, Span, Status

Written = TypeVar("Written", RuleFile, RunRuleFile)


class CompiledRule(Generic[Written]):
    """A rule as its author wrote it, at work: the base of ``Rule`` and ``RunRule``, which have these as their fields."""

    __slots__ = ()

    written: Written
    pack: str
    pack_version: str
    rule_hash: str
    overridden_by: str

    @property
    def id(self) -> str:
        """The rule's UUID."""
        return self.written.id

    @property
    def name(self) -> str:
        """The rule's name, unique in a policy set."""
        return self.written.name

    @property
    def ref(self) -> RuleRef:
        """The rule as a run's record names it."""
        return RuleRef(
            name=self.name,
            rule_id=self.id,
            rule_hash=self.rule_hash,
            pack=self.pack,
            pack_version=self.pack_version,
            overridden_by=self.overridden_by,
        )

    @property
    def on_trial(self) -> bool:
        """Whether the rule runs in shadow (``status: test``): what it says is recorded, and it never acts."""
        return self.written.status == "test"

    def finding(
        self,
        status: Status,
        *,
        evidence: Sequence[Span] = (),
        elsewhere: Sequence[FarSpan] = (),
        cause: str = "",
        suppressed_by: str = "",
    ) -> Finding:
        """A finding of this rule."""
        return Finding(
            check="rule",
            name=self.name,
            status=status,
            rule_id=self.id,
            rule_hash=self.rule_hash,
            pack=self.pack,
            title=self.written.title,
            level=Level(self.written.level),
            action=Action(self.written.effective_action),
            on_unknown=Action(self.written.effective_on_unknown),
            evidence=tuple(evidence),
            elsewhere=tuple(elsewhere),
            cause=cause,
            shadow=self.on_trial,
            suppressed_by=suppressed_by,
        )

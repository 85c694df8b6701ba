"""One run as its rules over several subcalls see it: told when a subcall begins, and asked when it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.policy.over_run.joined import Step
from monitor.policy.over_run.joining import JoinedRule
from monitor.policy.over_run.nodes import Tree
from monitor.policy.over_run.run_rules import RunRuleMemory
from monitor.policy.over_run.timeline import Timeline
from monitor.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.policy.over_run.run_rules import RunRule
    from monitor.policy.readings import Field, Reading
    from monitor.policy.rules import PolicySet
    from monitor.records import Call, Finding, Observation


class RunWatch:
    """What the rules over a run remember of one run, in bounded memory.

    ``begin`` and ``see`` are called in the order of the run's log; then a replay of the log finds what the run found. It is
    for one thread at a time.
    """

    def __init__(self, policy_set: PolicySet, rules: Sequence[RunRule]) -> None:
        self._policy_set = policy_set
        self._timeline = Timeline()
        self._tree = Tree()
        self._memories: list[RunRuleMemory | JoinedRule] = [
            RunRuleMemory(rule) if rule.written.correlation else JoinedRule(rule, self._tree) for rule in rules
        ]
        self._joined = [one for one in self._memories if isinstance(one, JoinedRule)]

    def begin(self, call: Call) -> None:
        """A subcall begins: its call is about to be stored."""
        self._timeline.begin(call)
        if self._joined:
            known = self._tree.node(call)
            node = self._tree.begin(call, self._timeline)
            if node is not known:
                for one in self._joined:
                    one.begin(node)

    def skip(self, call: Call, observation: Observation | None = None) -> tuple[Finding, ...]:
        """A subcall is over that no check looks at. Only rules over the tree that are about such subcalls say anything of
        it; what it spent is counted.
        """
        self.begin(call)
        node = self._tree.begin(call, self._timeline) if self._joined else None
        moment = self._timeline.see(call)
        if node is None:
            return ()
        node.seen = moment.seen
        record = Record.trusted(call=call, observation=observation) if observation else None

        def read(field: Field) -> Reading:
            assert record is not None, "nothing is read of what has no observation"
            return field.read(record)

        step = Step(moment, node, call, observation, None, {}, read)
        said = [(one, one.see(step)) for one in self._joined]
        return tuple(self._filtered(one, finding, record) for one, finding in said if one.is_about_unchecked)

    def lose(self) -> None:
        """A subcall cannot be read: what it showed nobody knows. From then on what it could decide is unknown."""
        for memory in self._memories:
            memory.lose()

    def see(self, record: Record, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """One finding for each rule over a run, in the order of the rules. ``findings`` are what the rules over one
        subcall say of the record. A rule that crashes is ``unknown``, alone, and what it missed is lost to it.
        """
        self.begin(record.call)
        node = self._tree.begin(record.call, self._timeline) if self._joined else None
        moment = self._timeline.see(record.call)
        found = {finding.name: finding for finding in findings if finding.check == "rule"}
        broken = next((one for one in found.values() if not one.rule_id and one.status is Status.UNKNOWN), None)
        if broken:  # the rules over one subcall broke as a whole: what each would have said is not known
            found |= {name: broken for memory in self._memories for name in memory.rule.parts if name not in found}
        reading: dict[Field, Reading] = {}

        def read(field: Field) -> Reading:
            if field not in reading:
                reading[field] = field.read(record)
            return reading[field]

        answers: list[Finding] = []
        if node:
            node.seen = moment.seen
            step = Step(moment, node, record.call, record.observation, record, found, read)
        for memory in self._memories:
            if isinstance(memory, JoinedRule):
                finding = memory.see(step)
            else:
                try:
                    finding = memory.see(moment, self._timeline, found, record, read)
                except Exception as exc:  # noqa: BLE001 - here a crash becomes a recorded unknown
                    finding = memory.rule.finding(Status.UNKNOWN, cause=type(exc).__name__)
                    memory.lose()
            answers.append(self._filtered(memory, finding, record))
        return tuple(answers)

    def _filtered(self, memory: RunRuleMemory | JoinedRule, finding: Finding, record: Record | None) -> Finding:
        """The finding, with the filter that holds its match to be harmless. Of what has no record none is certain."""
        if finding.status is not Status.MATCH or record is None:
            return finding
        suppressed_by = self._policy_set.suppressing(memory.rule.id, record)
        return finding.model_copy(update={"suppressed_by": suppressed_by}) if suppressed_by else finding

"""Policy rules as a check."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.policy import PolicySet
    from monitor.records import Finding, Record


class PolicyCheck:
    """All rules of a policy set: one finding for each rule."""

    name = "policy"

    def __init__(self, policy_set: PolicySet) -> None:
        self.policy_set = policy_set

    def findings(self, record: Record) -> tuple[Finding, ...]:
        """One finding for each rule, in the order of the rules."""
        return self.policy_set.findings(record)

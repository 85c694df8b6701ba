"""The budget's own check: did a provider report more than was reserved for the call?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.records import Action, Finding, Level, Status, Usage

if TYPE_CHECKING:
    from monitor.records import Record


class AccountingCheck:
    """A provider that reports more tokens than the call's reservation broke the bound on which the budgets rest.

    It speaks only then. A finding ``no_match`` on every other subcall would make a run without policies look measured.
    """

    name = "accounting"

    def findings(self, record: Record) -> tuple[Finding, ...]:
        """One finding, or none."""
        reserved, used = record.call.reserved, record.observation.usage
        is_bounded = record.call.max_output_tokens is not None or reserved.output_tokens > 0
        names = ("input_tokens", "output_tokens") if is_bounded else ("input_tokens",)
        broken = [name for name in names if getattr(used, name) > getattr(reserved, name)]
        if not broken:
            return ()  # a foreign call whose output nobody limited has none reserved: nothing is broken by it
        if reserved == Usage() or not record.observation.usage_reported:
            return ()  # nothing was reserved (a foreign record), or the reservation itself is what is charged
        over = [f"{name} {getattr(used, name)} reported, {getattr(reserved, name)} reserved" for name in broken]
        return (
            Finding(
                check="budget",
                name="usage_over_reservation",
                status=Status.MATCH,
                title="The provider reported more tokens than were reserved",
                level=Level.HIGH,
                action=Action.FLAG,
                on_unknown=Action.FLAG,
                cause="; ".join(over),
            ),
        )

"""What a check is, and how checks are run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from monitor.records import Action, Finding, Level, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.records import Record


class Check(Protocol):
    """Something that looks at one record. It may raise: ``run`` turns that into a finding."""

    @property
    def name(self) -> str:
        """What an outage of the whole check is reported under."""
        ...

    def findings(self, record: Record) -> Sequence[Finding]:
        """What it has to say; nothing where it does not concern the record."""
        ...


def run(checks: Sequence[Check], record: Record) -> tuple[Finding, ...]:
    """Every check's findings, in the order of the checks.

    A check that raises gives one finding ``unknown`` with ``on_unknown`` withhold: silence is never a pass. The cause is
    the exception's class; its message may quote the record and is left out.
    """
    found: list[Finding] = []
    for check in checks:
        try:
            found.extend(check.findings(record))
        except Exception as exc:  # noqa: BLE001 - here a crash becomes a recorded unknown
            found.append(outage(check.name, exc))
    return tuple(found)


def outage(name: str, exc: Exception) -> Finding:
    """The finding of a check that broke."""
    return Finding(
        check="rule",
        name=name,
        status=Status.UNKNOWN,
        title=f"The check {name} broke",
        level=Level.HIGH,
        action=Action.WITHHOLD,
        on_unknown=Action.WITHHOLD,
        cause=type(exc).__name__,
    )

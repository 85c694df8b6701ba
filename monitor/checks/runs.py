"""Rules over a run as a check: it follows one run, and says of each subcall what several show together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.checks.base import outage, run
from monitor.checks.policies import PolicyCheck
from monitor.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.policy import PolicySet
    from monitor.records import Call, Finding, Observation, StoredSubcall


class RunCheck:
    """Follows one run in the order of its log: ``begin`` where a call is stored, ``see`` where a subcall is judged.

    Subcalls of the monitor's own (questions to a judge) are no part of what it follows.

    What breaks as a whole is an outage at every subcall from then on: what was not followed cannot be made up for.
    """

    name = "rules over the run"

    def __init__(self, policy_set: PolicySet) -> None:
        self._rules = [PolicyCheck(policy_set)]
        self._watch = policy_set.watch()
        self._broken: Exception | None = None

    def begin(self, call: Call) -> None:
        """A subcall begins. It never raises."""
        if call.is_monitors:
            return
        try:
            self._watch.begin(call)
        except Exception as exc:  # noqa: BLE001 - every later finding says so
            self._broken = exc

    def see(self, record: Record, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """What the rules over the run say, given what those over one subcall say of the record. It never raises."""
        if self._broken is None:
            try:
                return self._watch.see(record, findings)
            except Exception as exc:  # noqa: BLE001 - here a crash becomes a recorded unknown
                self._broken = exc
        return (outage(self.name, self._broken),)

    def skip(self, call: Call, observation: Observation | None = None) -> tuple[Finding, ...]:
        """A subcall ends on which its recipe wants no check to look: what is said of that alone. It never raises."""
        if call.is_monitors:
            return ()
        try:
            return self._watch.skip(call, observation)
        except Exception as exc:  # noqa: BLE001 - every later finding says so
            self._broken = exc
            return ()

    def lose(self) -> None:
        """A subcall cannot be read back: what it could decide later is unknown. It never raises."""
        try:
            self._watch.lose()
        except Exception as exc:  # noqa: BLE001 - every later finding says so
            self._broken = exc

    def recall(self, subcalls: Sequence[StoredSubcall]) -> None:
        """Follow what is in the log of the run already, as it was followed then, by the rules of now."""
        begins = [(one.began_at, False, one) for one in subcalls if one.began_at is not None]
        ends = [(one.judged_at, True, one) for one in subcalls if one.judged_at is not None]
        for _, is_judged, one in sorted([*begins, *ends], key=lambda step: step[0]):
            if not is_judged:
                self.begin(one.call)
            elif not one.call.checked or one.observation is None or one.judgement is None:
                self.skip(one.call, one.observation)
            else:
                record = Record.trusted(
                    call=one.call,
                    observation=one.observation,
                    probes=one.judgement.probes,
                    answers=one.judgement.answers,
                )
                self.see(record, run(self._rules, record))

"""The checks of a run, loaded: its policy packs, its probes, a judge; and what they say of a stream that is not over.

Recipes and adapters hand them to the pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from monitor import catalog, checks, policy, probes, verdict
from monitor.errors import ConfigError
from monitor.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.checks import RunCheck
    from monitor.judging import Judge
    from monitor.records import Call, FilterRef, Observation, RuleRef

Windows = policy.Windows
Watch = policy.Watch


@dataclass(frozen=True, slots=True)
class LoadedChecks:
    """The checks of a run, and the packs, rules and filters as the run's record names them.

    ``packs`` load the same packs again from any working directory: shipped ones by name, others by absolute path.
    ``prober`` has the run's activation probes, and takes those of its roles. ``over_run`` makes the check that follows one
    run, where there are rules over a run. ``judge`` answers the questions of rules; without one nobody is asked.
    """

    checks: tuple[checks.Check, ...]
    packs: tuple[str, ...] = ()
    prober: probes.Prober = field(default_factory=probes.Prober)
    over_run: Callable[[], RunCheck] | None = None
    rules: tuple[RuleRef, ...] = ()
    filters: tuple[FilterRef, ...] = ()
    judge: Judge | None = None

    @property
    def asks(self) -> bool:
        """Whether rules put questions to a judge."""
        return any(check.policy_set.asks for check in self.checks if isinstance(check, checks.PolicyCheck))

    def windows(self, adapter: str) -> policy.Windows:
        """What streams that come in through ``adapter`` are released by before their end.

        Raises:
            ConfigError: a rule that acts does not allow it; each such rule is named, and why.
        """
        rules = [check.policy_set for check in self.checks if isinstance(check, checks.PolicyCheck)]
        found = policy.windows_of(rules[0] if rules else None, adapter)
        if found.refused:
            named = "".join(f"\n  {one.pack}: {one}" for one in found.refused)
            raise ConfigError(
                "streams cannot be released before their end under this policy, for these rules act on answers and could "
                f"still match what was released. Leave out stream='window', or change the rules:{named}"
            )
        return found

    def stop(self, call: Call, observation: Observation) -> bool:
        """Whether a rule withholds what came of a stream so far, so that the rest need not be waited for."""
        rules = [check for check in self.checks if isinstance(check, checks.PolicyCheck)]
        found = checks.run(rules, Record.trusted(call=call, observation=observation))
        return any(one.status is Status.MATCH and verdict.effective_action(one) in verdict.BLOCKING for one in found)


def load_checks(packs: Sequence[str], prober: probes.Prober | None = None) -> LoadedChecks:
    """Load policy packs, with filters and overrides, by name or path.

    Without any, only the accounting is checked, and no verdict can be pass. ``prober`` has the probes that
    every subcall is to have.

    Raises:
        CatalogError: no such pack.
        PolicyError: a pack is wrong; all of its faults at once.
    """
    prober = prober or probes.Prober()
    if not packs:
        return LoadedChecks((checks.ProbeCheck(), checks.AccountingCheck()), prober=prober)
    paths = [catalog.find("policy", pack) for pack in packs]
    policy_set = policy.load(paths)
    shipped = catalog.names("policy")
    names = tuple(pack if pack in shipped else str(path) for pack, path in zip(packs, paths, strict=True))
    every = (checks.PolicyCheck(policy_set), checks.ProbeCheck(), checks.AccountingCheck())
    over_run = partial(checks.RunCheck, policy_set) if policy_set.run_rules else None
    return LoadedChecks(every, names, prober, over_run, policy_set.refs, policy_set.filter_refs)

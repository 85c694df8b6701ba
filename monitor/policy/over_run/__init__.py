"""Rules that see more than one subcall: correlations over a run, with bounded memory and the logic of four values."""

from monitor.policy.over_run.run_rules import RunRule
from monitor.policy.over_run.watch import RunWatch

__all__ = ["RunRule", "RunWatch"]

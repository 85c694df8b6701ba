"""Checks: a record in, findings out. Pure: a check sees the record, never a database or a client.

``run`` is the only way in. It fails closed: a check that breaks becomes a finding ``unknown`` that withholds.
"""

from monitor.checks.accounting import AccountingCheck
from monitor.checks.base import Check, run
from monitor.checks.policies import PolicyCheck
from monitor.checks.probes import ProbeCheck
from monitor.checks.runs import RunCheck

__all__ = ["AccountingCheck", "Check", "PolicyCheck", "ProbeCheck", "RunCheck", "run"]

"""Policy files: what safety reviewers write, and what it says of a record.

``load`` reads packs of rules strictly; a ``PolicySet`` gives one finding for each rule. The language is described in
``docs/policy-language.md``.
"""

from monitor.policy.fields import FIELDS, field_named, fields_table
from monitor.policy.loader import load
from monitor.policy.logic import truth_table
from monitor.policy.readings import Field, FieldType
from monitor.policy.rules import PolicySet, Rule, RuleTestResult
from monitor.policy.tools.lint import lint
from monitor.policy.tools.lint_runs import LintNote
from monitor.policy.windows import RuleWindow, Watch, Windows, windows_of

__all__ = [
    "FIELDS",
    "Field",
    "FieldType",
    "LintNote",
    "PolicySet",
    "Rule",
    "RuleTestResult",
    "RuleWindow",
    "Watch",
    "Windows",
    "field_named",
    "fields_table",
    "lint",
    "load",
    "truth_table",
    "windows_of",
]

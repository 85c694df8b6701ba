"""``monitor audit``: questions to what is stored, and what proves that it was not altered. Each part has its module."""

import typer

from monitor.cli import (
    audit_ask,
    audit_erase,
    audit_prove,
    audit_report,
    audit_rescan,
    audit_scans,
    audit_search,
    audit_tree,
    audit_verify,
)

__all__ = ["audit", "register"]

audit = typer.Typer(
    help="Ask, re-check, report, prove, redact: for auditors.", no_args_is_help=True, rich_markup_mode=None
)
_PARTS = (
    audit_ask,
    audit_search,
    audit_tree,
    audit_report,
    audit_rescan,
    audit_scans,
    audit_verify,
    audit_prove,
    audit_erase,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for module in _PARTS:
        module.register(audit)
    app.add_typer(audit, name="audit")

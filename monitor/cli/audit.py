"""``monitor audit``: questions to what is stored. Each part has a module of its own."""

import typer

from monitor.cli import audit_ask, audit_search, audit_tree

__all__ = ["audit", "register"]

audit = typer.Typer(help="Ask what is stored, months later too.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for module in (audit_ask, audit_search, audit_tree):
        module.register(audit)
    app.add_typer(audit, name="audit")

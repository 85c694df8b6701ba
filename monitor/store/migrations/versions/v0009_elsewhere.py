"""The views of findings show evidence that stands in other subcalls: the column ``elsewhere``."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_VIEWS = ("findings", "scan_findings")
_COLUMN = "coalesce({value}, '[]') AS elsewhere"


def _with_column(definition: str, value: str, found: str) -> str:
    """The view with one more column at its end, which is before the first ``found``."""
    head, found, tail = definition.partition(found)
    assert found, "the view is not as it was made"
    return f"{head.rstrip()},\n  {_COLUMN.format(value=value)}{found}{tail}"


def upgrade() -> None:
    """Take the schema to version 0009."""
    connection = op.get_bind()
    for view in _VIEWS:
        if connection.dialect.name == "postgresql":
            definition = connection.scalar(sa.text("SELECT pg_get_viewdef(CAST(:view AS regclass))"), {"view": view})
            changed = _with_column(definition, "f.value ->> 'elsewhere'", "\n   FROM ")
            _run(f"CREATE OR REPLACE VIEW {view} AS {changed}")
        else:
            definition = connection.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = :view"), {"view": view})
            _run(f"DROP VIEW {view}")
            _run(_with_column(definition, "json_extract(f.value, '$.elsewhere')", "\nFROM "))
    if connection.dialect.name != "postgresql":
        op.execute("PRAGMA user_version = 9")


def _run(statement: str) -> None:
    op.execute(sa.text(statement.replace(":", r"\:")))

"""Streams released before their end: the view ``releases``, and the column ``released_before_final`` of ``subcalls``."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from monitor.store.migrations import postgres
from monitor.store.migrations.versions import v0002_decisions

revision = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_LAST_COLUMN = "leaf_index\nFROM events AS s\n"
_RELEASED = "EXISTS (SELECT 1 FROM events AS p WHERE p.run_id = s.run_id AND p.span_id = s.span_id AND p.seq = -1)"


def _with_mark(view: str, mark: str) -> str:
    """The view of subcalls as it was, with one column more at its end."""
    before, _, after = view.partition(_LAST_COLUMN)
    assert after, "the view is that of version 0002"
    return f"{before}leaf_index,\n  {mark} AS released_before_final\nFROM events AS s\n{after}"


_ON_SQLITE = """
CREATE VIEW releases AS
SELECT
  p.run_id,
  p.span_id,
  -p.seq AS part,
  json_extract(p.canonical, '$.body.reasoning_start') AS reasoning_start,
  CASE json_type(p.canonical, '$.body.reasoning') WHEN 'object' THEN reasoning.body ELSE '' END AS reasoning,
  json_extract(p.canonical, '$.body.output_start') AS output_start,
  CASE json_type(p.canonical, '$.body.output') WHEN 'object' THEN output.body ELSE '' END AS output,
  p.at AS released_at,
  p.leaf_index
FROM events AS p
LEFT JOIN texts AS reasoning ON reasoning.commitment = json_extract(p.canonical, '$.body.reasoning."$text"')
LEFT JOIN texts AS output ON output.commitment = json_extract(p.canonical, '$.body.output."$text"')
WHERE p.kind = 'released'
"""

_ON_POSTGRES = f"""
CREATE VIEW releases AS
SELECT
  p.run_id,
  p.span_id,
  -p.seq AS part,
  monitor_integer(pb.body -> 'reasoning_start') AS reasoning_start,
  CASE jsonb_typeof(pb.body -> 'reasoning') WHEN 'object' THEN reasoning.body ELSE '' END AS reasoning,
  monitor_integer(pb.body -> 'output_start') AS output_start,
  CASE jsonb_typeof(pb.body -> 'output') WHEN 'object' THEN output.body ELSE '' END AS output,
  p.at AS released_at,
  pl.leaf_index
FROM events AS p
{postgres.body("p", "pb")}
{postgres.leaf("p", "pl")}
LEFT JOIN texts AS reasoning ON reasoning.commitment = pb.body #>> '{{reasoning,$text}}'
LEFT JOIN texts AS output ON output.commitment = pb.body #>> '{{output,$text}}'
WHERE p.kind = 'released'
"""

SUBCALLS_ON_SQLITE = _with_mark(v0002_decisions.SUBCALLS, _RELEASED)
SUBCALLS_ON_POSTGRES = _with_mark(postgres.SUBCALLS, f"({_RELEASED})::integer")


def upgrade() -> None:
    """Take the schema to version 0005."""
    if op.get_bind().dialect.name == "postgresql":
        statements = [SUBCALLS_ON_POSTGRES.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1), _ON_POSTGRES]
    else:
        op.execute(sa.text("DROP VIEW subcalls"))
        statements = [SUBCALLS_ON_SQLITE, _ON_SQLITE]
    for statement in statements:
        op.execute(sa.text(statement.replace(":", r"\:")))
    if op.get_bind().dialect.name != "postgresql":
        op.execute("PRAGMA user_version = 5")

"""Re-checks: the tables of scans and their results, and the views ``scans`` and ``scan_findings``."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("scan_headers", "scan_checks", "scan_parts", "scan_results")
_COUNTS = ", ".join(
    f"count(*) FILTER (WHERE {column} = '{word}') AS {word}"
    for column, words in (
        ("status", ("done", "failed", "unanswered", "unchecked")),
        ("verdict", ("pass", "unmeasured", "flag", "block")),
    )
    for word in words
)
_OF_CHECK = ("check_kind", "name", "level", "action", "pack", "rule_id", "rule_hash", "shadow")
_OF_FINDING = ("status", "cause", "suppressed_by", "evidence")


def _scans(number: str, checks: str) -> str:
    return f"""
CREATE VIEW scans AS
SELECT
  h.scan_id,
  h.begun_at,
  {number.format(name="tree_size")} AS tree_size,
  {number.format(name="parts")} AS parts,
  (SELECT count(*) FROM scan_parts AS p WHERE p.scan_id = h.scan_id) AS parts_done,
  {checks} AS checks,
  coalesce(r.subcalls, 0) AS subcalls,
  coalesce(r.done, 0) AS done,
  coalesce(r.failed, 0) AS failed,
  coalesce(r.unanswered, 0) AS unanswered,
  coalesce(r.unchecked, 0) AS unchecked,
  coalesce(r.pass, 0) AS pass,
  coalesce(r.unmeasured, 0) AS unmeasured,
  coalesce(r.flag, 0) AS flag,
  coalesce(r.block, 0) AS block,
  h.header
FROM scan_headers AS h
LEFT JOIN (SELECT scan_id, count(*) AS subcalls, {_COUNTS} FROM scan_results GROUP BY scan_id) AS r
  ON r.scan_id = h.scan_id
"""


_ON_SQLITE = (
    _scans("json_extract(h.header, '$.{name}')", "json_array_length(h.header, '$.checks')"),
    f"""
CREATE VIEW scan_findings AS
SELECT
  r.scan_id,
  r.run_id,
  r.span_id,
  c.n AS finding,
  {", ".join(f"c.{name}" for name in _OF_CHECK)},
  {", ".join(f"json_extract(f.value, '$.{name}') AS {name}" for name in _OF_FINDING)},
  r.leaf_index
FROM scan_results AS r
JOIN json_each(r.findings) AS f
JOIN scan_checks AS c ON c.scan_id = r.scan_id AND c.n = json_extract(f.value, '$.n')
""",
)

_ON_POSTGRES = (
    _scans("(h.header::json ->> '{name}')::bigint", "json_array_length(h.header::json -> 'checks')"),
    f"""
CREATE VIEW scan_findings AS
SELECT
  r.scan_id,
  r.run_id,
  r.span_id,
  c.n AS finding,
  {", ".join(f"c.{name}" for name in _OF_CHECK)},
  {", ".join(f"f.value ->> '{name}' AS {name}" for name in _OF_FINDING)},
  r.leaf_index
FROM scan_results AS r
CROSS JOIN LATERAL json_array_elements(r.findings::json) AS f (value)
JOIN scan_checks AS c ON c.scan_id = r.scan_id AND c.n = (f.value ->> 'n')::integer
""",
)


def upgrade() -> None:
    """Take the schema to version 0008."""
    on_server = op.get_bind().dialect.name == "postgresql"
    key = sa.Text(collation="C") if on_server else sa.Text()
    op.create_table(
        "scan_headers",
        sa.Column("scan_id", key, nullable=False),
        sa.Column("begun_at", sa.Text(), nullable=False),
        sa.Column("header", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scan_id"),
    )
    op.create_table(
        "scan_checks",
        sa.Column("scan_id", key, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _OF_CHECK if name != "shadow"),
        sa.Column("shadow", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scan_id", "n"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scan_parts",
        sa.Column("scan_id", key, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scan_id", "part"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scan_results",
        sa.Column("scan_id", key, nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("run_id", key, nullable=False),
        sa.Column("span_id", key, nullable=False),
        sa.Column("event_hash", key, nullable=False),
        sa.Column("status", key, nullable=False),
        sa.Column("verdict", key, nullable=True),
        sa.Column("action", key, nullable=True),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scan_id", "leaf_index"),
        sqlite_with_rowid=False,
    )
    for statement in _ON_POSTGRES if on_server else _ON_SQLITE:
        op.execute(sa.text(statement.replace(":", r"\:")))
    for table in _TABLES:
        for statement in _kept_on_server(table) if on_server else _kept_in_file(table):
            op.execute(sa.text(statement))
    if not on_server:
        op.execute("PRAGMA user_version = 8")


def _kept_in_file(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER {table}_keep_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ]


def _kept_on_server(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER {table}_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION monitor_append_only()"
    ]

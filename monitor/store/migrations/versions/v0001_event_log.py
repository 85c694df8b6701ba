"""The event log: events, texts, message nodes, the triggers that keep them append-only, and views for people."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from monitor.store.migrations import postgres

revision = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_RUN_KINDS = "kind IN ('run_started', 'run_resumed', 'run_ended')"

_TRIGGERS = (
    *(
        f"CREATE TRIGGER {table}_keep_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in ("events", "message_nodes")
        for verb in ("UPDATE", "DELETE")
    ),
    "CREATE TRIGGER texts_keep_delete BEFORE DELETE ON texts BEGIN SELECT RAISE(ABORT, 'texts is append-only'); END",
    """
    CREATE TRIGGER texts_keep_update BEFORE UPDATE ON texts
    WHEN NEW.commitment IS NOT OLD.commitment OR NEW.sha256 NOT NULL OR NEW.salt NOT NULL OR NEW.body NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a text can only be erased whole: sha256, salt and body set to NULL'); END
    """,
)

_LEAVES = "CREATE VIEW leaves AS SELECT leaf_index, run_id, span_id, seq, leaf_hash FROM events"

_SUBCALLS = """
CREATE VIEW subcalls AS
SELECT
  s.run_id,
  s.span_id,
  json_extract(s.canonical, '$.body.parent_id') AS parent_id,
  json_extract(s.canonical, '$.body.retry_of') AS retry_of,
  json_extract(s.canonical, '$.body.attempt') AS attempt,
  json_extract(s.canonical, '$.body.key') AS key,
  json_extract(s.canonical, '$.body.kind') AS kind,
  json_extract(s.canonical, '$.body.role') AS role,
  json_extract(s.canonical, '$.body.model') AS model,
  json_extract(s.canonical, '$.body.depth') AS depth,
  CASE WHEN j.leaf_index NOT NULL THEN json_extract(j.canonical, '$.body.outcome')
       WHEN o.leaf_index NOT NULL THEN 'observed' ELSE 'started' END AS state,
  json_extract(j.canonical, '$.body.verdict.value') AS verdict,
  json_extract(j.canonical, '$.body.action') AS action,
  json_extract(o.canonical, '$.body.usage.input_tokens') AS input_tokens,
  json_extract(o.canonical, '$.body.usage.cached_tokens') AS cached_tokens,
  json_extract(o.canonical, '$.body.usage.output_tokens') AS output_tokens,
  json_extract(o.canonical, '$.body.usage.cost') AS cost,
  json_extract(o.canonical, '$.body.seconds') AS seconds,
  json_extract(s.canonical, '$.body.messages.n') AS messages,
  task.body AS task,
  json_extract(o.canonical, '$.body.reasoning.state') AS reasoning_state,
  reasoning.body AS reasoning,
  output.body AS output,
  json_extract(o.canonical, '$.body.error.kind') AS error_kind,
  error.body AS error,
  s.at AS started_at,
  o.at AS observed_at,
  j.at AS judged_at,
  s.leaf_index
FROM events AS s
LEFT JOIN events AS o ON o.run_id = s.run_id AND o.span_id = s.span_id AND o.seq = 1
LEFT JOIN events AS j ON j.run_id = s.run_id AND j.span_id = s.span_id AND j.seq = 2
LEFT JOIN texts AS task ON task.commitment = json_extract(s.canonical, '$.body.task."$text"')
LEFT JOIN texts AS reasoning ON reasoning.commitment = json_extract(o.canonical, '$.body.reasoning.text."$text"')
LEFT JOIN texts AS output ON output.commitment = json_extract(o.canonical, '$.body.output."$text"')
LEFT JOIN texts AS error ON error.commitment = json_extract(o.canonical, '$.body.error.message."$text"')
WHERE s.kind = 'started'
"""

_RUNS = """
CREATE VIEW runs AS
WITH last AS (
  SELECT run_id, max(leaf_index) AS leaf_index, sum(kind = 'run_resumed') AS resumes
  FROM events WHERE kind IN ('run_started', 'run_resumed', 'run_ended') GROUP BY run_id
)
SELECT
  s.run_id,
  s.span_id,
  json_extract(s.canonical, '$.body.recipe') AS recipe,
  json_extract(s.canonical, '$.body.model') AS model,
  CASE WHEN e.kind = 'run_ended' THEN json_extract(e.canonical, '$.body.outcome') ELSE 'started' END AS state,
  json_extract(e.canonical, '$.body.verdict.value') AS verdict,
  (SELECT count(*) FROM events AS c WHERE c.run_id = s.run_id AND c.kind = 'started') AS subcalls,
  last.resumes,
  json_extract(e.canonical, '$.body.usage.calls') AS calls,
  json_extract(e.canonical, '$.body.usage.input_tokens') AS input_tokens,
  json_extract(e.canonical, '$.body.usage.output_tokens') AS output_tokens,
  json_extract(e.canonical, '$.body.usage.cost') AS cost,
  json_extract(e.canonical, '$.body.seconds') AS seconds,
  task.body AS task,
  answer.body AS answer,
  s.at AS started_at,
  CASE WHEN e.kind = 'run_ended' THEN e.at END AS ended_at,
  s.leaf_index
FROM events AS s
JOIN last ON last.run_id = s.run_id
JOIN events AS e ON e.leaf_index = last.leaf_index
LEFT JOIN texts AS task ON task.commitment = json_extract(s.canonical, '$.body.task."$text"')
LEFT JOIN texts AS answer ON answer.commitment = json_extract(e.canonical, '$.body.answer."$text"')
WHERE s.kind = 'run_started' AND s.kind IN ('run_started', 'run_resumed', 'run_ended')
"""

_FINDINGS = """
CREATE VIEW findings AS
SELECT
  j.run_id,
  j.span_id,
  f.key AS finding,
  json_extract(f.value, '$.check') AS check_kind,
  json_extract(f.value, '$.name') AS name,
  json_extract(f.value, '$.status') AS status,
  json_extract(f.value, '$.level') AS level,
  json_extract(f.value, '$.action') AS action,
  json_extract(f.value, '$.pack') AS pack,
  json_extract(f.value, '$.rule_id') AS rule_id,
  json_extract(f.value, '$.rule_hash') AS rule_hash,
  json_extract(f.value, '$.title') AS title,
  json_extract(f.value, '$.cause') AS cause,
  json_extract(f.value, '$.evidence') AS evidence,
  j.at,
  j.leaf_index
FROM events AS j, json_each(j.canonical, '$.body.findings') AS f
WHERE j.kind = 'judged'
"""


def upgrade() -> None:
    """Take the schema to version 0001."""
    if op.get_bind().dialect.name == "postgresql":
        for statement in postgres.EVENT_LOG:
            op.execute(sa.text(statement.replace(":", r"\:")))
        return
    op.create_table(
        "events",
        sa.Column("leaf_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("span_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("leaf_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("leaf_index"),
        sa.UniqueConstraint("run_id", "span_id", "seq"),
    )
    op.create_index("events_of_runs", "events", ["run_id", "leaf_index"], sqlite_where=sa.text(_RUN_KINDS))
    op.create_table(
        "texts",
        sa.Column("commitment", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("commitment"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_table(
        "message_nodes",
        sa.Column("node_hash", sa.Text(), nullable=False),
        sa.Column("parent_hash", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node_hash"),
        sa.ForeignKeyConstraint(["parent_hash"], ["message_nodes.node_hash"]),
        sqlite_with_rowid=False,
    )
    for statement in (*_TRIGGERS, _LEAVES, _SUBCALLS, _RUNS, _FINDINGS):
        op.execute(sa.text(statement.replace(":", r"\:")))
    op.execute("PRAGMA user_version = 1")

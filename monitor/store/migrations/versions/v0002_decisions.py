"""People: runs that are suspended, subcalls that wait or are queued, and the views ``decisions`` and ``review_queue``."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from monitor.store.migrations import postgres

revision = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_RUN_KINDS = "kind IN ('run_started', 'run_resumed', 'run_queued', 'run_suspended', 'run_ended')"

SUBCALLS = """
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
  CASE WHEN o.leaf_index IS NULL THEN 'started'
       WHEN j.leaf_index IS NULL THEN 'observed'
       WHEN json_extract(j.canonical, '$.body.action') <> 'ask_human'
         OR json_extract(j.canonical, '$.body.outcome') <> 'blocked' THEN json_extract(j.canonical, '$.body.outcome')
       ELSE CASE json_extract(d.canonical, '$.body.choice')
         WHEN 'approve' THEN json_extract(o.canonical, '$.body.outcome')
         WHEN 'modify' THEN 'ok'
         WHEN 'reject' THEN 'rejected'
         WHEN 'terminate' THEN 'rejected'
         ELSE 'awaiting_human' END
       END AS state,
  json_extract(j.canonical, '$.body.verdict.value') AS verdict,
  json_extract(j.canonical, '$.body.action') AS action,
  json_extract(d.canonical, '$.body.choice') AS decision,
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
  d.at AS decided_at,
  s.leaf_index
FROM events AS s
LEFT JOIN events AS o ON o.run_id = s.run_id AND o.span_id = s.span_id AND o.seq = 1
LEFT JOIN events AS j ON j.run_id = s.run_id AND j.span_id = s.span_id AND j.seq = 2
LEFT JOIN events AS d ON d.run_id = s.run_id AND d.span_id = s.span_id AND d.kind = 'decided' AND d.seq = (
  SELECT max(seq) FROM events AS x WHERE x.run_id = s.run_id AND x.span_id = s.span_id
)
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
  FROM events WHERE kind IN ('run_started', 'run_resumed', 'run_queued', 'run_suspended', 'run_ended') GROUP BY run_id
)
SELECT
  s.run_id,
  s.span_id,
  json_extract(s.canonical, '$.body.recipe') AS recipe,
  json_extract(s.canonical, '$.body.model') AS model,
  CASE e.kind WHEN 'run_ended' THEN json_extract(e.canonical, '$.body.outcome')
       WHEN 'run_suspended' THEN 'awaiting_human' ELSE 'started' END AS state,
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
WHERE s.kind = 'run_started' AND s.kind IN ('run_started', 'run_resumed', 'run_queued', 'run_suspended', 'run_ended')
"""

_DECISIONS = """
CREATE VIEW decisions AS
SELECT
  d.run_id,
  d.span_id,
  d.seq,
  json_extract(d.canonical, '$.body.choice') AS choice,
  why.body AS why,
  decider.body AS decided_by,
  output.body AS output,
  json_extract(d.canonical, '$.body.via') AS via,
  (julianday(d.at) - julianday(j.at)) * 86400.0 AS waited_seconds,
  j.at AS asked_at,
  d.at AS decided_at,
  d.leaf_index
FROM events AS d
JOIN events AS j ON j.run_id = d.run_id AND j.span_id = d.span_id AND j.seq = 2
LEFT JOIN texts AS why ON why.commitment = json_extract(d.canonical, '$.body.why."$text"')
LEFT JOIN texts AS decider ON decider.commitment = json_extract(d.canonical, '$.body.by."$text"')
LEFT JOIN texts AS output ON output.commitment = json_extract(d.canonical, '$.body.output."$text"')
WHERE d.kind = 'decided'
"""

_REVIEW_QUEUE = """
CREATE VIEW review_queue AS
SELECT
  q.run_id,
  json_extract(q.canonical, '$.body.span') AS span_id,
  json_extract(q.canonical, '$.body.score') AS score,
  why.body AS why,
  q.at AS queued_at,
  q.leaf_index
FROM events AS q
LEFT JOIN texts AS why ON why.commitment = json_extract(q.canonical, '$.body.why."$text"')
WHERE q.kind = 'run_queued'
"""


def upgrade() -> None:
    """Take the schema to version 0002."""
    if op.get_bind().dialect.name == "postgresql":
        for statement in postgres.DECISIONS:
            op.execute(sa.text(statement.replace(":", r"\:")))
        return
    op.drop_index("events_of_runs", "events")
    op.create_index("events_of_runs", "events", ["run_id", "leaf_index"], sqlite_where=sa.text(_RUN_KINDS))
    for view in ("subcalls", "runs"):
        op.execute(sa.text(f"DROP VIEW {view}"))
    for statement in (SUBCALLS, _RUNS, _DECISIONS, _REVIEW_QUEUE):
        op.execute(sa.text(statement.replace(":", r"\:")))
    op.execute("PRAGMA user_version = 2")

"""Reviews: their index and the view ``reviews``; ``findings`` has the columns ``shadow`` and ``suppressed_by``."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from monitor.store.migrations import postgres_reviews

revision = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_REVIEW_KINDS = "kind = 'reviewed'"

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
  j.leaf_index,
  coalesce(json_extract(f.value, '$.shadow'), 0) AS shadow,
  coalesce(json_extract(f.value, '$.suppressed_by'), '') AS suppressed_by
FROM events AS j, json_each(j.canonical, '$.body.findings') AS f
WHERE j.kind = 'judged'
"""

_TOLD = """
  SELECT
    v.run_id,
    json_extract(v.canonical, '$.body.span') AS span_id,
    v.span_id AS review_id,
    json_extract(v.canonical, '$.body.check') AS check_kind,
    json_extract(v.canonical, '$.body.name') AS name,
    json_extract(v.canonical, '$.body.status') AS status,
    json_extract(v.canonical, '$.body.label') AS label,
    why.body AS why,
    person.body AS reviewed_by,
    json_extract(v.canonical, '$.body.via') AS via,
    json_extract(v.canonical, '$.body.recorded') AS recorded,
    json_extract(v.canonical, '$.body.pack') AS pack,
    json_extract(v.canonical, '$.body.rule_id') AS rule_id,
    json_extract(v.canonical, '$.body.rule_hash') AS rule_hash,
    json_extract(s.canonical, '$.body.role') AS role,
    json_extract(r.canonical, '$.body.recipe') AS recipe,
    v.at AS reviewed_at,
    v.leaf_index,
    coalesce(person.body, json_extract(v.canonical, '$.body.by."$text"')) AS who
  FROM events AS v
  LEFT JOIN events AS s
    ON s.run_id = v.run_id AND s.span_id = json_extract(v.canonical, '$.body.span') AND s.seq = 0
  LEFT JOIN events AS r ON r.run_id = v.run_id AND r.kind = 'run_started'
    AND r.kind IN ('run_started', 'run_resumed', 'run_queued', 'run_suspended', 'run_ended')
  LEFT JOIN texts AS why ON why.commitment = json_extract(v.canonical, '$.body.why."$text"')
  LEFT JOIN texts AS person ON person.commitment = json_extract(v.canonical, '$.body.by."$text"')
  WHERE v.kind = 'reviewed'
"""

_REVIEWS = f"""
CREATE VIEW reviews AS
WITH told AS (
{_TOLD}), ranked AS (
  SELECT told.*, row_number() OVER (
    PARTITION BY run_id, span_id, check_kind, name, rule_id, rule_hash, who ORDER BY leaf_index DESC
  ) = 1 AS is_current
  FROM told
)
SELECT
  run_id,
  span_id,
  review_id,
  check_kind,
  name,
  status,
  label,
  why,
  reviewed_by,
  via,
  recorded,
  is_current,
  count(*) FILTER (WHERE is_current = 1) OVER finding AS reviewers,
  CASE WHEN count(*) FILTER (WHERE is_current = 1 AND label = 'true') OVER finding = 0
         THEN CASE WHEN count(*) FILTER (WHERE is_current = 1 AND label = 'false') OVER finding = 0
                     THEN 'unsure' ELSE 'false' END
       WHEN count(*) FILTER (WHERE is_current = 1 AND label = 'false') OVER finding = 0 THEN 'true'
       ELSE 'disputed' END AS consensus,
  pack,
  rule_id,
  rule_hash,
  role,
  recipe,
  reviewed_at,
  leaf_index
FROM ranked
WINDOW finding AS (PARTITION BY run_id, span_id, check_kind, name, rule_id, rule_hash)
"""


def upgrade() -> None:
    """Take the schema to version 0003."""
    if op.get_bind().dialect.name == "postgresql":
        for statement in postgres_reviews.REVIEWS:
            op.execute(sa.text(statement.replace(":", r"\:")))
        return
    op.create_index("events_of_reviews", "events", ["run_id", "leaf_index"], sqlite_where=sa.text(_REVIEW_KINDS))
    op.execute(sa.text("DROP VIEW findings"))
    for statement in (_FINDINGS, _REVIEWS):
        op.execute(sa.text(statement.replace(":", r"\:")))
    op.execute("PRAGMA user_version = 3")

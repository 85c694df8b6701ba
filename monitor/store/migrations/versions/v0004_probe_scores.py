"""The view ``probe_scores``: what activation probes said of subcalls, as judgements have it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TEXTS = ("mode", "surface")
_NUMBERS = ("threshold", "rate", "rate_low", "rate_high")


def _sqlite(name: str) -> str:
    """A number, in whichever form canonical JSON has it."""
    value = f"json_extract(p.value, '$.{name}')"
    escaped = f"""CAST(json_extract(p.value, '$.{name}."$float"') AS REAL)"""
    return f"CASE json_type(p.value, '$.{name}') WHEN 'object' THEN {escaped} ELSE {value} END"


_ON_SQLITE = f"""
CREATE VIEW probe_scores AS
SELECT
  j.run_id,
  j.span_id,
  json_extract(p.value, '$.probe') AS probe,
  {_sqlite("score")} AS score,
  {_sqlite("fpr")} AS fpr,
  {", ".join(f"json_extract(p.value, '$.{name}') AS {name}" for name in _TEXTS)},
  {", ".join(f"{_sqlite(name)} AS {name}" for name in _NUMBERS)},
  json_extract(p.value, '$.applies') AS applies,
  json_extract(p.value, '$.unread') AS unread,
  json_extract(p.value, '$.evidence') AS evidence,
  json_extract(p.value, '$.artefact') AS artefact,
  json_extract(p.value, '$.cause') AS cause,
  j.at,
  j.leaf_index
FROM events AS j, json_each(j.canonical, '$.body.probes') AS p
WHERE j.kind = 'judged'
"""

_ON_POSTGRES = f"""
CREATE VIEW probe_scores AS
SELECT
  j.run_id,
  j.span_id,
  p.value ->> 'probe' AS probe,
  monitor_real((p.value -> 'score')::jsonb) AS score,
  monitor_real((p.value -> 'fpr')::jsonb) AS fpr,
  {", ".join(f"p.value ->> '{name}' AS {name}" for name in _TEXTS)},
  {", ".join(f"monitor_real((p.value -> '{name}')::jsonb) AS {name}" for name in _NUMBERS)},
  (p.value ->> 'applies')::boolean::integer AS applies,
  monitor_integer((p.value -> 'unread')::jsonb) AS unread,
  p.value ->> 'evidence' AS evidence,
  p.value ->> 'artefact' AS artefact,
  p.value ->> 'cause' AS cause,
  j.at,
  jl.leaf_index
FROM events AS j
LEFT JOIN leaves AS jl ON jl.run_id = j.run_id AND jl.span_id = j.span_id AND jl.seq = j.seq
CROSS JOIN LATERAL json_array_elements(j.canonical::json #> '{{body,probes}}') AS p (value)
WHERE j.kind = 'judged'
"""


def upgrade() -> None:
    """Take the schema to version 0004."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.text(_ON_POSTGRES.replace(":", r"\:")))
        return
    op.execute(sa.text(_ON_SQLITE.replace(":", r"\:")))
    op.execute("PRAGMA user_version = 4")

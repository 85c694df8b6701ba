"""Signed checkpoints; redactions: their view, and ``[redacted]`` in the place of an erased text in every view."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_SHOWN = """
CREATE VIEW shown_texts AS
SELECT commitment, CASE WHEN body IS NULL THEN '[redacted]' ELSE body END AS body FROM texts
"""

_ON_SQLITE = (
    """
    CREATE TABLE checkpoints (
      number INTEGER NOT NULL PRIMARY KEY,
      tree_size INTEGER NOT NULL,
      root TEXT NOT NULL,
      origin TEXT NOT NULL,
      note TEXT NOT NULL,
      peaks BLOB NOT NULL,
      at TEXT NOT NULL
    )
    """,
    *(
        f"CREATE TRIGGER checkpoints_keep_{verb.lower()} BEFORE {verb} ON checkpoints "
        "BEGIN SELECT RAISE(ABORT, 'checkpoints is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ),
    """
    CREATE VIEW redactions AS
    SELECT
      e.run_id,
      e.span_id AS redaction_id,
      json_extract(e.canonical, '$.body.whole') AS whole,
      json_extract(e.canonical, '$.body.places') AS places,
      json_array_length(e.canonical, '$.body.texts') AS texts,
      why.body AS why,
      person.body AS redacted_by,
      e.at AS redacted_at,
      e.leaf_index
    FROM events AS e
    LEFT JOIN texts AS why ON why.commitment = json_extract(e.canonical, '$.body.why."$text"')
    LEFT JOIN texts AS person ON person.commitment = json_extract(e.canonical, '$.body.by."$text"')
    WHERE e.kind = 'redacted'
    """,
)

_ON_POSTGRES = (
    """
    CREATE TABLE checkpoints (
      number bigint PRIMARY KEY,
      tree_size bigint NOT NULL,
      root text COLLATE "C" NOT NULL,
      origin text COLLATE "C" NOT NULL,
      note text NOT NULL,
      peaks bytea NOT NULL,
      at text NOT NULL
    )
    """,
    "CREATE TRIGGER checkpoints_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints "
    "FOR EACH STATEMENT EXECUTE FUNCTION monitor_append_only()",
    """
    CREATE VIEW redactions AS
    SELECT
      e.run_id,
      e.span_id AS redaction_id,
      (b.body ->> 'whole')::boolean::integer AS whole,
      b.body ->> 'places' AS places,
      json_array_length((b.body -> 'texts')::json) AS texts,
      why.body AS why,
      person.body AS redacted_by,
      e.at AS redacted_at,
      l.leaf_index
    FROM events AS e
    LEFT JOIN LATERAL (SELECT e.canonical::jsonb -> 'body' AS body OFFSET 0) AS b ON true
    LEFT JOIN leaves AS l ON l.run_id = e.run_id AND l.span_id = e.span_id AND l.seq = e.seq
    LEFT JOIN texts AS why ON why.commitment = b.body #>> '{why,$text}'
    LEFT JOIN texts AS person ON person.commitment = b.body #>> '{by,$text}'
    WHERE e.kind = 'redacted'
    """,
)

_VIEWS_OF_POSTGRES = """
SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'v' AND c.relname <> 'shown_texts'
ORDER BY c.oid
"""


def _showing(definition: str) -> str:
    """The view with erased texts as ``[redacted]``. People whose names were erased are told apart all the same."""
    shown = definition.replace(" JOIN texts ", " JOIN shown_texts ")
    for word in ("coalesce", "COALESCE"):
        shown = shown.replace(f"{word}(person.body,", f"{word}(nullif(person.body, '[redacted]'),")
    return shown


def _quoted(statement: str) -> sa.TextClause:
    return sa.text(statement.replace(":", r"\:"))


def upgrade() -> None:
    """Take the schema to version 0007."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in (*_ON_POSTGRES, _SHOWN):
            op.execute(_quoted(statement))
        for name, definition in connection.execute(sa.text(_VIEWS_OF_POSTGRES)).all():
            if " JOIN texts " in definition:
                op.execute(_quoted(f"CREATE OR REPLACE VIEW {name} AS {_showing(definition)}"))
        return
    for statement in (*_ON_SQLITE, _SHOWN):
        op.execute(_quoted(statement))
    views = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY rowid")).all()
    for name, definition in views:
        if " JOIN texts " in definition:
            op.execute(_quoted(f"DROP VIEW {name}"))
            op.execute(_quoted(_showing(definition)))
    op.execute("PRAGMA user_version = 7")

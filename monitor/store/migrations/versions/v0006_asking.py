"""Views for auditors (``messages``, ``tool_calls``, ``verdicts``, ``budgets``, ``run_rules``), and the index of the search.

``subcalls``, ``findings``, ``probe_scores`` and ``decisions`` get further columns behind those that they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

from monitor.store.migrations import postgres, postgres_reviews
from monitor.store.migrations.dialects import Postgres, Sqlite, step
from monitor.store.migrations.versions import v0002_decisions, v0003_reviews, v0004_probe_scores, v0005_released

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.store.migrations.dialects import Dialect

revision = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_LIMITS = ("calls", "depth", "input_tokens", "cached_tokens", "output_tokens", "cost", "seconds", "tool_calls")
_NAMES = " UNION ALL ".join(f"SELECT '{name}'" + " AS limit_name" * (name == "calls") for name in _LIMITS)
_RUN_KINDS = "kind IN ('run_started', 'run_resumed', 'run_queued', 'run_suspended', 'run_ended')"


def _caller(d: Dialect) -> str:
    """Whose call it was: columns of the ``started`` event ``c``."""
    names = ("role", "trust", "kind", "recipe", "model")
    return ",\n  ".join(f"{d.text('c', name)} AS {'subcall_kind' if name == 'kind' else name}" for name in names)


def _extended(view: str, d: Dialect, of: str, columns: str = "", *, joins: str = "") -> str:
    """The view with more columns at its end: those of the caller of the event ``of``, or ``columns``."""
    create, _, rest = view.strip().partition("CREATE ")[2].partition("VIEW ")
    assert create in {"", "OR REPLACE "}, create
    head, found, tail = rest.partition("\nFROM events AS ")
    before, where, last = tail.rpartition("\nWHERE ")
    assert found
    assert where
    start = "CREATE OR REPLACE VIEW" if d.name == "postgresql" else "CREATE VIEW"
    joined = joins or f"\nLEFT JOIN events AS c ON {step('c', of, 0)}"
    return f"{start} {head},\n  {columns or _caller(d)}{found}{before}{joined}{where}{last}"


def _subcalls(old: str, d: Dialect) -> str:
    columns = [
        *(f"{d.text('s', name)} AS {name}" for name in ("trust", "recipe", "adapter", "scope")),
        *(f"{d.flag('s', name)} AS {name}" for name in ("checked", "requires_reasoning")),
        f"{d.flag('o', 'usage_reported')} AS usage_reported",
        f"{d.integer('o', 'usage.calls')} AS calls",
        f"{d.length('o', 'tool_calls')} AS tool_calls",
        f"{d.commitment('s', 'task')} AS task_id",
        f"{d.commitment('o', 'reasoning.text')} AS reasoning_id",
        f"{d.commitment('o', 'output')} AS output_id",
    ]
    return _extended(old, d, "s", ",\n  ".join(columns), joins="\n")


def _verdicts(d: Dialect) -> str:
    return f"""
CREATE VIEW verdicts AS
SELECT
  j.run_id,
  j.span_id,
  {_caller(d)},
  {d.text("j", "verdict.value")} AS verdict,
  {d.text("j", "action")} AS action,
  {d.text("j", "outcome")} AS outcome,
  {d.length("j", "verdict.catches")} AS catches,
  {d.length("j", "verdict.outages")} AS outages,
  {d.json("j", "verdict.catches")} AS caught_by,
  {d.json("j", "verdict.outages")} AS failed_checks,
  {d.integer("j", "verdict.applicable")} AS applicable,
  {d.integer("j", "verdict.unknown")} AS unknown,
  {d.integer("j", "verdict.not_applicable")} AS not_applicable,
  {d.text("j", "verdict.note")} AS note,
  j.at AS judged_at,
  {d.leaf("j")} AS leaf_index
FROM events AS j
LEFT JOIN events AS c ON {step("c", "j", 0)}
{d.join_leaf("j")}
WHERE j.kind = 'judged'
"""


def _budgets(d: Dialect) -> str:
    return f"""
CREATE VIEW budgets AS
SELECT
  s.run_id,
  s.span_id,
  'subcall' AS owner,
  {d.text("s", "role")} AS role,
  l.limit_name,
  {d.limit("s", "budget_left")} AS allowed,
  {d.limit("s", "reserved")} AS reserved,
  CASE l.limit_name WHEN 'seconds' THEN {d.real("o", "seconds")} ELSE {d.limit("o", "usage")} END AS used,
  {d.is_exceeded("o")} AS exceeded,
  {d.leaf("s")} AS leaf_index
FROM events AS s
CROSS JOIN ({_NAMES}) AS l
LEFT JOIN events AS o ON {step("o", "s", 1)}
{d.join_leaf("s")}
WHERE s.kind = 'started'
UNION ALL
SELECT
  s.run_id,
  s.span_id,
  'run' AS owner,
  NULL AS role,
  l.limit_name,
  {d.limit("b", "limits")} AS allowed,
  NULL AS reserved,
  CASE l.limit_name WHEN 'seconds' THEN {d.real("e", "seconds")} ELSE {d.limit("e", "usage")} END AS used,
  {d.is_exceeded("e")} AS exceeded,
  {d.leaf("s")} AS leaf_index
FROM events AS s
CROSS JOIN ({_NAMES}) AS l
JOIN events AS b ON b.run_id = s.run_id AND b.span_id = s.span_id AND b.seq = (
  SELECT max(x.seq) FROM events AS x
  WHERE x.run_id = s.run_id AND x.span_id = s.span_id AND x.kind IN ('run_started', 'run_resumed')
)
LEFT JOIN events AS e ON e.run_id = s.run_id AND e.span_id = s.span_id AND e.kind = 'run_ended' AND e.seq = (
  SELECT max(x.seq) FROM events AS x WHERE x.run_id = s.run_id AND x.span_id = s.span_id
)
{d.join_leaf("s")}
WHERE s.kind = 'run_started' AND s.{_RUN_KINDS}
"""


_ON_SQLITE = (
    """
CREATE VIEW messages AS
SELECT
  s.run_id,
  s.span_id,
  h.key AS place,
  json_extract(n.payload, '$.message.role') AS message_role,
  coalesce(content.body, CASE json_type(n.payload, '$.message.content') WHEN 'text' THEN '' END) AS content,
  json_extract(n.payload, '$.message.tool_call_id') AS tool_call_id,
  json_array_length(n.payload, '$.message.tool_calls') AS tool_calls,
  json_extract(s.canonical, '$.body.role') AS role,
  json_extract(s.canonical, '$.body.trust') AS trust,
  content.commitment AS content_id,
  n.node_hash,
  s.at AS started_at,
  s.leaf_index
FROM events AS s, json_each((
  WITH RECURSIVE chain (node_hash, parent_hash, back) AS (
    SELECT m.node_hash, m.parent_hash, 0 FROM message_nodes AS m
    WHERE m.node_hash = json_extract(s.canonical, '$.body.messages."$chain"')
    UNION ALL
    SELECT m.node_hash, m.parent_hash, chain.back + 1 FROM chain
    JOIN message_nodes AS m ON m.node_hash = chain.parent_hash
  )
  SELECT json_group_array(node_hash) FROM (SELECT node_hash FROM chain ORDER BY back DESC)
)) AS h
JOIN message_nodes AS n ON n.node_hash = h.value
LEFT JOIN texts AS content ON content.commitment = json_extract(n.payload, '$.message.content."$text"')
WHERE s.kind = 'started'
""",
    f"""
CREATE VIEW tool_calls AS
SELECT
  o.run_id,
  o.span_id,
  t.key AS place,
  json_extract(t.value, '$.id') AS call_id,
  coalesce(name.body, CASE json_type(t.value, '$.name') WHEN 'text' THEN '' END) AS name,
  coalesce(arguments.body, CASE json_type(t.value, '$.arguments') WHEN 'text' THEN '' END) AS arguments,
  json_extract(t.value, '$.refused') AS refused,
  {_caller(Sqlite())},
  o.at AS observed_at,
  o.leaf_index
FROM events AS o, json_each(o.canonical, '$.body.tool_calls') AS t
LEFT JOIN events AS c ON {step("c", "o", 0)}
LEFT JOIN texts AS name ON name.commitment = json_extract(t.value, '$.name."$text"')
LEFT JOIN texts AS arguments ON arguments.commitment = json_extract(t.value, '$.arguments."$text"')
WHERE o.kind = 'observed'
""",
    f"""
CREATE VIEW run_rules AS
SELECT
  r.run_id,
  r.seq,
  json_extract(f.value, '$.name') AS name,
  json_extract(f.value, '$.pack') AS pack,
  json_extract(f.value, '$.pack_version') AS pack_version,
  json_extract(f.value, '$.rule_id') AS rule_id,
  json_extract(f.value, '$.rule_hash') AS rule_hash,
  json_extract(f.value, '$.overridden_by') AS overridden_by,
  r.at,
  r.leaf_index
FROM events AS r, json_each(r.canonical, '$.body.rules') AS f
WHERE r.kind IN ('run_started', 'run_resumed') AND r.{_RUN_KINDS}
""",
)

_JOIN_LEAVES = Postgres().join_leaf
_ON_POSTGRES = (
    f"""
CREATE VIEW messages AS
SELECT
  s.run_id,
  s.span_id,
  h.place,
  n.payload::jsonb #>> '{{message,role}}' AS message_role,
  coalesce(content.body, CASE jsonb_typeof(n.payload::jsonb #> '{{message,content}}') WHEN 'string' THEN '' END)
    AS content,
  n.payload::jsonb #>> '{{message,tool_call_id}}' AS tool_call_id,
  jsonb_array_length(n.payload::jsonb #> '{{message,tool_calls}}') AS tool_calls,
  s.canonical::jsonb #>> '{{body,role}}' AS role,
  s.canonical::jsonb #>> '{{body,trust}}' AS trust,
  content.commitment AS content_id,
  n.node_hash,
  s.at AS started_at,
  s_leaf.leaf_index
FROM events AS s
{_JOIN_LEAVES("s")}
CROSS JOIN LATERAL (
  WITH RECURSIVE chain (node_hash, parent_hash, back) AS (
    SELECT m.node_hash, m.parent_hash, 0 FROM message_nodes AS m
    WHERE m.node_hash = s.canonical::jsonb #>> '{{body,messages,$chain}}'
    UNION ALL
    SELECT m.node_hash, m.parent_hash, chain.back + 1 FROM chain
    JOIN message_nodes AS m ON m.node_hash = chain.parent_hash
  )
  SELECT node_hash, max(back) OVER () - back AS place FROM chain
) AS h
JOIN message_nodes AS n ON n.node_hash = h.node_hash
LEFT JOIN texts AS content ON content.commitment = n.payload::jsonb #>> '{{message,content,$text}}'
WHERE s.kind = 'started'
""",
    f"""
CREATE VIEW tool_calls AS
SELECT
  o.run_id,
  o.span_id,
  t.place - 1 AS place,
  t.value ->> 'id' AS call_id,
  coalesce(name.body, CASE jsonb_typeof(t.value -> 'name') WHEN 'string' THEN '' END) AS name,
  coalesce(arguments.body, CASE jsonb_typeof(t.value -> 'arguments') WHEN 'string' THEN '' END) AS arguments,
  t.value ->> 'refused' AS refused,
  {_caller(Postgres())},
  o.at AS observed_at,
  o_leaf.leaf_index
FROM events AS o
{_JOIN_LEAVES("o")}
CROSS JOIN LATERAL jsonb_array_elements(o.canonical::jsonb #> '{{body,tool_calls}}')
  WITH ORDINALITY AS t (value, place)
LEFT JOIN events AS c ON {step("c", "o", 0)}
LEFT JOIN texts AS name ON name.commitment = t.value #>> '{{name,$text}}'
LEFT JOIN texts AS arguments ON arguments.commitment = t.value #>> '{{arguments,$text}}'
WHERE o.kind = 'observed'
""",
    f"""
CREATE VIEW run_rules AS
SELECT
  r.run_id,
  r.seq,
  f ->> 'name' AS name,
  f ->> 'pack' AS pack,
  f ->> 'pack_version' AS pack_version,
  f ->> 'rule_id' AS rule_id,
  f ->> 'rule_hash' AS rule_hash,
  f ->> 'overridden_by' AS overridden_by,
  r.at,
  r_leaf.leaf_index
FROM events AS r
{_JOIN_LEAVES("r")}
CROSS JOIN LATERAL jsonb_array_elements(r.canonical::jsonb #> '{{body,rules}}') AS f
WHERE r.kind IN ('run_started', 'run_resumed') AND r.{_RUN_KINDS}
""",
)

_SEARCH = {
    "sqlite": (
        "CREATE TABLE search_texts (id INTEGER PRIMARY KEY, commitment TEXT NOT NULL UNIQUE)",
        """
        CREATE TABLE search_places (
          id INTEGER NOT NULL, run_id TEXT NOT NULL, span_id TEXT NOT NULL, surface TEXT NOT NULL,
          PRIMARY KEY (id, run_id, span_id, surface)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE search_nodes (run_id TEXT NOT NULL, node_hash TEXT NOT NULL, PRIMARY KEY (run_id, node_hash))
        WITHOUT ROWID
        """,
        "CREATE TABLE search_state (next_leaf INTEGER NOT NULL)",
        "CREATE VIRTUAL TABLE search_words USING fts5(words, content='', tokenize='ascii')",
    ),
    "postgresql": (
        """
        CREATE TABLE search_texts (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, commitment text COLLATE "C" NOT NULL UNIQUE
        )
        """,
        """
        CREATE TABLE search_places (
          id bigint NOT NULL, run_id text COLLATE "C" NOT NULL, span_id text COLLATE "C" NOT NULL,
          surface text COLLATE "C" NOT NULL, PRIMARY KEY (id, run_id, span_id, surface)
        )
        """,
        """
        CREATE TABLE search_nodes (
          run_id text COLLATE "C" NOT NULL, node_hash text COLLATE "C" NOT NULL, PRIMARY KEY (run_id, node_hash)
        )
        """,
        "CREATE TABLE search_state (next_leaf bigint NOT NULL)",
        "CREATE TABLE search_words (id bigint, part integer, words tsvector NOT NULL, PRIMARY KEY (id, part))",
        "CREATE INDEX search_words_words ON search_words USING gin (words)",
    ),
}
"""The index of the search. It is made of the record, can be made anew at any time, and is no part of any proof."""


def upgrade() -> None:
    """Take the schema to version 0006."""
    is_server = op.get_bind().dialect.name == "postgresql"
    d: Dialect = Postgres() if is_server else Sqlite()
    if is_server:
        old = (v0005_released.SUBCALLS_ON_POSTGRES, postgres_reviews._FINDINGS, v0004_probe_scores._ON_POSTGRES)
        decisions = postgres._VIEW_OF_DECISIONS
    else:
        old = (v0005_released.SUBCALLS_ON_SQLITE, v0003_reviews._FINDINGS, v0004_probe_scores._ON_SQLITE)
        decisions = v0002_decisions._DECISIONS
        for view in ("subcalls", "findings", "probe_scores", "decisions"):
            _run(f"DROP VIEW {view}")
    subcalls, findings, scores = old
    for statement in (
        _subcalls(subcalls, d),
        _extended(findings, d, "j"),
        _extended(scores, d, "j"),
        _extended(decisions, d, "d"),
        _verdicts(d),
        _budgets(d),
        *(_ON_POSTGRES if is_server else _ON_SQLITE),
    ):
        _run(statement)
    for statement in (*_SEARCH[d.name], "INSERT INTO search_state VALUES (0)"):
        _run(statement)
    order = "position" if is_server else "leaf_index"
    _run(f"CREATE INDEX events_of_decisions ON events (run_id, {order}) WHERE kind = 'decided'")
    if not is_server:
        _run("PRAGMA user_version = 6")


def _run(statement: str) -> None:
    op.execute(sa.text(statement.replace(":", r"\:")))

"""What the migrations do on PostgreSQL, as statements: the same tables, triggers and views, in its own words.

Views read the canonical text as ``jsonb`` once for each row (``OFFSET 0`` keeps the planner from reading it again for every
column); evidence is read as ``json``, which keeps the text as it is. ``monitor_integer`` and ``monitor_real`` know the
forms of numbers that JSON cannot hold.
"""

_FIRST_KINDS = "kind IN ('run_started', 'run_resumed', 'run_ended')"
_RUN_KINDS = "kind IN ('run_started', 'run_resumed', 'run_queued', 'run_suspended', 'run_ended')"
_APPEND_ONLY = ("events", "message_nodes", "leaves")
_LOCKS, _ERASURE_LOCK = 0x664D6F6E, 3  # see monitor.store.postgres.connection


def body(event: str, alias: str) -> str:
    """A lateral join that reads the body of the event's canonical text; without the event there is none."""
    return f"LEFT JOIN LATERAL (SELECT {event}.canonical::jsonb -> 'body' AS body OFFSET 0) AS {alias} ON true"


def leaf(event: str, alias: str) -> str:
    """A join with the event's leaf; one that has none yet has NULL."""
    key = " AND ".join(f"{alias}.{column} = {event}.{column}" for column in ("run_id", "span_id", "seq"))
    return f"LEFT JOIN leaves AS {alias} ON {key}"


_TABLES = (
    """
    CREATE TABLE events (
      position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      run_id text COLLATE "C" NOT NULL,
      span_id text COLLATE "C" NOT NULL,
      seq integer NOT NULL,
      kind text COLLATE "C" NOT NULL,
      at text NOT NULL,
      canonical text NOT NULL,
      leaf_hash text COLLATE "C" NOT NULL,
      UNIQUE (run_id, span_id, seq)
    )
    """,
    f"CREATE INDEX events_of_runs ON events (run_id, position) WHERE {_FIRST_KINDS}",
    "CREATE UNIQUE INDEX events_one_start ON events (run_id) WHERE kind = 'run_started'",
    """
    CREATE TABLE texts (
      commitment text COLLATE "C" PRIMARY KEY,
      sha256 text COLLATE "C" UNIQUE,
      salt bytea,
      body text
    )
    """,
    """
    CREATE TABLE message_nodes (
      node_hash text COLLATE "C" PRIMARY KEY,
      parent_hash text COLLATE "C" REFERENCES message_nodes (node_hash),
      payload text NOT NULL
    )
    """,
    """
    CREATE TABLE leaves (
      leaf_index bigint PRIMARY KEY,
      run_id text COLLATE "C" NOT NULL,
      span_id text COLLATE "C" NOT NULL,
      seq integer NOT NULL,
      leaf_hash text COLLATE "C" NOT NULL,
      UNIQUE (run_id, span_id, seq)
    )
    """,
    "CREATE TABLE pending_leaves (position bigint PRIMARY KEY)",
)

_FUNCTIONS = (
    """
    CREATE FUNCTION monitor_integer(value jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
      SELECT CASE jsonb_typeof(value) WHEN 'number' THEN (value #>> '{}')::numeric
                                      WHEN 'object' THEN (value ->> '$int')::numeric END
    $$
    """,
    """
    CREATE FUNCTION monitor_real(value jsonb) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
      SELECT CASE jsonb_typeof(value) WHEN 'number' THEN (value #>> '{}')::double precision
                                      WHEN 'object' THEN (value ->> '$float')::double precision END
    $$
    """,
    """
    CREATE FUNCTION monitor_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$
    """,
    f"""
    CREATE FUNCTION monitor_erase_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.commitment IS DISTINCT FROM OLD.commitment OR NEW.sha256 IS NOT NULL OR NEW.salt IS NOT NULL
         OR NEW.body IS NOT NULL THEN
        RAISE EXCEPTION 'a text can only be erased whole: sha256, salt and body set to NULL'
          USING ERRCODE = 'restrict_violation';
      END IF;
      -- No writer may commit to a text that is being erased: each holds this lock, shared, in its transaction.
      PERFORM pg_advisory_xact_lock({_LOCKS}, {_ERASURE_LOCK});
      RETURN NEW;
    END $$
    """,
    """
    CREATE FUNCTION monitor_note_pending() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO pending_leaves (position) VALUES (NEW.position);
      RETURN NULL;
    END $$
    """,
)

_TRIGGERS = (
    *(
        f"CREATE TRIGGER {table}_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION monitor_append_only()"
        for table in _APPEND_ONLY
    ),
    "CREATE TRIGGER texts_keep BEFORE DELETE OR TRUNCATE ON texts "
    "FOR EACH STATEMENT EXECUTE FUNCTION monitor_append_only()",
    "CREATE TRIGGER texts_erase BEFORE UPDATE ON texts FOR EACH ROW EXECUTE FUNCTION monitor_erase_only()",
    "CREATE TRIGGER events_pending AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION monitor_note_pending()",
)

_FINDINGS = f"""
CREATE VIEW findings AS
SELECT
  j.run_id,
  j.span_id,
  f.place - 1 AS finding,
  f.value ->> 'check' AS check_kind,
  f.value ->> 'name' AS name,
  f.value ->> 'status' AS status,
  f.value ->> 'level' AS level,
  f.value ->> 'action' AS action,
  f.value ->> 'pack' AS pack,
  f.value ->> 'rule_id' AS rule_id,
  f.value ->> 'rule_hash' AS rule_hash,
  f.value ->> 'title' AS title,
  f.value ->> 'cause' AS cause,
  f.value ->> 'evidence' AS evidence,
  j.at,
  jl.leaf_index
FROM events AS j
{leaf("j", "jl")}
CROSS JOIN LATERAL json_array_elements(j.canonical::json #> '{{body,findings}}') WITH ORDINALITY AS f (value, place)
WHERE j.kind = 'judged'
"""

EVENT_LOG = (*_TABLES, *_FUNCTIONS, *_TRIGGERS, _FINDINGS)
"""Version 0001. Its views of runs and subcalls came with version 0002 on PostgreSQL."""

SUBCALLS = f"""
CREATE VIEW subcalls AS
SELECT
  s.run_id,
  s.span_id,
  sb.body ->> 'parent_id' AS parent_id,
  sb.body ->> 'retry_of' AS retry_of,
  monitor_integer(sb.body -> 'attempt') AS attempt,
  sb.body ->> 'key' AS key,
  sb.body ->> 'kind' AS kind,
  sb.body ->> 'role' AS role,
  sb.body ->> 'model' AS model,
  monitor_integer(sb.body -> 'depth') AS depth,
  CASE WHEN o.position IS NULL THEN 'started'
       WHEN j.position IS NULL THEN 'observed'
       WHEN jb.body ->> 'action' <> 'ask_human' OR jb.body ->> 'outcome' <> 'blocked' THEN jb.body ->> 'outcome'
       ELSE CASE db.body ->> 'choice'
         WHEN 'approve' THEN ob.body ->> 'outcome'
         WHEN 'modify' THEN 'ok'
         WHEN 'reject' THEN 'rejected'
         WHEN 'terminate' THEN 'rejected'
         ELSE 'awaiting_human' END
       END AS state,
  jb.body #>> '{{verdict,value}}' AS verdict,
  jb.body ->> 'action' AS action,
  db.body ->> 'choice' AS decision,
  monitor_integer(ob.body #> '{{usage,input_tokens}}') AS input_tokens,
  monitor_integer(ob.body #> '{{usage,cached_tokens}}') AS cached_tokens,
  monitor_integer(ob.body #> '{{usage,output_tokens}}') AS output_tokens,
  monitor_real(ob.body #> '{{usage,cost}}') AS cost,
  monitor_real(ob.body -> 'seconds') AS seconds,
  monitor_integer(sb.body #> '{{messages,n}}') AS messages,
  task.body AS task,
  ob.body #>> '{{reasoning,state}}' AS reasoning_state,
  reasoning.body AS reasoning,
  output.body AS output,
  ob.body #>> '{{error,kind}}' AS error_kind,
  error.body AS error,
  s.at AS started_at,
  o.at AS observed_at,
  j.at AS judged_at,
  d.at AS decided_at,
  sl.leaf_index
FROM events AS s
{body("s", "sb")}
{leaf("s", "sl")}
LEFT JOIN events AS o ON o.run_id = s.run_id AND o.span_id = s.span_id AND o.seq = 1
{body("o", "ob")}
LEFT JOIN events AS j ON j.run_id = s.run_id AND j.span_id = s.span_id AND j.seq = 2
{body("j", "jb")}
LEFT JOIN events AS d ON d.run_id = s.run_id AND d.span_id = s.span_id AND d.kind = 'decided' AND d.seq = (
  SELECT max(x.seq) FROM events AS x WHERE x.run_id = s.run_id AND x.span_id = s.span_id
)
{body("d", "db")}
LEFT JOIN texts AS task ON task.commitment = sb.body #>> '{{task,$text}}'
LEFT JOIN texts AS reasoning ON reasoning.commitment = ob.body #>> '{{reasoning,text,$text}}'
LEFT JOIN texts AS output ON output.commitment = ob.body #>> '{{output,$text}}'
LEFT JOIN texts AS error ON error.commitment = ob.body #>> '{{error,message,$text}}'
WHERE s.kind = 'started'
"""

_RUNS = f"""
CREATE VIEW runs AS
WITH last AS (
  SELECT run_id, max(seq) AS seq, count(*) FILTER (WHERE kind = 'run_resumed') AS resumes
  FROM events WHERE {_RUN_KINDS} GROUP BY run_id
)
SELECT
  s.run_id,
  s.span_id,
  sb.body ->> 'recipe' AS recipe,
  sb.body ->> 'model' AS model,
  CASE e.kind WHEN 'run_ended' THEN eb.body ->> 'outcome'
       WHEN 'run_suspended' THEN 'awaiting_human' ELSE 'started' END AS state,
  eb.body #>> '{{verdict,value}}' AS verdict,
  (SELECT count(*) FROM events AS c WHERE c.run_id = s.run_id AND c.kind = 'started') AS subcalls,
  last.resumes,
  monitor_integer(eb.body #> '{{usage,calls}}') AS calls,
  monitor_integer(eb.body #> '{{usage,input_tokens}}') AS input_tokens,
  monitor_integer(eb.body #> '{{usage,output_tokens}}') AS output_tokens,
  monitor_real(eb.body #> '{{usage,cost}}') AS cost,
  monitor_real(eb.body -> 'seconds') AS seconds,
  task.body AS task,
  answer.body AS answer,
  s.at AS started_at,
  CASE WHEN e.kind = 'run_ended' THEN e.at END AS ended_at,
  sl.leaf_index
FROM events AS s
{body("s", "sb")}
{leaf("s", "sl")}
JOIN last ON last.run_id = s.run_id
JOIN events AS e ON e.run_id = s.run_id AND e.span_id = s.span_id AND e.seq = last.seq
{body("e", "eb")}
LEFT JOIN texts AS task ON task.commitment = sb.body #>> '{{task,$text}}'
LEFT JOIN texts AS answer ON answer.commitment = eb.body #>> '{{answer,$text}}'
WHERE s.kind = 'run_started'
"""


def when(column: str) -> str:
    """A time as text, as PostgreSQL's own; NULL where it is none."""
    return rf"CASE WHEN {column} ~ '^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$' THEN {column}::timestamptz END"


_VIEW_OF_DECISIONS = f"""
CREATE VIEW decisions AS
SELECT
  d.run_id,
  d.span_id,
  d.seq,
  db.body ->> 'choice' AS choice,
  why.body AS why,
  decider.body AS decided_by,
  output.body AS output,
  db.body ->> 'via' AS via,
  extract(epoch FROM {when("d.at")} - {when("j.at")})::double precision AS waited_seconds,
  j.at AS asked_at,
  d.at AS decided_at,
  dl.leaf_index
FROM events AS d
{body("d", "db")}
{leaf("d", "dl")}
JOIN events AS j ON j.run_id = d.run_id AND j.span_id = d.span_id AND j.seq = 2
LEFT JOIN texts AS why ON why.commitment = db.body #>> '{{why,$text}}'
LEFT JOIN texts AS decider ON decider.commitment = db.body #>> '{{by,$text}}'
LEFT JOIN texts AS output ON output.commitment = db.body #>> '{{output,$text}}'
WHERE d.kind = 'decided'
"""

_REVIEW_QUEUE = f"""
CREATE VIEW review_queue AS
SELECT
  q.run_id,
  qb.body ->> 'span' AS span_id,
  monitor_real(qb.body -> 'score') AS score,
  why.body AS why,
  q.at AS queued_at,
  ql.leaf_index
FROM events AS q
{body("q", "qb")}
{leaf("q", "ql")}
LEFT JOIN texts AS why ON why.commitment = qb.body #>> '{{why,$text}}'
WHERE q.kind = 'run_queued'
"""

DECISIONS = (
    "DROP INDEX events_of_runs",
    f"CREATE INDEX events_of_runs ON events (run_id, position) WHERE {_RUN_KINDS}",
    SUBCALLS,
    _RUNS,
    _VIEW_OF_DECISIONS,
    _REVIEW_QUEUE,
)
"""Version 0002: decisions of people, and the views of runs, subcalls, decisions and the review queue."""

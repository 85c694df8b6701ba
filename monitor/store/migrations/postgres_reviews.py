"""Version 0003 on PostgreSQL: the view ``reviews``, and two more columns of ``findings``.

``findings`` is replaced and not dropped, so that who may read it still may.
"""

from monitor.store.migrations.postgres import body, leaf

_REVIEW_KINDS = "kind = 'reviewed'"

_FINDINGS = f"""
CREATE OR REPLACE VIEW findings AS
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
  jl.leaf_index,
  coalesce((f.value ->> 'shadow')::boolean::integer, 0) AS shadow,
  coalesce(f.value ->> 'suppressed_by', '') AS suppressed_by
FROM events AS j
{leaf("j", "jl")}
CROSS JOIN LATERAL json_array_elements(j.canonical::json #> '{{body,findings}}') WITH ORDINALITY AS f (value, place)
WHERE j.kind = 'judged'
"""

_TOLD = f"""
  SELECT
    v.run_id,
    vb.body ->> 'span' AS span_id,
    v.span_id AS review_id,
    vb.body ->> 'check' AS check_kind,
    vb.body ->> 'name' AS name,
    vb.body ->> 'status' AS status,
    vb.body ->> 'label' AS label,
    why.body AS why,
    person.body AS reviewed_by,
    vb.body ->> 'via' AS via,
    (vb.body ->> 'recorded')::boolean::integer AS recorded,
    vb.body ->> 'pack' AS pack,
    vb.body ->> 'rule_id' AS rule_id,
    vb.body ->> 'rule_hash' AS rule_hash,
    sb.body ->> 'role' AS role,
    rb.body ->> 'recipe' AS recipe,
    v.at AS reviewed_at,
    vl.leaf_index,
    v.position,
    coalesce(person.body, vb.body #>> '{{by,$text}}') AS who
  FROM events AS v
  {body("v", "vb")}
  {leaf("v", "vl")}
  LEFT JOIN events AS s ON s.run_id = v.run_id AND s.span_id = vb.body ->> 'span' AND s.seq = 0
  {body("s", "sb")}
  LEFT JOIN events AS r ON r.run_id = v.run_id AND r.kind = 'run_started'
  {body("r", "rb")}
  LEFT JOIN texts AS why ON why.commitment = vb.body #>> '{{why,$text}}'
  LEFT JOIN texts AS person ON person.commitment = vb.body #>> '{{by,$text}}'
  WHERE v.{_REVIEW_KINDS}
"""

_VIEW_OF_REVIEWS = f"""
CREATE VIEW reviews AS
WITH told AS (
{_TOLD}), ranked AS (
  SELECT told.*, (row_number() OVER (
    PARTITION BY run_id, span_id, check_kind, name, rule_id, rule_hash, who
    ORDER BY leaf_index DESC NULLS FIRST, position DESC
  ) = 1)::integer AS is_current
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

REVIEWS = (
    f"CREATE INDEX events_of_reviews ON events (run_id, position) WHERE {_REVIEW_KINDS}",
    _FINDINGS,
    _VIEW_OF_REVIEWS,
)
"""Version 0003: what people say of findings."""

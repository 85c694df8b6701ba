-- description: 'What each branch of a run cost: a subcall directly under the run, and all below it, retries included; and of how many the cost is not known.'
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

WITH RECURSIVE edges AS MATERIALIZED (
  SELECT run_id, span_id, coalesce(retry_of, parent_id) AS above, role, calls, input_tokens, output_tokens, cost, seconds,
         CASE WHEN kind = 'model' AND observed_at IS NOT NULL AND cost IS NULL THEN 1 ELSE 0 END AS is_unknown
  FROM subcalls
  WHERE run_id >= :run AND run_id < :run || 'g'
), branch AS (
  SELECT e.run_id, e.span_id, e.span_id AS top
  FROM edges AS e
  LEFT JOIN edges AS p ON p.run_id = e.run_id AND p.span_id = e.above
  WHERE p.span_id IS NULL
  UNION
  SELECT e.run_id, e.span_id, branch.top FROM branch JOIN edges AS e ON e.run_id = branch.run_id AND e.above = branch.span_id
)
SELECT b.run_id, b.top AS span_id, max(CASE WHEN b.span_id = b.top THEN e.role END) AS role, count(*) AS subcalls,
       sum(e.calls) AS calls, sum(e.input_tokens) AS input_tokens, sum(e.output_tokens) AS output_tokens,
       round(CAST(sum(e.cost) AS numeric), 6) AS cost, round(CAST(sum(e.seconds) AS numeric), 3) AS seconds,
       sum(e.is_unknown) AS cost_unknown
FROM branch AS b
JOIN edges AS e ON e.run_id = b.run_id AND e.span_id = b.span_id
GROUP BY b.run_id, b.top
ORDER BY output_tokens DESC NULLS LAST, b.run_id, b.top

-- description: 'Subcalls that were checked and whose own subcalls were not: never judged, unmeasured, or left unchecked.'
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

WITH calls AS MATERIALIZED (
  SELECT run_id, span_id, parent_id, role, verdict, checked
  FROM subcalls
  WHERE run_id >= :run AND run_id < :run || 'g' AND adapter <> 'monitor'
)
SELECT p.run_id, p.span_id, p.role, p.verdict, count(*) AS children,
       count(*) FILTER (WHERE c.checked = 0) AS left_unchecked,
       count(*) FILTER (WHERE c.verdict = 'unmeasured') AS unmeasured,
       count(*) FILTER (WHERE c.verdict IS NULL) AS never_judged
FROM calls AS p
JOIN calls AS c ON c.run_id = p.run_id AND c.parent_id = p.span_id
WHERE p.verdict <> 'unmeasured'
GROUP BY p.run_id, p.span_id, p.role, p.verdict
HAVING count(*) FILTER (WHERE c.checked = 0 OR c.verdict = 'unmeasured' OR c.verdict IS NULL) > 0
ORDER BY p.run_id, p.span_id

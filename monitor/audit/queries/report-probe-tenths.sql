-- description: Each probe’s scores in tenths, the lowest first, and on how many subcalls of each tenth a rule matched.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

WITH matched AS (
  SELECT DISTINCT run_id, span_id FROM findings
  WHERE check_kind = 'rule' AND status = 'match' AND shadow = 0 AND suppressed_by = '' AND at >= :since AND at < :until
), scored AS (
  SELECT p.probe, p.score, CASE WHEN m.run_id IS NULL THEN 0 ELSE 1 END AS has_match,
         ntile(10) OVER (PARTITION BY p.probe ORDER BY p.score, p.run_id, p.span_id) AS tenth
  FROM probe_scores AS p
  LEFT JOIN matched AS m ON m.run_id = p.run_id AND m.span_id = p.span_id
  WHERE p.score IS NOT NULL AND p.at >= :since AND p.at < :until
)
SELECT probe, tenth, count(*) AS subcalls, sum(has_match) AS with_match, min(score) AS lowest, max(score) AS highest
FROM scored
GROUP BY probe, tenth
ORDER BY probe, tenth

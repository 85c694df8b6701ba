-- description: Each probe beside the rules, on how many subcalls which of the two speaks, and where the probe cannot.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

WITH matched AS (
  SELECT DISTINCT run_id, span_id FROM findings
  WHERE check_kind = 'rule' AND status = 'match' AND shadow = 0 AND suppressed_by = '' AND at >= :since AND at < :until
)
SELECT p.probe, p.mode, count(*) AS subcalls,
       count(*) FILTER (WHERE p.applies = 1 AND p.score IS NULL) AS failed,
       count(*) FILTER (WHERE p.applies = 0) AS not_applicable,
       count(*) FILTER (WHERE p.score IS NOT NULL AND p.threshold IS NULL) AS without_threshold,
       count(*) FILTER (WHERE p.score >= p.threshold AND m.run_id IS NOT NULL) AS both_speak,
       count(*) FILTER (WHERE p.score >= p.threshold AND m.run_id IS NULL) AS probe_alone,
       count(*) FILTER (WHERE p.score < p.threshold AND m.run_id IS NOT NULL) AS rules_alone,
       count(*) FILTER (WHERE p.score < p.threshold AND m.run_id IS NULL) AS neither
FROM probe_scores AS p
LEFT JOIN matched AS m ON m.run_id = p.run_id AND m.span_id = p.span_id
WHERE p.at >= :since AND p.at < :until
GROUP BY p.probe, p.mode
ORDER BY p.probe, p.mode

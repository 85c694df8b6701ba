-- description: What could not be checked, and why; the most frequent first.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT check_kind, name, cause, count(*) AS times, count(DISTINCT run_id) AS runs, min(at) AS first_at, max(at) AS last_at
FROM findings
WHERE status = 'unknown' AND run_id >= :run AND run_id < :run || 'g'
GROUP BY check_kind, name, cause
ORDER BY times DESC, check_kind, name, cause

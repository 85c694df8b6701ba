-- description: What could not be checked in a period, and why; the most frequent first.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT check_kind, name, cause, count(*) AS times, count(DISTINCT run_id) AS runs, max(at) AS last_at
FROM findings
WHERE status = 'unknown' AND at >= :since AND at < :until
GROUP BY check_kind, name, cause
ORDER BY times DESC, check_kind, name, cause

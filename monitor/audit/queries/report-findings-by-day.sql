-- description: Matches that act, by level, and unknowns of each day.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT substr(at, 1, 10) AS day,
       count(*) FILTER (WHERE status = 'match' AND level IN ('high', 'critical')) AS high,
       count(*) FILTER (WHERE status = 'match' AND level = 'medium') AS medium,
       count(*) FILTER (WHERE status = 'match' AND level IN ('low', 'informational')) AS low,
       count(*) FILTER (WHERE status = 'unknown') AS unknowns
FROM findings
WHERE status IN ('match', 'unknown') AND shadow = 0 AND suppressed_by = '' AND at >= :since AND at < :until
GROUP BY substr(at, 1, 10)
ORDER BY day

-- description: Matches and unknowns of each day.
-- parameters:
--   since: {type: time, default: "", about: "only days from this one on, as 2026-11-22"}

SELECT substr(at, 1, 10) AS day, count(*) FILTER (WHERE status = 'match') AS matches,
       count(*) FILTER (WHERE status = 'unknown') AS unknowns, count(DISTINCT run_id) AS runs
FROM findings
WHERE at >= :since
GROUP BY substr(at, 1, 10)
ORDER BY day

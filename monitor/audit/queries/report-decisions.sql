-- description: What people decided in a period, and how long the answers had waited.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT choice, count(*) AS decisions, count(DISTINCT decided_by) AS people, round(CAST(avg(waited_seconds) AS numeric), 1) AS mean_seconds,
       round(CAST(max(waited_seconds) AS numeric), 1) AS longest_seconds
FROM decisions
WHERE decided_at >= :since AND decided_at < :until
GROUP BY choice
ORDER BY decisions DESC, choice

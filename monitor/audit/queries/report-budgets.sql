-- description: How much of each limit runs used, for runs that started in a period and ended.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT b.limit_name, count(*) AS runs,
       count(*) FILTER (WHERE b.exceeded = 1) AS exceeded,
       count(*) FILTER (WHERE b.exceeded = 0 AND b.used >= 0.9 * b.allowed) AS nearly,
       count(*) FILTER (WHERE b.exceeded = 0 AND b.used >= 0.5 * b.allowed AND b.used < 0.9 * b.allowed) AS half,
       count(*) FILTER (WHERE b.exceeded = 0 AND b.used < 0.5 * b.allowed) AS little,
       round(CAST(max(b.used / nullif(b.allowed, 0)) AS numeric), 4) AS highest_share
FROM budgets AS b
JOIN runs AS r ON r.run_id = b.run_id
WHERE b.owner = 'run' AND (b.allowed > 0 OR b.exceeded = 1) AND b.used IS NOT NULL AND r.started_at >= :since AND r.started_at < :until
GROUP BY b.limit_name
ORDER BY exceeded DESC, nearly DESC, b.limit_name

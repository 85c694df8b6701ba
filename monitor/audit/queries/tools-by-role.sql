-- description: Which roles called which tools, and how many of the calls were refused.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT role, name AS tool, count(*) AS calls, count(refused) AS refused
FROM tool_calls
WHERE run_id >= :run AND run_id < :run || 'g'
GROUP BY role, name
ORDER BY calls DESC, role, name

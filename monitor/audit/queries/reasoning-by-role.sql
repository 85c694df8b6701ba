-- description: What is known of the reasoning of each role.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT role, model, count(*) AS subcalls,
       count(*) FILTER (WHERE reasoning_state = 'plain') AS plain,
       count(*) FILTER (WHERE reasoning_state = 'summary') AS summary,
       count(*) FILTER (WHERE reasoning_state IN ('encrypted', 'redacted')) AS withheld,
       count(*) FILTER (WHERE reasoning_state = 'absent') AS absent
FROM subcalls
WHERE kind = 'model' AND reasoning_state IS NOT NULL AND run_id >= :run AND run_id < :run || 'g'
GROUP BY role, model
ORDER BY role, model

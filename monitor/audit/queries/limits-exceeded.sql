-- description: Limits that were reached, by role and by run.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT owner, role, limit_name, count(*) AS times, min(allowed) AS least_allowed, max(used) AS most_used
FROM budgets
WHERE exceeded = 1 AND run_id >= :run AND run_id < :run || 'g'
GROUP BY owner, role, limit_name
ORDER BY times DESC, owner, role, limit_name

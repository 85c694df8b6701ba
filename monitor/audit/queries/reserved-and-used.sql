-- description: 'What roles reserved and what they used: how far the reservations are from the spend.'
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT role, limit_name, count(*) AS subcalls, sum(reserved) AS reserved, sum(used) AS used,
       round(CAST(sum(used) / nullif(sum(reserved), 0) AS numeric), 4) AS share
FROM budgets
WHERE owner = 'subcall' AND used IS NOT NULL AND reserved IS NOT NULL AND run_id >= :run AND run_id < :run || 'g'
GROUP BY role, limit_name
HAVING sum(reserved) > 0 OR sum(used) > 0
ORDER BY role, limit_name

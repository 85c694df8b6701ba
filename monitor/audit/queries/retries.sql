-- description: How often each role was tried again, and what the first attempts ended in.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT role, model, count(*) AS attempts, count(*) FILTER (WHERE retry_of IS NOT NULL) AS retries,
       count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'blocked') AS blocked
FROM subcalls
WHERE run_id >= :run AND run_id < :run || 'g'
GROUP BY role, model
HAVING count(*) FILTER (WHERE retry_of IS NOT NULL) > 0
ORDER BY retries DESC, role, model

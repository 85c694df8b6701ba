-- description: What share of a run’s limits was used; the most used first.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT run_id, limit_name, allowed, used, round(CAST(used / nullif(allowed, 0) AS numeric), 4) AS share
FROM budgets
WHERE owner = 'run' AND allowed IS NOT NULL AND used IS NOT NULL AND run_id >= :run AND run_id < :run || 'g'
ORDER BY share DESC NULLS LAST, run_id, limit_name

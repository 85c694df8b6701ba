-- description: What went wrong, by kind and model.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT error_kind, model, count(*) AS times, count(DISTINCT run_id) AS runs, max(observed_at) AS last_at
FROM subcalls
WHERE error_kind IS NOT NULL AND run_id >= :run AND run_id < :run || 'g'
GROUP BY error_kind, model
ORDER BY times DESC, error_kind, model

-- description: Tool calls that were not allowed to run, with their arguments and the reason.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT run_id, span_id, role, name AS tool, arguments, refused, observed_at
FROM tool_calls
WHERE refused IS NOT NULL AND run_id >= :run AND run_id < :run || 'g'
ORDER BY observed_at, run_id, span_id, place

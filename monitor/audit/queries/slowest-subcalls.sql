-- description: The subcalls that took longest.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}
--   limit: {type: integer, default: 20, about: "how many"}

SELECT run_id, span_id, role, model, round(CAST(seconds AS numeric), 3) AS seconds, output_tokens, state
FROM subcalls
WHERE seconds IS NOT NULL AND run_id >= :run AND run_id < :run || 'g'
ORDER BY subcalls.seconds DESC, run_id, span_id
LIMIT :limit

-- description: Subcalls of models that came back without any reasoning that can be read.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT run_id, span_id, role, model, reasoning_state, requires_reasoning, state, verdict
FROM subcalls
WHERE kind = 'model' AND reasoning_state IN ('absent', 'encrypted', 'redacted') AND run_id >= :run AND run_id < :run || 'g'
ORDER BY requires_reasoning DESC, leaf_index

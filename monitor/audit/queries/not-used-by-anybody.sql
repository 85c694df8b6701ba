-- description: 'Subcalls whose answer nobody should have used: not ended, or ended without an answer.'
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT run_id, span_id, role, state, verdict, error_kind, started_at
FROM subcalls
WHERE state <> 'ok' AND run_id >= :run AND run_id < :run || 'g'
ORDER BY leaf_index

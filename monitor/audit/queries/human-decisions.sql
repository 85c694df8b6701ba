-- description: What people decided of answers that waited for them, why, and how long it took.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}
--   since: {type: time, default: "", about: "only decisions at or after this time"}

SELECT run_id, span_id, role, choice, decided_by, why, round(CAST(waited_seconds AS numeric), 1) AS waited_seconds, via, decided_at
FROM decisions
WHERE run_id >= :run AND run_id < :run || 'g' AND decided_at >= :since
ORDER BY decided_at, run_id, span_id, seq

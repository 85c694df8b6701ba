-- description: Subcalls whose answer was used before its verdict, as a stream in part, or because the trace came here afterwards.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT s.run_id, s.span_id, s.role, s.model, s.recipe, v.verdict, v.caught_by, v.note, s.released_before_final, v.judged_at
FROM subcalls AS s
LEFT JOIN verdicts AS v ON v.run_id = s.run_id AND v.span_id = s.span_id
WHERE (s.released_before_final = 1 OR v.note LIKE '%too late to %') AND s.run_id >= :run AND s.run_id < :run || 'g'
ORDER BY s.started_at, s.run_id, s.span_id

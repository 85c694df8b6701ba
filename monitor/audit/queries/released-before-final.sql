-- description: Subcalls whose answer was used before its verdict, as a stream in part, or because the trace came here afterwards.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT v.run_id, v.span_id, v.role, v.model, v.recipe, v.verdict, v.caught_by, v.note, s.released_before_final, v.judged_at
FROM verdicts AS v
JOIN subcalls AS s ON s.run_id = v.run_id AND s.span_id = v.span_id
WHERE (s.released_before_final = 1 OR v.note LIKE '%too late to %') AND v.run_id >= :run AND v.run_id < :run || 'g'
ORDER BY v.judged_at, v.run_id, v.span_id

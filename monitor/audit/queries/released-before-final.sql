-- description: Subcalls of which a check asked for more than could be done, since whoever asked had the answer already.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT run_id, span_id, role, model, recipe, verdict, caught_by, note, judged_at
FROM verdicts
WHERE note LIKE '%too late to %' AND run_id >= :run AND run_id < :run || 'g'
ORDER BY judged_at, run_id, span_id

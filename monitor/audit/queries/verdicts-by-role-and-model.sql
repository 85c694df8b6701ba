-- description: How many subcalls of each role and model got which verdict.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}
--   since: {type: time, default: "", about: "only what was judged at or after this time"}

SELECT role, model, count(*) AS subcalls,
       count(*) FILTER (WHERE verdict = 'pass') AS pass,
       count(*) FILTER (WHERE verdict = 'flag') AS flag,
       count(*) FILTER (WHERE verdict = 'block') AS block,
       count(*) FILTER (WHERE verdict = 'unmeasured') AS unmeasured
FROM verdicts
WHERE run_id >= :run AND run_id < :run || 'g' AND judged_at >= :since
GROUP BY role, model
ORDER BY block DESC, flag DESC, subcalls DESC, role, model

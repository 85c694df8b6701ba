-- description: 'For each role, subcalls stopped or flagged because of what a check found, and because a check could not look: apart.'
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT role,
       count(*) FILTER (WHERE catches > 0) AS with_catches,
       count(*) FILTER (WHERE outages > 0) AS with_outages,
       count(*) FILTER (WHERE outages > 0 AND catches = 0) AS outages_alone,
       count(*) FILTER (WHERE catches > 0 AND verdict = 'block') AS blocked_by_catch,
       count(*) FILTER (WHERE catches = 0 AND outages > 0 AND verdict = 'block') AS blocked_by_outage
FROM verdicts
WHERE run_id >= :run AND run_id < :run || 'g'
GROUP BY role
HAVING count(*) FILTER (WHERE catches > 0 OR outages > 0) > 0
ORDER BY with_catches DESC, with_outages DESC, role

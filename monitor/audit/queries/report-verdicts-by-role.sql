-- description: Verdicts of each role, and how many of them are catches, and outages alone.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT v.role, count(*) AS subcalls,
       count(*) FILTER (WHERE v.verdict = 'block') AS block,
       count(*) FILTER (WHERE v.verdict = 'flag') AS flag,
       count(*) FILTER (WHERE v.verdict = 'unmeasured') AS unmeasured,
       count(*) FILTER (WHERE v.verdict = 'pass') AS pass,
       count(*) FILTER (WHERE catches > 0) AS with_catches,
       count(*) FILTER (WHERE outages > 0 AND catches = 0) AS outages_alone
FROM verdicts AS v
JOIN subcalls AS s ON s.run_id = v.run_id AND s.span_id = v.span_id AND s.adapter <> 'monitor'
WHERE v.judged_at >= :since AND v.judged_at < :until
GROUP BY v.role
ORDER BY block DESC, flag DESC, subcalls DESC, v.role

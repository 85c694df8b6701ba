-- description: Verdicts of each role, and how many of them are catches, and outages alone.
-- parameters:
--   since: {default: "", about: "only from this time on, as 2026-11-22"}
--   until: {default: "9999", about: "only before this time"}

SELECT role, count(*) AS subcalls,
       count(*) FILTER (WHERE verdict = 'block') AS block,
       count(*) FILTER (WHERE verdict = 'flag') AS flag,
       count(*) FILTER (WHERE verdict = 'unmeasured') AS unmeasured,
       count(*) FILTER (WHERE verdict = 'pass') AS pass,
       count(*) FILTER (WHERE catches > 0) AS with_catches,
       count(*) FILTER (WHERE outages > 0 AND catches = 0) AS outages_alone
FROM verdicts
WHERE judged_at >= :since AND judged_at < :until
GROUP BY role
ORDER BY block DESC, flag DESC, subcalls DESC, role

-- description: Verdicts of each day.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT substr(judged_at, 1, 10) AS day,
       count(*) FILTER (WHERE verdict = 'block') AS block,
       count(*) FILTER (WHERE verdict = 'flag') AS flag,
       count(*) FILTER (WHERE verdict = 'unmeasured') AS unmeasured,
       count(*) FILTER (WHERE verdict = 'pass') AS pass
FROM subcalls
WHERE judged_at >= :since AND judged_at < :until AND adapter <> 'monitor'
GROUP BY substr(judged_at, 1, 10)
ORDER BY day

-- description: What the subcalls of each role cost, retries included, and of how many the cost is not known.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT role, count(*) AS subcalls, sum(calls) AS calls, sum(input_tokens) AS input_tokens,
       sum(output_tokens) AS output_tokens, round(CAST(sum(cost) AS numeric), 6) AS cost,
       round(CAST(sum(seconds) AS numeric), 3) AS seconds,
       count(*) FILTER (WHERE kind = 'model' AND cost IS NULL) AS cost_unknown
FROM subcalls
WHERE started_at >= :since AND started_at < :until AND observed_at IS NOT NULL
GROUP BY role
ORDER BY output_tokens DESC NULLS LAST, role

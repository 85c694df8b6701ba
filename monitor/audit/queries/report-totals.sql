-- description: Subcalls and runs that started in a period, by verdict, with what they cost and what is not known of them; what the monitor itself asked a judge is counted apart.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT t.*, j.judge_questions, j.judge_cost
FROM (
SELECT count(*) AS subcalls, count(DISTINCT run_id) AS runs,
       count(*) FILTER (WHERE kind = 'tool') AS tool_subcalls,
       count(*) FILTER (WHERE verdict = 'pass') AS pass,
       count(*) FILTER (WHERE verdict = 'flag') AS flag,
       count(*) FILTER (WHERE verdict = 'block') AS block,
       count(*) FILTER (WHERE verdict = 'unmeasured') AS unmeasured,
       count(*) FILTER (WHERE verdict IS NULL) AS unjudged,
       count(*) FILTER (WHERE checked = 0) AS unchecked,
       count(*) FILTER (WHERE state = 'awaiting_human') AS waiting,
       count(*) FILTER (WHERE kind = 'model' AND reasoning_state = 'absent') AS without_reasoning,
       count(*) FILTER (WHERE kind = 'model') AS model_subcalls,
       sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, round(CAST(sum(cost) AS numeric), 6) AS cost,
       count(*) FILTER (WHERE kind = 'model' AND observed_at IS NOT NULL AND cost IS NULL) AS cost_unknown,
       min(started_at) AS first_at, max(started_at) AS last_at
FROM subcalls
WHERE started_at >= :since AND started_at < :until AND adapter <> 'monitor'
HAVING count(*) > 0
) AS t
CROSS JOIN (
SELECT count(*) AS judge_questions, round(CAST(sum(cost) AS numeric), 6) AS judge_cost
FROM subcalls
WHERE started_at >= :since AND started_at < :until AND adapter = 'monitor'
) AS j

-- description: 'Every rule that matched: how often, at which level, in how many runs.'
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT pack, name, level, count(*) AS matches, count(DISTINCT run_id) AS runs,
       count(*) FILTER (WHERE suppressed_by <> '') AS suppressed, count(*) FILTER (WHERE shadow = 1) AS on_trial
FROM findings
WHERE check_kind = 'rule' AND status = 'match' AND run_id >= :run AND run_id < :run || 'g'
GROUP BY pack, name, level
ORDER BY matches DESC, pack, name

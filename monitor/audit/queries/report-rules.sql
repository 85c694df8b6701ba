-- description: Rules that matched, with what people say of their matches; suppressed ones and those of rules on trial apart.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

WITH said AS (
  SELECT DISTINCT run_id, span_id, name, rule_hash, consensus FROM reviews WHERE is_current = 1 AND status = 'match'
)
SELECT f.name, f.pack, f.level,
       count(*) FILTER (WHERE f.shadow = 0 AND f.suppressed_by = '') AS matches,
       count(DISTINCT f.run_id) AS runs,
       count(*) FILTER (WHERE f.suppressed_by <> '') AS suppressed,
       count(*) FILTER (WHERE f.shadow = 1) AS on_trial,
       count(*) FILTER (WHERE s.consensus = 'true' AND f.shadow = 0 AND f.suppressed_by = '') AS right_matches,
       count(*) FILTER (WHERE s.consensus = 'false' AND f.shadow = 0 AND f.suppressed_by = '') AS wrong_matches
FROM findings AS f
LEFT JOIN said AS s
  ON s.run_id = f.run_id AND s.span_id = f.span_id AND s.name = f.name AND s.rule_hash = f.rule_hash
WHERE f.status = 'match' AND f.check_kind = 'rule' AND f.at >= :since AND f.at < :until
GROUP BY f.pack, f.name, f.level
ORDER BY matches DESC, f.pack, f.name, f.level

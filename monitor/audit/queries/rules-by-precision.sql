-- description: For each version of a rule, what people say of its matches; the least precise first.
-- parameters:
--   at_least: {type: integer, default: 1, about: "only rules of which so many matches were reviewed"}

WITH said AS (
  SELECT DISTINCT run_id, span_id, pack, name, rule_id, rule_hash, consensus
  FROM reviews
  WHERE is_current = 1 AND status = 'match'
)
SELECT pack, name, substr(rule_hash, 1, 12) AS rule_hash, count(*) AS matches_reviewed,
       count(*) FILTER (WHERE consensus = 'true') AS right_matches,
       count(*) FILTER (WHERE consensus = 'false') AS wrong_matches,
       count(*) FILTER (WHERE consensus = 'disputed') AS disputed,
       count(*) FILTER (WHERE consensus = 'unsure') AS unsure,
       round(CAST(1.0 * count(*) FILTER (WHERE consensus = 'true')
         / nullif(count(*) FILTER (WHERE consensus IN ('true', 'false')), 0) AS numeric), 4) AS match_precision
FROM said
GROUP BY pack, name, rule_id, rule_hash
HAVING count(*) >= :at_least
ORDER BY match_precision NULLS LAST, matches_reviewed DESC, pack, name, rule_hash

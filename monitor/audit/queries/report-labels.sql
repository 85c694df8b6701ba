-- description: Who labelled which finding how, in a period; of each person the label that counts.
-- parameters:
--   since: {type: time, default: "", about: "only from this time on, as 2026-11-22"}
--   until: {type: time, default: "9999", about: "only before this time"}

SELECT run_id, span_id, name, rule_id, rule_hash, status, label, reviewed_by
FROM reviews
WHERE is_current = 1 AND reviewed_at >= :since AND reviewed_at < :until
ORDER BY run_id, span_id, name, rule_hash, reviewed_by

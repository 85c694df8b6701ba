-- description: Findings of which people say that the rule should have matched and did not.

SELECT DISTINCT run_id, span_id, role, pack, name, why, reviewed_by
FROM reviews
WHERE is_current = 1 AND status = 'no_match' AND consensus = 'false' AND label = 'false'
ORDER BY run_id, span_id, name, reviewed_by

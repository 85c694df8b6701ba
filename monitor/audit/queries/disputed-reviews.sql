-- description: Findings about which reviewers differ, with what each of them says.

SELECT run_id, span_id, name, status, reviewed_by, label, why, reviewed_at
FROM reviews
WHERE is_current = 1 AND consensus = 'disputed'
ORDER BY run_id, span_id, name, reviewed_at, reviewed_by

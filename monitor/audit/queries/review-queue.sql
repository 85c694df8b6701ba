-- description: What recipes put before a person for later, and whether anybody has labelled a finding there; the most suspicious first.

SELECT q.run_id, q.span_id, q.score, q.why, q.queued_at,
       (SELECT count(*) FROM reviews AS r WHERE r.run_id = q.run_id AND r.span_id = q.span_id AND r.is_current = 1) AS labels
FROM review_queue AS q
ORDER BY q.score DESC, q.queued_at, q.run_id, q.span_id

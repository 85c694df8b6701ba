-- description: Answers that wait for a decision now; the oldest first.

SELECT run_id, span_id, role, verdict, decision, judged_at
FROM subcalls
WHERE state = 'awaiting_human'
ORDER BY judged_at, run_id, span_id

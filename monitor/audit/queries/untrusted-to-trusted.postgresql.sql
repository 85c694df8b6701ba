WITH said AS MATERIALIZED (
  SELECT run_id, span_id, role, output, output_id, started_at
  FROM subcalls
  WHERE trust = 'untrusted' AND length(output) >= :codepoints AND run_id >= :run AND run_id < :run || 'g'
)
SELECT DISTINCT o.run_id, o.span_id AS from_span, o.role AS from_role, m.span_id AS to_span, m.role AS to_role, m.place,
       m.message_role, length(o.output) AS codepoints,
       CASE WHEN m.content_id = o.output_id THEN 'whole message' ELSE 'inside of a message' END AS how
FROM messages AS m
CROSS JOIN said AS o
WHERE m.trust = 'trusted' AND m.run_id >= :run AND m.run_id < :run || 'g' AND o.run_id = m.run_id
  AND o.span_id <> m.span_id AND m.started_at >= o.started_at AND strpos(m.content, o.output) > 0
ORDER BY o.run_id, to_span, m.place, from_span

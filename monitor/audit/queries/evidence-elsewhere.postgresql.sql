SELECT f.run_id, f.name AS rule, f.span_id, f.role, e.value ->> 'span_id' AS other_span, s.role AS other_role,
       e.value ->> 'surface' AS other_surface, (e.value ->> 'start')::bigint AS start,
       (e.value ->> 'end')::bigint AS "end", e.value ->> 'clause' AS clause
FROM findings AS f
CROSS JOIN LATERAL json_array_elements(f.elsewhere::json) WITH ORDINALITY AS e (value, place)
LEFT JOIN subcalls AS s ON s.run_id = f.run_id AND s.span_id = e.value ->> 'span_id'
WHERE f.status = 'match' AND f.run_id >= :run AND f.run_id < :run || 'g' AND (:rule = '' OR f.name = :rule)
ORDER BY f.leaf_index, f.finding, e.place

-- description: Matches whose evidence stands in another subcall too, such as where a tainted text came from; both ends.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}
--   rule: {default: "", about: "only this rule, by its name"}

SELECT f.run_id, f.name AS rule, f.span_id, f.role, json_extract(e.value, '$.span_id') AS other_span, s.role AS other_role,
       json_extract(e.value, '$.surface') AS other_surface, json_extract(e.value, '$.start') AS start,
       json_extract(e.value, '$.end') AS "end", json_extract(e.value, '$.clause') AS clause
FROM findings AS f
JOIN json_each(f.elsewhere) AS e
LEFT JOIN subcalls AS s ON s.run_id = f.run_id AND s.span_id = json_extract(e.value, '$.span_id')
WHERE f.status = 'match' AND f.run_id >= :run AND f.run_id < :run || 'g' AND (:rule = '' OR f.name = :rule)
ORDER BY f.leaf_index, f.finding, e.key

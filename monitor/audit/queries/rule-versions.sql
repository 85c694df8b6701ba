-- description: Which version of which rule runs were judged by, from when until when.
-- parameters:
--   rule: {default: "", about: "only rules with this in their name"}

SELECT pack, pack_version, name, substr(rule_hash, 1, 12) AS rule_hash, overridden_by, count(DISTINCT run_id) AS runs,
       min(at) AS first_at, max(at) AS last_at
FROM run_rules
WHERE name LIKE '%' || :rule || '%'
GROUP BY pack, pack_version, name, rule_id, rule_hash, overridden_by
ORDER BY pack, name, first_at

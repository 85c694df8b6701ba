-- description: Versions of rules that runs were judged by and that matched in none of them.

WITH used AS (
  SELECT DISTINCT run_id, pack, name, rule_id, rule_hash FROM run_rules
), matched AS (
  SELECT DISTINCT pack, name, rule_hash FROM findings WHERE check_kind = 'rule' AND status = 'match'
)
SELECT used.pack, used.name, substr(used.rule_hash, 1, 12) AS rule_hash, count(*) AS runs
FROM used
LEFT JOIN matched ON matched.rule_hash = used.rule_hash AND matched.name = used.name AND matched.pack = used.pack
WHERE matched.name IS NULL
GROUP BY used.pack, used.name, used.rule_id, used.rule_hash
ORDER BY runs DESC, used.pack, used.name, rule_hash

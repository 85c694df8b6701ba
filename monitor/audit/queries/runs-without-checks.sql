-- description: Runs whose verdict is unmeasured, those without any subcall among them, or that have subcalls without a verdict of any check.

SELECT r.run_id, r.recipe, r.state, r.verdict, count(s.span_id) AS subcalls,
       count(*) FILTER (WHERE s.verdict = 'unmeasured') AS unmeasured, count(s.span_id) FILTER (WHERE s.verdict IS NULL) AS never_judged
FROM runs AS r
LEFT JOIN subcalls AS s ON s.run_id = r.run_id AND s.adapter <> 'monitor'
GROUP BY r.run_id, r.recipe, r.state, r.verdict
HAVING r.verdict = 'unmeasured' OR count(s.span_id) FILTER (WHERE s.verdict = 'unmeasured' OR s.verdict IS NULL) > 0
ORDER BY unmeasured DESC, never_judged DESC, r.run_id

-- description: 'Matches that a filter holds to be harmless: which filter, which rule, how often.'
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT suppressed_by, pack, name, level, count(*) AS matches, max(at) AS last_at
FROM findings
WHERE status = 'match' AND suppressed_by <> '' AND run_id >= :run AND run_id < :run || 'g'
GROUP BY suppressed_by, pack, name, level
ORDER BY matches DESC, suppressed_by, pack, name

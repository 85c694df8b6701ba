-- description: Subcalls on which a probe speaks and no rule matches, but on trial or where a filter holds it to be harmless; the hottest first.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT p.run_id, p.span_id, p.role, p.probe, p.score, p.threshold, p.fpr, p.mode, p.surface
FROM probe_scores AS p
WHERE p.score >= p.threshold AND p.run_id >= :run AND p.run_id < :run || 'g'
  AND NOT EXISTS (
    SELECT 1 FROM findings AS f
    WHERE f.run_id = p.run_id AND f.span_id = p.span_id AND f.check_kind = 'rule' AND f.status = 'match' AND f.shadow = 0
      AND f.suppressed_by = ''
  )
ORDER BY p.fpr NULLS LAST, p.score - p.threshold DESC, p.run_id, p.span_id, p.probe

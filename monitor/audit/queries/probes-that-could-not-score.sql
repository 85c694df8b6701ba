-- description: Probes that were attached and gave no score, and why; and how many tokens were left unread.
-- parameters:
--   run: {default: "", about: "only this run: its whole id, or how it begins"}

SELECT probe, mode, cause, count(*) AS subcalls, sum(unread) AS tokens_unread
FROM probe_scores
WHERE (score IS NULL OR unread > 0) AND applies = 1 AND run_id >= :run AND run_id < :run || 'g'
GROUP BY probe, mode, cause
ORDER BY subcalls DESC, probe, mode, cause

-- description: For each person, what they decided, and how long answers waited for them.

SELECT decided_by, count(*) AS decisions,
       count(*) FILTER (WHERE choice = 'approve') AS approved,
       count(*) FILTER (WHERE choice = 'modify') AS modified,
       count(*) FILTER (WHERE choice IN ('reject', 'terminate')) AS rejected,
       count(*) FILTER (WHERE choice = 'escalate') AS escalated,
       round(CAST(avg(waited_seconds) AS numeric), 1) AS mean_wait_seconds,
       round(CAST(max(waited_seconds) AS numeric), 1) AS longest_wait_seconds
FROM decisions
GROUP BY decided_by
ORDER BY decisions DESC, decided_by

-- What the windows must say, worked out from the exported topics alone. Parameters are views of one row:
-- rule(rollout, window_ms, max_future_ms, late_ms, latency_ratio); shift(s). Bucket counts and edges as docs and glossary say.

CREATE TABLE seen AS
SELECT *, CASE WHEN ahead THEN ts ELSE at_ms END AS t
FROM (SELECT e.*, e.at_ms > e.ts + r.max_future_ms AS ahead FROM events e, rule r WHERE e.rollout = r.rollout);

-- Of one request and arm the first in the log stands.
CREATE TABLE told AS
SELECT s.*, s.t // r.window_ms * r.window_ms AS win, place > 1 AS repeated, place = 1 AND behind_ms > r.late_ms AS late
FROM (
  SELECT *, row_number() OVER (PARTITION BY part, request_id, arm ORDER BY off) AS place,
         max(t) OVER (PARTITION BY topic, part ORDER BY off) - t AS behind_ms
  FROM seen
) s, rule r;

CREATE TABLE answer AS
SELECT *, status = 'ok' AS ok, status = 'shed' AS is_shed, status = 'timeout' AS timed_out, role = 'primary' AS live,
  CASE WHEN status <> 'ok' THEN []
       WHEN NOT json_valid(output) THEN ['not_json']
       WHEN json_extract(output, '$.confidence') IS NULL THEN ['missing.confidence']
       WHEN CAST(json_extract(output, '$.confidence') AS DOUBLE) NOT BETWEEN 0 AND 1 THEN ['confidence.range']
       ELSE [] END AS broken
FROM told WHERE NOT repeated AND NOT late;

CREATE TABLE request AS
SELECT coalesce(b.part, c.part) AS part, coalesce(b.win, c.win) AS win,
  CASE WHEN b.part IS NOT NULL THEN b.tier ELSE c.tier END AS tier,
  CASE WHEN b.part IS NOT NULL THEN b.region ELSE c.region END AS region,
  b.part IS NOT NULL AS has_b, c.part IS NOT NULL AS has_c,
  coalesce(b.ok, false) AS b_ok, coalesce(c.ok, false) AS c_ok,
  coalesce(b.timed_out, false) AS b_late, coalesce(c.timed_out, false) AS c_late,
  coalesce(b.is_shed, false) AS b_shed, coalesce(c.is_shed, false) AS c_shed,
  coalesce(b.live, false) AS b_live, coalesce(c.live, false) AS c_live,
  coalesce(b.broken, []) AS b_broken, coalesce(c.broken, []) AS c_broken,
  b.label AS b_label, c.label AS c_label, b.confidence AS b_confidence, c.confidence AS c_confidence,
  b.latency_ms AS b_ms, c.latency_ms AS c_ms, b.output AS b_output, c.output AS c_output
FROM (FROM answer WHERE arm = 'baseline') b
FULL JOIN (FROM answer WHERE arm = 'candidate') c ON b.part = c.part AND b.request_id = c.request_id;

CREATE TABLE judged AS
SELECT *, has_b AND has_c AND NOT shed AS asked, has_b AND NOT shed AND b_ok AS good,
  has_c AND NOT shed AND c_ok AS fine,
  has_c AND c_live AND NOT c_shed AS user_c, has_b AND b_live AND NOT b_shed AS user_b,
  len(b_broken) > 0 AS b_bad, len(c_broken) > 0 AS c_bad,
  CASE WHEN NOT (has_b AND has_c AND NOT shed AND b_ok AND c_ok) OR b_output = c_output THEN []
       WHEN json_valid(b_output) AND json_valid(c_output) THEN list_distinct(list_filter([
         CASE WHEN json_extract_string(b_output, '$.prediction') <> json_extract_string(c_output, '$.prediction')
              THEN 'value_changed' END,
         CASE WHEN json_extract(b_output, '$.confidence') IS NULL AND json_extract(c_output, '$.confidence') IS NOT NULL
              THEN 'added_key' END,
         CASE WHEN json_extract(b_output, '$.confidence') IS NOT NULL AND json_extract(c_output, '$.confidence') IS NULL
              THEN 'missing_key' END,
         CASE WHEN CAST(json_extract(b_output, '$.confidence') AS DOUBLE)
                   <> CAST(json_extract(c_output, '$.confidence') AS DOUBLE) THEN 'number_changed' END
       ], lambda k: k IS NOT NULL))
       WHEN json_valid(b_output) OR json_valid(c_output) THEN ['type_changed']
       ELSE ['value_changed'] END AS changes
FROM (SELECT *, b_shed OR c_shed AS shed FROM request);

CREATE TABLE counted AS
SELECT part, win, tier, region, name, count(*) AS n FROM (
  SELECT part, win, tier, region, unnest(list_filter([
    CASE WHEN asked OR (has_b AND NOT has_c AND NOT shed) THEN 'requests' END,
    CASE WHEN asked THEN 'pairs' END,
    CASE WHEN has_b AND NOT has_c AND NOT shed THEN 'missing_candidate' END,
    CASE WHEN has_c AND NOT has_b AND NOT shed THEN 'missing_baseline' END,
    CASE WHEN shed THEN 'shed' END,
    CASE WHEN has_b AND NOT shed AND NOT b_ok THEN 'baseline_errors' END,
    CASE WHEN has_b AND NOT shed AND NOT fine THEN 'candidate_errors' END,
    CASE WHEN good AND NOT fine THEN 'candidate_only_errors' END,
    CASE WHEN asked AND NOT b_ok AND fine THEN 'baseline_only_errors' END,
    CASE WHEN good THEN 'baseline_checked' END,
    CASE WHEN good AND b_bad THEN 'baseline_invalid' END,
    CASE WHEN (asked AND fine) OR (user_c AND c_ok) THEN 'candidate_checked' END,
    CASE WHEN ((asked AND fine) OR (user_c AND c_ok)) AND c_bad THEN 'candidate_invalid' END,
    CASE WHEN asked AND good AND fine AND c_bad AND NOT b_bad THEN 'candidate_only_invalid' END,
    CASE WHEN asked AND good AND fine AND b_bad AND NOT c_bad THEN 'baseline_only_invalid' END,
    CASE WHEN asked AND b_label IS NOT NULL AND c_label IS NOT NULL THEN 'labels_compared' END,
    CASE WHEN asked AND b_label <> c_label THEN 'label_changes' END,
    CASE WHEN len(changes) > 0 THEN 'output_changes' END,
    CASE WHEN user_c OR (has_b AND NOT has_c AND NOT shed AND NOT b_live) THEN 'live_candidate' END,
    CASE WHEN (user_c AND NOT c_ok) OR (has_b AND NOT has_c AND NOT shed AND NOT b_live)
         THEN 'live_candidate_errors' END,
    CASE WHEN user_c AND c_ok THEN 'live_candidate_checked' END,
    CASE WHEN user_c AND c_ok AND c_bad THEN 'live_candidate_invalid' END,
    CASE WHEN user_b THEN 'live_baseline' END,
    CASE WHEN user_b AND NOT b_ok THEN 'live_baseline_errors' END,
    CASE WHEN has_b AND NOT shed THEN 'timeouts_counted' END,
    CASE WHEN has_b AND NOT shed AND b_late THEN 'baseline_timeouts' END,
    CASE WHEN has_b AND NOT shed AND (c_late OR NOT has_c) THEN 'candidate_timeouts' END,
    CASE WHEN has_b AND NOT shed AND (c_late OR NOT has_c) AND NOT b_late THEN 'candidate_only_timeouts' END,
    CASE WHEN asked AND b_late AND NOT c_late THEN 'baseline_only_timeouts' END,
    CASE WHEN (user_c AND c_late) OR (has_b AND NOT has_c AND NOT shed AND NOT b_live)
         THEN 'live_candidate_timeouts' END,
    CASE WHEN asked AND b_ok AND c_ok AND c_ms > 1.25 * (latency_ratio * b_ms) THEN 'slower' END,
    CASE WHEN asked AND b_ok AND c_ok AND 1.25 * c_ms < latency_ratio * b_ms THEN 'faster' END
  ], lambda k: k IS NOT NULL)) AS name FROM judged, rule
) GROUP BY ALL;

-- Latencies in steps of 1/128 of a doubling from 2^-10 ms on; the last bucket is "never".
CREATE MACRO latency_bucket(ms) AS least(greatest(CAST(floor(log2(ms) * 128) AS BIGINT) + 1281, 0), 3969);

CREATE TABLE timed AS
SELECT part, win, latency_bucket(b_ms) AS b, CASE WHEN fine THEN latency_bucket(c_ms) ELSE 3969 END AS c
FROM judged WHERE good;

CREATE TABLE drawn AS
SELECT part, win, name, place, sum(n) AS n FROM (
  SELECT part, win, 'latency.baseline' AS name, b AS place, 1 AS n FROM timed
  UNION ALL SELECT part, win, 'latency.candidate', c, 1 FROM timed
  UNION ALL
  SELECT part, win, 'exceed.' || s || CASE WHEN reach > b THEN '.up' ELSE '.down' END,
         unnest([least(b, reach) + 1, greatest(b, reach) + 1]), unnest([1, -1])
  FROM (SELECT t.*, s, CASE WHEN c = 3969 THEN 3969 ELSE least(greatest(c - s, -1), 3969) END AS reach
        FROM timed t, shift) WHERE reach <> b
  UNION ALL
  SELECT part, win, 'confidence.' || arm, CASE WHEN given IS NULL THEN 20
    ELSE least(CAST(floor(least(greatest(given, 0), 1) * 20) AS BIGINT), 19) END, 1
  FROM (SELECT part, win, unnest(['baseline', 'candidate']) AS arm, unnest([b_confidence, c_confidence]) AS given
        FROM judged WHERE asked AND good AND fine AND (b_confidence IS NOT NULL OR c_confidence IS NOT NULL))
  UNION ALL
  SELECT part, win, 'scores.' || measure,
         CAST(round_even(least(greatest(candidate - baseline, -1), 1) * 1000, 0) AS BIGINT) + 1000, 1
  FROM scored WHERE place = 1 AND baseline IS NOT NULL AND candidate IS NOT NULL
) WHERE place < 3970 GROUP BY ALL HAVING sum(n) <> 0;

CREATE TABLE totalled AS
SELECT part, win, name, sum(n) AS n FROM (
  SELECT part, win, 'future' AS name, 1 AS n FROM told WHERE ahead
  UNION ALL SELECT part, win, 'duplicate', 1 FROM told WHERE repeated
  UNION ALL SELECT part, win, 'exposed', 1 FROM answer WHERE arm = 'candidate' AND live AND NOT is_shed
  UNION ALL SELECT part, win, 'invalid.baseline.' || unnest(b_broken), 1 FROM judged WHERE good
  UNION ALL SELECT part, win, 'invalid.candidate.' || unnest(c_broken), 1 FROM judged
            WHERE (asked AND fine) OR (user_c AND c_ok)
  UNION ALL SELECT part, win, 'change.' || unnest(changes), 1 FROM judged
  UNION ALL SELECT part, win, CASE WHEN place > 1 THEN 'outcome_duplicate'
            WHEN baseline IS NULL OR candidate IS NULL THEN 'outcome_single' ELSE 'outcome_paired' END, 1 FROM scored
  UNION ALL SELECT part, win, unnest(['reports.' || arm, 'running_ms.' || arm, 'ooms.' || arm, 'restarts.' || arm,
                                'dropped.' || arm, 'memory_bytes.' || arm, 'memory_reports.' || arm]),
            unnest([1, running_ms, ooms, restarts, dropped, memory, CAST(memory > 0 AS BIGINT)]) FROM platformed
) GROUP BY ALL HAVING sum(n) <> 0;

CREATE TABLE binned AS
SELECT part, name, sum(n) AS n FROM (
  SELECT part, unnest(list_filter([
    CASE WHEN asked THEN 'paired' END, CASE WHEN asked THEN 'paired' END,
    CASE WHEN shed AND has_b THEN 'shed' END, CASE WHEN shed AND has_c THEN 'shed' END,
    CASE WHEN NOT shed AND NOT has_c THEN 'missing_candidate' END,
    CASE WHEN NOT shed AND NOT has_b THEN 'missing_baseline' END
  ], lambda k: k IS NOT NULL)) AS name, 1 AS n FROM judged
  UNION ALL SELECT part, 'duplicate', 1 FROM told WHERE repeated
  UNION ALL SELECT part, 'late', 1 FROM told WHERE late
  UNION ALL SELECT part, 'foreign', 1 FROM events e, rule r WHERE e.rollout <> r.rollout
  UNION ALL SELECT part, CASE WHEN place > 1 THEN 'outcome_duplicate' ELSE 'outcome' END, 1 FROM scored
  UNION ALL SELECT part, 'platform', 1 FROM platformed
  UNION ALL SELECT part, 'poison', 1 FROM unread
) GROUP BY ALL;

-- intend: a follow-up, due now if no other of its session is
INSERT INTO follow_ups (seq, handler, step, agent, session, operation, parameters, at, due_at)
SELECT :seq, :handler, :step, :agent, :session, :operation, :parameters, :now,
    CASE WHEN EXISTS (
        SELECT 1 FROM follow_ups WHERE agent = :agent AND session = :session
            AND state IN ('intended', 'sent', 'accepted') AND due_at IS NOT NULL
    ) THEN NULL ELSE :now END
ON CONFLICT DO NOTHING;

-- find_due: what is due, the longest due first
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because
FROM follow_ups WHERE due_at <= ? ORDER BY due_at LIMIT ?;

-- lease: a postponed due date
UPDATE follow_ups SET due_at = ?, lease = ? WHERE seq = ? AND handler = ? AND step = ?;

-- end_leases: of a daemon that is no more
UPDATE follow_ups SET due_at = min(due_at, ?), lease = 0 WHERE lease <> 0;

-- record: how far it has come, while it goes on under its lease
UPDATE follow_ups SET state = :state, attempts = :attempts, sent_at = :sent_at, after = :after,
    reference_id = :reference_id, because = :because, at = :now
WHERE seq = :seq AND handler = :handler AND step = :step AND lease = :lease;

-- let_go: due again at a time, or at once
UPDATE follow_ups SET due_at = :due_at, lease = 0 WHERE seq = :seq AND handler = :handler AND step = :step AND lease = :lease;

-- end: it has no due date any more
UPDATE follow_ups SET due_at = NULL, lease = 0 WHERE seq = :seq AND handler = :handler AND step = :step AND lease = :lease;

-- withdraw_rest: steps after one that didn't succeed
UPDATE follow_ups SET state = 'withdrawn', because = :because, due_at = NULL, at = :now
WHERE seq = :seq AND handler = :handler AND step > :step AND state = 'intended';

-- promote: the next one of a session is due
UPDATE follow_ups SET due_at = :now
WHERE (seq, handler, step) IN (
    SELECT seq, handler, step FROM follow_ups
    WHERE agent = :agent AND session = :session AND state IN ('intended', 'sent', 'accepted')
    ORDER BY seq, handler, step LIMIT 1
) AND due_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM follow_ups WHERE agent = :agent AND session = :session
        AND state IN ('intended', 'sent', 'accepted') AND due_at IS NOT NULL
);

-- next_due: when the next one is due
SELECT min(due_at) FROM follow_ups WHERE due_at IS NOT NULL;

-- notifications: of a session, after a place
SELECT seq, notification FROM entries WHERE session = ? AND agent = ? AND seq > ? ORDER BY seq;

-- read: for a person
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because,
    lease, at
FROM follow_ups
WHERE (:seq IS NULL OR seq = :seq) AND (:session IS NULL OR session = :session) ORDER BY seq, handler, step;

-- read_stuck: those that a person has to look at
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because,
    lease, at
FROM follow_ups WHERE state IN ('parked', 'failed') AND (:seq IS NULL OR seq = :seq) ORDER BY seq, handler, step;

-- revive: a person wants it tried again, with all its attempts
UPDATE follow_ups SET state = 'intended', attempts = 0, because = NULL, at = :now
WHERE seq = :seq AND handler = :handler AND step = :step AND state IN ('parked', 'failed');

-- revive_rest: the steps that were withdrawn with it
UPDATE follow_ups SET state = 'intended', attempts = 0, because = NULL, at = :now
WHERE seq = :seq AND handler = :handler AND step > :step AND state = 'withdrawn';

-- drop: withdrawn by a person
UPDATE follow_ups SET state = 'withdrawn', because = :because, at = :now
WHERE seq = :seq AND handler = :handler AND step = :step AND state IN ('parked', 'failed');

-- count: by state
SELECT state, count(*) FROM follow_ups GROUP BY state;

-- forget: with their entries
DELETE FROM follow_ups WHERE seq < ?;

-- intend: a follow-up; which one of its session is due, `promote` says
INSERT INTO follow_ups (seq, handler, step, agent, session, operation, parameters, at)
VALUES (:seq, :handler, :step, :agent, :session, :operation, :parameters, :now)
ON CONFLICT DO NOTHING;

-- find_due: what is due, the longest due first
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because
FROM follow_ups WHERE due_at <= ? ORDER BY due_at LIMIT ?;

-- lease: a postponed due date
UPDATE follow_ups SET due_at = ?, lease = ? WHERE seq = ? AND handler = ? AND step = ?;

-- end_leases: of a daemon that is no more
UPDATE follow_ups SET due_at = min(due_at, ?), lease = 0 WHERE due_at IS NOT NULL AND lease <> 0;

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

-- sessions_from: those of a step and of the steps after it
SELECT DISTINCT agent, session FROM follow_ups WHERE seq = :seq AND handler = :handler AND step >= :step;

-- step_back: what an earlier one goes before, unless it has begun
UPDATE follow_ups SET due_at = NULL
WHERE agent = :agent AND session = :session AND state IN ('intended', 'sent', 'accepted') AND due_at IS NOT NULL
    AND attempts = 0 AND lease = 0 AND (seq, handler, step) > (:seq, :handler, :step);

-- promote: the first one of a session is due, unless another has begun, or a step before it, on another session, is open
UPDATE follow_ups SET due_at = :now
WHERE (seq, handler, step) IN (
    SELECT seq, handler, step FROM follow_ups
    WHERE agent = :agent AND session = :session AND state IN ('intended', 'sent', 'accepted')
    ORDER BY seq, handler, step LIMIT 1
) AND NOT EXISTS (
    SELECT 1 FROM follow_ups WHERE agent = :agent AND session = :session
        AND state IN ('intended', 'sent', 'accepted') AND due_at IS NOT NULL
) AND NOT EXISTS (
    SELECT 1 FROM follow_ups AS before WHERE before.seq = follow_ups.seq AND before.handler = follow_ups.handler
        AND before.step < follow_ups.step AND before.state IN ('intended', 'sent', 'accepted')
);

-- next_due: when the next one is due
SELECT min(due_at) FROM follow_ups WHERE due_at IS NOT NULL;

-- read: for a person
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because,
    lease, at
FROM follow_ups
WHERE seq BETWEEN :first AND :last ORDER BY seq, handler, step;

-- read_session: those that were asked for at a session's entries, and those that act on it; each agent by the index
WITH RECURSIVE agents_here (agent) AS (
    SELECT min(agent) FROM follow_ups
    UNION ALL
    SELECT (SELECT min(agent) FROM follow_ups WHERE agent > agents_here.agent) FROM agents_here
    WHERE agents_here.agent IS NOT NULL
)
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because,
    lease, at
FROM follow_ups
WHERE seq IN (SELECT seq FROM entries WHERE session = :session AND (:agent IS NULL OR agent = :agent))
UNION
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because,
    lease, at
FROM follow_ups
WHERE session = :session AND agent IN (SELECT agent FROM agents_here WHERE :agent IS NULL OR agent = :agent)
ORDER BY 1, 2, 3;

-- read_changed: since a time, in that order
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because,
    lease, at
FROM follow_ups WHERE at >= ? ORDER BY at;

-- read_stuck: those that a person has to look at; the first of the lists is the index's
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because,
    lease, at
FROM follow_ups
WHERE state IN ('intended', 'sent', 'accepted', 'parked', 'failed')
    AND state IN ('parked', 'failed') AND (:seq IS NULL OR seq = :seq) ORDER BY seq, handler, step;

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

-- backlog: those that are open, or that a person has to look at, by state; the list is the index's
SELECT state, count(*) FROM follow_ups INDEXED BY follow_ups_stuck
WHERE state IN ('intended', 'sent', 'accepted', 'parked', 'failed') GROUP BY state;

-- forget: with their entries
DELETE FROM follow_ups WHERE seq < ?;

-- check: what there is to check of each
SELECT f.seq, f.handler, f.step, f.session, f.operation, f.parameters, f.state, f.due_at IS NOT NULL, e.seq IS NOT NULL
FROM follow_ups AS f LEFT JOIN entries AS e ON e.seq = f.seq ORDER BY f.seq, f.handler, f.step;

-- check_due: sessions of which several are due, or none though the first could be
SELECT 'follow-ups', count(due_at) || ' of session ' || session || ' are due, not one' FROM follow_ups
WHERE state IN ('intended', 'sent', 'accepted') GROUP BY agent, session HAVING count(due_at) > 1
UNION ALL
SELECT 'follow-ups', 'none of session ' || session || ' is due' FROM follow_ups AS first
WHERE state IN ('intended', 'sent', 'accepted') AND NOT EXISTS (
    SELECT 1 FROM follow_ups AS f WHERE f.agent = first.agent AND f.session = first.session
        AND f.state IN ('intended', 'sent', 'accepted')
        AND (f.due_at IS NOT NULL OR (f.seq, f.handler, f.step) < (first.seq, first.handler, first.step))
) AND NOT EXISTS (
    SELECT 1 FROM follow_ups AS before WHERE before.seq = first.seq AND before.handler = first.handler
        AND before.step < first.step AND before.state IN ('intended', 'sent', 'accepted')
);

-- shift: since the machine's time was set
UPDATE follow_ups SET due_at = due_at + ? WHERE due_at IS NOT NULL;

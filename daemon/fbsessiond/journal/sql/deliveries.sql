-- append: due at its time if it is the first of its session and handler, behind the others if not
INSERT INTO pending (handler, agent, session, seq, wanted_at, wait, due_at)
SELECT ?, ?, ?, ?, ?, ?,
    CASE WHEN EXISTS (SELECT 1 FROM pending WHERE handler = ? AND agent = ? AND session = ?) THEN NULL ELSE ? END;

-- find_due: the deliveries of a handler that are due, the longest due first
SELECT agent, session, seq, attempts, wanted_at, wait, lease FROM pending
WHERE handler = ? AND due_at <= ? ORDER BY due_at LIMIT ?;

-- lease: a postponed due date
UPDATE pending SET due_at = ?, lease = ? WHERE handler = ? AND agent = ? AND session = ? AND seq = ?;

-- go_behind: whatever else of the session and handler looks due
UPDATE pending SET due_at = NULL
WHERE handler = ? AND agent = ? AND session = ? AND seq <> ? AND due_at IS NOT NULL AND lease = 0;

-- end_leases: of a daemon that is no more
UPDATE pending SET due_at = min(due_at, ?), lease = 0 WHERE lease <> 0;

-- remove_pending: a delivery that is settled by the lease that it was given to
DELETE FROM pending WHERE handler = ? AND agent = ? AND session = ? AND seq = ? AND lease = ?;

-- append_settled: how a delivery ended
INSERT INTO settled (seq, handler, state, attempts, because, at) VALUES (?, ?, nullif(?, 'delivered'), ?, ?, ?);

-- promote: the next delivery of a session and handler is due, when it was to be
UPDATE pending SET due_at = wanted_at
WHERE handler = :handler AND agent = :agent AND session = :session AND due_at IS NULL AND seq = (
    SELECT min(seq) FROM pending WHERE handler = :handler AND agent = :agent AND session = :session
);

-- postpone: a delivery to be tried again; an interruption leaves the reason that the last attempt gave
UPDATE pending SET due_at = ?, lease = 0, attempts = ?, because = coalesce(?, because)
WHERE handler = ? AND agent = ? AND session = ? AND seq = ? AND lease = ?;

-- next_due: when a handler's deliveries are due, the next one first
SELECT agent, session, due_at FROM pending WHERE handler = ? AND due_at IS NOT NULL ORDER BY due_at LIMIT ?;

-- read: settled and pending, of the entries from one to another
SELECT d.seq, d.handler, e.agent, e.session, e.after, coalesce(d.state, 'delivered'), d.attempts, d.because, d.at, NULL
FROM settled AS d JOIN entries AS e ON e.seq = d.seq WHERE d.seq BETWEEN :first AND :last
UNION ALL
SELECT p.seq, p.handler, p.agent, p.session, e.after,
    CASE WHEN p.lease <> 0 THEN 'running' WHEN p.due_at IS NULL OR (p.wait IS NOT NULL AND p.attempts = 0) THEN 'waiting'
        ELSE 'due' END,
    p.attempts, p.because, coalesce(p.due_at, p.wanted_at), p.wait
FROM pending AS p JOIN entries AS e ON e.seq = p.seq WHERE p.seq BETWEEN :first AND :last
ORDER BY 1, 2;

-- read_session: the same of one session's entries, by their index
SELECT d.seq, d.handler, e.agent, e.session, e.after, coalesce(d.state, 'delivered'), d.attempts, d.because, d.at, NULL
FROM entries AS e JOIN settled AS d ON d.seq = e.seq
WHERE e.session = :session AND (:agent IS NULL OR e.agent = :agent)
UNION ALL
SELECT p.seq, p.handler, p.agent, p.session, e.after,
    CASE WHEN p.lease <> 0 THEN 'running' WHEN p.due_at IS NULL OR (p.wait IS NOT NULL AND p.attempts = 0) THEN 'waiting'
        ELSE 'due' END,
    p.attempts, p.because, coalesce(p.due_at, p.wanted_at), p.wait
FROM entries AS e JOIN pending AS p ON p.seq = e.seq
WHERE e.session = :session AND (:agent IS NULL OR e.agent = :agent)
ORDER BY 1, 2;

-- read_settled: since a time, in that order; what nobody wanted was never to be delivered
SELECT d.seq, d.handler, e.agent, e.session, e.after, coalesce(d.state, 'delivered'), d.attempts, d.because, d.at, NULL
FROM settled AS d JOIN entries AS e ON e.seq = d.seq
WHERE d.at >= ? AND coalesce(d.state, 'delivered') <> 'not_wanted' ORDER BY d.at;

-- read_dead: dead letters
SELECT d.seq, d.handler, e.agent, e.session, e.after, coalesce(d.state, 'delivered'), d.attempts, d.because, d.at, NULL
FROM settled AS d JOIN entries AS e ON e.seq = d.seq
WHERE d.state = 'dead' AND (:seq IS NULL OR d.seq = :seq) AND (:handler IS NULL OR d.handler = :handler)
ORDER BY d.seq, d.handler;

-- revive: a dead letter that is to be tried again
DELETE FROM settled WHERE seq = ? AND handler = ? AND state = 'dead';

-- step_back: what a revived delivery goes before, unless it runs
UPDATE pending SET due_at = NULL
WHERE handler = ? AND agent = ? AND session = ? AND seq > ? AND lease = 0;

-- append_revived: first of its session and handler, unless another one runs
INSERT INTO pending (handler, agent, session, seq, wanted_at, due_at)
SELECT :handler, :agent, :session, :seq, :now,
    CASE WHEN EXISTS (
        SELECT 1 FROM pending WHERE handler = :handler AND agent = :agent AND session = :session AND +due_at IS NOT NULL
    ) THEN NULL ELSE :now END;

-- drop: withdrawn by a person
UPDATE settled SET state = 'withdrawn', because = ?, at = ? WHERE seq = ? AND handler = ? AND state = 'dead';

-- count: deliveries by state
SELECT coalesce(state, 'delivered'), count(*) FROM settled GROUP BY state
UNION ALL
SELECT CASE WHEN lease <> 0 THEN 'running' WHEN due_at IS NULL OR (wait IS NOT NULL AND attempts = 0) THEN 'waiting'
    ELSE 'due' END AS state, count(*)
FROM pending GROUP BY 1;

-- backlog: how many of a handler's pending deliveries wait, are due and run, up to so many; grouping them takes longer
SELECT count(*) FILTER (WHERE lease = 0 AND (due_at IS NULL OR due_at > :now)),
    count(*) FILTER (WHERE lease = 0 AND due_at <= :now), count(*) FILTER (WHERE lease <> 0)
FROM (SELECT due_at, lease FROM pending WHERE handler = :handler LIMIT :most) AS counted;

-- count_dead: dead letters by handler
SELECT handler, count(*) FROM settled WHERE state = 'dead' GROUP BY handler;

-- check: deliveries of entries that aren't there, and sessions and handlers without or with several first ones
SELECT 'pending ' || handler, 'entry ' || seq || ' is missing' FROM pending
WHERE seq NOT IN (SELECT seq FROM entries)
UNION ALL
SELECT 'pending ' || handler, count(due_at) || ' deliveries of session ' || session || ' are due, not one'
FROM pending GROUP BY handler, agent, session HAVING count(due_at) <> 1;

-- forget: with their entries
DELETE FROM settled WHERE seq < ?;

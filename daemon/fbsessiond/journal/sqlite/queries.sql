-- fact: what the journal keeps about itself
SELECT value FROM facts WHERE name = ?;

-- last_numbers: where the counts of entries and of the quarantine go on
SELECT (SELECT coalesce(max(seq), 0) FROM entries), (SELECT coalesce(max(seq), 0) FROM quarantine);

-- append_entry: one notification
INSERT INTO entries (seq, received_at, origin, agent, channel, session, kind, before, after, notification, document, checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- keep_session: what is known of a session from here on; a state that stays keeps the time of its entry
INSERT INTO sessions (agent, session, state, since, seq) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (agent, session) DO UPDATE SET
    since = CASE WHEN state IS excluded.state THEN since ELSE excluded.since END,
    state = excluded.state, seq = excluded.seq, document = NULL, checksum = NULL;

-- append_delivery: due at its time if it is the first of its session and handler, behind the others if not
INSERT INTO pending (handler, agent, session, seq, wanted_at, due_at)
SELECT :handler, :agent, :session, :seq, :due_at,
    CASE WHEN EXISTS (
        SELECT 1 FROM pending WHERE handler = :handler AND agent = :agent AND session = :session
    ) THEN NULL ELSE :due_at END;

-- append_quarantined: one message that doesn't validate
INSERT INTO quarantine (seq, received_at, origin, agent, channel, error, raw, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- known: a session's last entry, or its document once that entry is forgotten
SELECT s.document, e.document, e.notification
FROM sessions AS s LEFT JOIN entries AS e ON e.seq = s.seq
WHERE s.agent = ? AND s.session = ?;

-- find_due: the deliveries of a handler that are due, the longest due first
SELECT p.attempts, p.wanted_at,
    e.seq, e.received_at, e.origin, e.agent, e.channel, e.session, e.kind, e.before, e.after, e.notification, e.document
FROM pending AS p JOIN entries AS e ON e.seq = p.seq
WHERE p.handler = ? AND p.due_at <= ? ORDER BY p.due_at LIMIT ?;

-- lease: a postponed due date
UPDATE pending SET due_at = ?, lease = ? WHERE handler = ? AND agent = ? AND session = ? AND seq = ?;

-- end_leases: of a daemon that is no more
UPDATE pending SET due_at = min(due_at, ?), lease = 0 WHERE lease <> 0;

-- remove_pending: a delivery that is settled by the lease that it was given to
DELETE FROM pending WHERE handler = ? AND agent = ? AND session = ? AND seq = ? AND lease = ?;

-- append_settled: how a delivery ended
INSERT INTO settled (seq, handler, agent, session, state, attempts, because, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- promote: the next delivery of a session and handler is due, when it was to be
UPDATE pending SET due_at = wanted_at
WHERE handler = :handler AND agent = :agent AND session = :session AND due_at IS NULL AND seq = (
    SELECT min(seq) FROM pending WHERE handler = :handler AND agent = :agent AND session = :session
);

-- postpone: a delivery to be tried again; an interruption leaves the reason that the last attempt gave
UPDATE pending SET due_at = ?, lease = 0, attempts = ?, because = coalesce(?, because)
WHERE handler = ? AND agent = ? AND session = ? AND seq = ? AND lease = ?;

-- next_due: when a handler's next delivery is due
SELECT min(due_at) FROM pending WHERE handler = ? AND due_at IS NOT NULL;

-- prune_range: the oldest entries, from the first up to the first that stays; the newest stays, so that the count goes on
WITH oldest AS (SELECT min(seq) AS first FROM entries)
SELECT first, (
    SELECT min(stays) FROM (
        SELECT first + :most AS stays
        UNION ALL SELECT max(seq) FROM entries
        UNION ALL SELECT min(seq) FROM pending
        UNION ALL SELECT min(seq) FROM follow_ups
            WHERE state IN ('intended', 'sent', 'accepted', 'parked', 'failed')
        UNION ALL SELECT min(seq) FROM entries WHERE seq < first + :most AND received_at >= :before
    )
) FROM oldest;

-- forget_finished: sessions that ended in an entry that goes
DELETE FROM sessions WHERE seq >= ? AND seq < ? AND state IN ('Completed', 'Revoked');

-- sessions_of_entries: sessions whose document goes with its entry, and has to be kept
SELECT s.agent, s.session, e.document, e.notification FROM sessions AS s JOIN entries AS e ON e.seq = s.seq
WHERE s.seq >= ? AND s.seq < ?;

-- keep_document: of a session whose entry goes
UPDATE sessions SET document = ?, checksum = ? WHERE agent = ? AND session = ?;

-- forget_entries: the oldest
DELETE FROM entries WHERE seq < ?;

-- forget_settled: with their entries
DELETE FROM settled WHERE seq < ?;

-- forget_quarantined: the oldest, by age alone; the newest stays, so that the count goes on
DELETE FROM quarantine WHERE received_at < ? AND seq < (SELECT min(seq) + ? FROM quarantine)
AND seq < (SELECT max(seq) FROM quarantine);

-- retries: what a person asked to read again
SELECT seq, received_at, origin, agent, channel, error, raw FROM quarantine WHERE state = 'retry' ORDER BY seq;

-- release_quarantined: it became entries
UPDATE quarantine SET state = 'released' WHERE seq = ?;

-- keep_quarantined: it still doesn't validate
UPDATE quarantine SET state = 'kept', error = ? WHERE seq = ?;

-- read_entries: for a person
SELECT seq, received_at, origin, agent, channel, session, kind, before, after, notification, document, checksum
FROM entries WHERE seq > :after_seq AND (:agent IS NULL OR agent = :agent) ORDER BY seq;

-- read_session: the same for one session, by its index
SELECT seq, received_at, origin, agent, channel, session, kind, before, after, notification, document, checksum
FROM entries WHERE session = :session AND seq > :after_seq AND (:agent IS NULL OR agent = :agent) ORDER BY seq;

-- read_deliveries: settled and pending, of the entries from one to another
SELECT d.seq, d.handler, d.agent, d.session, e.after, d.state, d.attempts, d.because, d.at
FROM settled AS d JOIN entries AS e ON e.seq = d.seq WHERE d.seq BETWEEN :first AND :last
UNION ALL
SELECT p.seq, p.handler, p.agent, p.session, e.after,
    CASE WHEN p.lease <> 0 THEN 'running' WHEN p.due_at IS NULL THEN 'waiting' ELSE 'due' END,
    p.attempts, p.because, coalesce(p.due_at, p.wanted_at)
FROM pending AS p JOIN entries AS e ON e.seq = p.seq WHERE p.seq BETWEEN :first AND :last
ORDER BY 1, 2;

-- read_dead: dead letters
SELECT d.seq, d.handler, d.agent, d.session, e.after, d.state, d.attempts, d.because, d.at
FROM settled AS d JOIN entries AS e ON e.seq = d.seq
WHERE d.state = 'dead' AND (:seq IS NULL OR d.seq = :seq) AND (:handler IS NULL OR d.handler = :handler)
ORDER BY d.seq, d.handler;

-- read_quarantined: what is still in it
SELECT seq, received_at, origin, agent, channel, error, raw FROM quarantine
WHERE state <> 'released' AND (:seq IS NULL OR seq = :seq) ORDER BY seq;

-- revive_dead: a dead letter that is to be tried again
DELETE FROM settled WHERE seq = ? AND handler = ? AND state = 'dead';

-- step_back: what a revived delivery goes before, unless it runs
UPDATE pending SET due_at = NULL
WHERE handler = ? AND agent = ? AND session = ? AND seq > ? AND lease = 0;

-- revive_delivery: first of its session and handler, unless another one runs
INSERT INTO pending (handler, agent, session, seq, wanted_at, due_at)
SELECT :handler, :agent, :session, :seq, :now,
    CASE WHEN EXISTS (
        SELECT 1 FROM pending WHERE handler = :handler AND agent = :agent AND session = :session AND +due_at IS NOT NULL
    ) THEN NULL ELSE :now END;

-- drop_dead: withdrawn by a person
UPDATE settled SET state = 'withdrawn', because = ?, at = ? WHERE seq = ? AND handler = ? AND state = 'dead';

-- retry_quarantined: asked by a person
UPDATE quarantine SET state = 'retry' WHERE seq = ? AND state <> 'released';

-- count_quarantined: how many are still in it
SELECT count(*) FROM quarantine WHERE state <> 'released';

-- count_sessions: how many are known
SELECT count(*) FROM sessions;

-- count_entries: how many, from where to where
SELECT count(*), min(seq), max(seq), min(received_at), max(received_at) FROM entries;

-- count_kinds: entries by kind
SELECT kind, count(*) FROM entries GROUP BY kind ORDER BY kind;

-- count_deliveries: deliveries by state
SELECT state, count(*) FROM settled GROUP BY state
UNION ALL
SELECT CASE WHEN lease <> 0 THEN 'running' WHEN due_at IS NULL THEN 'waiting' ELSE 'due' END AS state, count(*)
FROM pending GROUP BY 1;

-- check_quarantine: messages with their checksums
SELECT seq, received_at, origin, agent, channel, error, raw, checksum FROM quarantine ORDER BY seq;

-- check_documents: what is kept of sessions whose entries are forgotten, with its checksum
SELECT agent, session, document, checksum FROM sessions WHERE document IS NOT NULL;

-- check_pending: deliveries of entries that aren't there, and sessions and handlers without or with several first ones
SELECT 'pending ' || handler, 'entry ' || seq || ' is missing' FROM pending
WHERE seq NOT IN (SELECT seq FROM entries)
UNION ALL
SELECT 'pending ' || handler, count(due_at) || ' deliveries of session ' || session || ' are due, not one'
FROM pending GROUP BY handler, agent, session HAVING count(due_at) <> 1;

-- check_sessions: sessions whose document is nowhere
SELECT 'session ' || session, 'entry ' || seq || ' is missing' FROM sessions
WHERE document IS NULL AND seq NOT IN (SELECT seq FROM entries);

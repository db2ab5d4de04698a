-- entries.keep_session: IS compares values in SQLite alone
INSERT INTO sessions (agent, session, state, since, seq) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (agent, session) DO UPDATE SET
    since = CASE WHEN sessions.state IS NOT DISTINCT FROM excluded.state THEN sessions.since ELSE excluded.since END,
    state = excluded.state, seq = excluded.seq, document = NULL, checksum = NULL;

-- deliveries.find_due: of those that are equally long due the first entry's, as SQLite's index has them
SELECT agent, session, seq, attempts, wanted_at, wait, lease FROM pending
WHERE handler = ? AND due_at <= ? ORDER BY due_at, seq LIMIT ?;

-- deliveries.end_leases: min has one argument in PostgreSQL
UPDATE pending SET due_at = least(due_at, ?), lease = 0 WHERE lease <> 0;

-- deliveries.append_revived: without SQLite's hint for its planner
INSERT INTO pending (handler, agent, session, seq, wanted_at, due_at)
SELECT :handler, :agent, :session, :seq, :now,
    CASE WHEN EXISTS (
        SELECT 1 FROM pending WHERE handler = :handler AND agent = :agent AND session = :session AND due_at IS NOT NULL
    ) THEN NULL ELSE :now END;

-- follow_ups.find_due: of those that are equally long due the first one asked for
SELECT seq, handler, step, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because
FROM follow_ups WHERE due_at <= ? ORDER BY due_at, seq, handler, step LIMIT ?;

-- follow_ups.end_leases: as the deliveries'
UPDATE follow_ups SET due_at = least(due_at, ?), lease = 0 WHERE due_at IS NOT NULL AND lease <> 0;

-- follow_ups.backlog: without SQLite's hint for its planner
SELECT state, count(*) FROM follow_ups
WHERE state IN ('intended', 'sent', 'accepted', 'parked', 'failed') GROUP BY state;

-- quarantine.read: the same
SELECT seq, received_at, origin, agent, channel, error, raw FROM quarantine
WHERE state IN ('kept', 'retry') AND seq > :after_seq AND (:seq IS NULL OR seq = :seq) ORDER BY seq;

-- gaps.prove: max has one argument
UPDATE agents SET chain = :chain, proven_until = greatest(proven_until, :until), broken = NULL, position = :position
WHERE agent = :agent;

-- gaps.set_back_agent: least passes over NULL, which has to stay
UPDATE agents SET observed_since = least(observed_since, :now), proven_until = :now,
    compared_at = CASE WHEN compared_at > :now THEN :now ELSE compared_at END
WHERE agent = :agent;

-- gaps.set_back_gaps: min has one argument
UPDATE gaps SET begin_at = least(begin_at, :now), end_at = least(end_at, :now) WHERE agent = :agent AND end_at > :now;

-- gaps.break_chain: min and max have one
UPDATE agents SET broken = coalesce(broken, :cause), proven_until = CASE WHEN :since IS NULL THEN proven_until ELSE
    least(proven_until, greatest(:since, observed_since, coalesce((
        SELECT end_at FROM gaps WHERE gaps.agent = agents.agent ORDER BY id DESC LIMIT 1
    ), 0))) END
WHERE agent = :agent;

-- gaps.doubt: the same
UPDATE agents SET doubted = chain, chain = NULL, broken = 'silent', position = NULL,
    proven_until = least(proven_until, greatest(observed_since, coalesce(compared_at, 0), coalesce((
        SELECT end_at FROM gaps WHERE gaps.agent = agents.agent ORDER BY id DESC LIMIT 1
    ), 0)))
WHERE agent = ? AND chain IS NOT NULL;

-- gaps.forget_observed: the same
UPDATE agents SET observed_since = least(:before, proven_until) WHERE observed_since < least(:before, proven_until);

-- retention.forget_entries: and count what they held
WITH gone AS (
    DELETE FROM entries WHERE seq < ? RETURNING octet_length(notification) + coalesce(octet_length(document), 0) AS bytes
)
UPDATE counters SET bytes = counters.bytes - (SELECT coalesce(sum(gone.bytes), 0) FROM gone);

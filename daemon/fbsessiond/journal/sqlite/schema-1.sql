-- Times are microseconds since 1970, UTC. A delivery that isn't settled is a row of `pending`, one that is, of `settled`.
-- What has no checksum stands once more in an index, in full: `PRAGMA integrity_check` compares the two, and so notices
-- a bit that flips in either. No code has to keep it up to date, and it costs less than a checksum made in Python.

CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX facts_in_full ON facts (value);

-- What entries are packed by: each says which one by its number. The last is used for new ones.
CREATE TABLE dictionaries (
    number INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,           -- the first entry that is packed by it
    content BLOB NOT NULL,
    checksum INTEGER NOT NULL       -- CRC-32 of all the other columns
) STRICT;

CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,        -- dense
    received_at INTEGER NOT NULL,
    origin TEXT NOT NULL,
    agent TEXT NOT NULL,
    channel TEXT,
    session TEXT,
    kind TEXT NOT NULL,
    before TEXT,
    after TEXT,
    notification BLOB NOT NULL,     -- word for word, packed
    document BLOB,                  -- the session's merged document, packed; where the notification's part isn't all of it
    checksum INTEGER NOT NULL       -- CRC-32 of all the other columns, unpacked
) STRICT;

CREATE INDEX entries_by_session ON entries (session, seq) WHERE session IS NOT NULL;

-- What is known of each session: the document of entry `seq`, kept here once that entry is forgotten.
CREATE TABLE sessions (
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    state TEXT,
    since INTEGER,                  -- when it entered the state
    seq INTEGER NOT NULL,
    document BLOB,
    checksum INTEGER,               -- CRC-32 of agent, session and document, where the document is here
    PRIMARY KEY (agent, session)
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_in_full ON sessions (seq, state, since, checksum);     -- but for the document
CREATE INDEX sessions_open ON sessions (agent, session) WHERE state NOT IN ('Completed', 'Revoked', 'Vanished');

-- What is proved of the time in which it was listened for each agent. Between two chains of proofs lies a gap.
CREATE TABLE agents (
    agent TEXT PRIMARY KEY,
    observed_since INTEGER NOT NULL,
    proven_until INTEGER NOT NULL,  -- the last proof
    chain TEXT,                     -- which it belongs to
    doubted TEXT,                   -- a chain whose proofs count for nothing
    broken TEXT,                    -- why nothing is proved now: the cause of the gap that is open
    compared_at INTEGER,            -- when the agent's sessions were last found as they are known here
    position BLOB                   -- where the source can go on
) STRICT, WITHOUT ROWID;

CREATE INDEX agents_in_full ON agents (observed_since, proven_until, chain, doubted, broken, compared_at, position);

CREATE TABLE gaps (
    id INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,
    begin_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    cause TEXT NOT NULL,
    closed_by TEXT                  -- NULL: what was missed isn't known yet
) STRICT;

CREATE INDEX gaps_in_full ON gaps (agent, begin_at, end_at, cause, closed_by);
CREATE INDEX gaps_unclosed ON gaps (agent, id) WHERE closed_by IS NULL;

-- The key's order makes the first delivery of a session and handler one step away.
CREATE TABLE pending (
    handler TEXT NOT NULL,
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    seq INTEGER NOT NULL,
    wanted_at INTEGER NOT NULL,     -- when it is first due
    wait TEXT,                      -- for what until then: `for` (its state has to last), `once_after` (a throttle)
    due_at INTEGER,                 -- when it is due now; NULL behind an earlier delivery of its session
    lease INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    because TEXT,
    PRIMARY KEY (handler, agent, session, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_due ON pending (handler, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX pending_in_full ON pending (seq, handler, wanted_at, wait, due_at, lease, attempts, because);
CREATE INDEX pending_clocks ON pending (agent, session) WHERE wait = 'for';

CREATE TABLE settled (
    seq INTEGER NOT NULL,
    handler TEXT NOT NULL,
    state TEXT,                     -- NULL: delivered, as nearly all are
    attempts INTEGER NOT NULL,
    because TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (seq, handler)
) STRICT, WITHOUT ROWID;

CREATE INDEX settled_in_full ON settled (at, state, attempts, because);    -- by time, for who watches
CREATE INDEX settled_dead ON settled (seq, handler) WHERE state = 'dead';

-- Of several transitions one counts: which one, and until when the others don't.
CREATE TABLE throttles (
    handler TEXT NOT NULL,
    grouping TEXT NOT NULL,         -- what is counted together
    until INTEGER NOT NULL,
    seq INTEGER NOT NULL,           -- the entry that counts
    PRIMARY KEY (handler, grouping)
) STRICT, WITHOUT ROWID;

CREATE INDEX throttles_in_full ON throttles (until, seq);

CREATE TABLE quarantine (
    seq INTEGER PRIMARY KEY,        -- dense, by itself
    received_at INTEGER NOT NULL,
    origin TEXT NOT NULL,
    agent TEXT NOT NULL,
    channel TEXT,
    error TEXT NOT NULL,
    raw BLOB NOT NULL,              -- word for word
    state TEXT NOT NULL DEFAULT 'kept',     -- or: retry (a person asked), released (it became entries), dropped
    checksum INTEGER NOT NULL       -- CRC-32 of received_at, origin, agent, channel and raw
) STRICT;

CREATE INDEX quarantine_in_full ON quarantine (state, seq, error);     -- but for what its checksum covers

-- What handlers asked for. Of each session only the first open one has a due date: GWS is asked one thing at a time.
CREATE TABLE follow_ups (
    seq INTEGER NOT NULL,
    handler TEXT NOT NULL,
    step INTEGER NOT NULL,          -- from 1, in the order in which the handler asked
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    operation TEXT NOT NULL,
    parameters TEXT NOT NULL,       -- JSON
    state TEXT NOT NULL DEFAULT 'intended',
    attempts INTEGER NOT NULL DEFAULT 0,
    sent_at INTEGER,
    after INTEGER NOT NULL DEFAULT 0,
    reference_id INTEGER,
    because TEXT,
    due_at INTEGER,                 -- NULL behind an earlier one of its session, or once it has ended
    lease INTEGER NOT NULL DEFAULT 0,
    at INTEGER NOT NULL,            -- when it was asked for, or last changed
    PRIMARY KEY (seq, handler, step)
) STRICT, WITHOUT ROWID;

CREATE INDEX follow_ups_in_full ON follow_ups (
    at, agent, session, operation, parameters, state, attempts, sent_at, after, reference_id, because, due_at, lease
);
CREATE INDEX follow_ups_by_session ON follow_ups (agent, session);
CREATE INDEX follow_ups_due ON follow_ups (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX follow_ups_open ON follow_ups (agent, session, seq, handler, step)
    WHERE state IN ('intended', 'sent', 'accepted');
CREATE INDEX follow_ups_stuck ON follow_ups (seq) WHERE state IN ('intended', 'sent', 'accepted', 'parked', 'failed');

-- What persons did with what was given up, written with it. Forgotten by age alone.
CREATE TABLE acts (
    id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,          -- 42/audit, 42/wrap-up/1, quarantine/3
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    kind TEXT NOT NULL,             -- retry, drop
    because TEXT
) STRICT;

CREATE INDEX acts_in_full ON acts (subject, at, by, kind, because);
CREATE INDEX acts_by_time ON acts (at);

-- Who had customer data shown, written before any is. Never forgotten.
CREATE TABLE reveals (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    command TEXT NOT NULL,
    is_passed_on INTEGER NOT NULL DEFAULT 0     -- to the handlers, for the audit file
) STRICT;

CREATE INDEX reveals_in_full ON reveals (at, by, command, is_passed_on);
CREATE INDEX reveals_to_pass_on ON reveals (id) WHERE is_passed_on = 0;

-- Times are microseconds since 1970, UTC. Text is compared byte for byte, as in every other engine. Pages have checksums
-- where the cluster was made with them: `initdb --data-checksums`.

CREATE TABLE facts (
    name text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

-- Where the numbers go on. Whoever writes has this row locked until its transaction ends: one at a time.
CREATE TABLE counters (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    last_seq bigint NOT NULL DEFAULT 0,
    last_quarantined bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,      -- another one after each transaction
    bytes bigint NOT NULL DEFAULT 0         -- what the entries hold
);

INSERT INTO counters DEFAULT VALUES;

-- Who writes, and which version came of its last transaction: whether one was committed, though nobody heard of it.
CREATE TABLE writers (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0
);

CREATE TABLE dictionaries (
    number bigint PRIMARY KEY,
    seq bigint NOT NULL,
    content bytea NOT NULL,
    checksum bigint NOT NULL
);

CREATE TABLE entries (
    seq bigint PRIMARY KEY,         -- dense
    received_at bigint NOT NULL,
    origin text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    channel text COLLATE "C",
    session text COLLATE "C",
    kind text COLLATE "C" NOT NULL,
    before text COLLATE "C",
    after text COLLATE "C",
    notification bytea NOT NULL,
    document bytea,
    checksum bigint NOT NULL
);

ALTER TABLE entries ALTER notification SET STORAGE EXTERNAL, ALTER document SET STORAGE EXTERNAL;   -- packed already
CREATE INDEX entries_by_session ON entries (session, seq) WHERE session IS NOT NULL;

CREATE TABLE sessions (
    agent text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    state text COLLATE "C",
    since bigint,
    seq bigint NOT NULL,
    document bytea,
    checksum bigint,
    PRIMARY KEY (agent, session)
);

CREATE INDEX sessions_by_seq ON sessions (seq);
CREATE INDEX sessions_open ON sessions (agent, session) WHERE state NOT IN ('Completed', 'Revoked', 'Vanished');

CREATE TABLE agents (
    agent text COLLATE "C" PRIMARY KEY,
    observed_since bigint NOT NULL,
    proven_until bigint NOT NULL,
    chain text COLLATE "C",
    doubted text COLLATE "C",
    broken text COLLATE "C",
    compared_at bigint,
    position bytea
);

CREATE TABLE gaps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent text COLLATE "C" NOT NULL,
    begin_at bigint NOT NULL,
    end_at bigint NOT NULL,
    cause text COLLATE "C" NOT NULL,
    closed_by text COLLATE "C"
);

CREATE INDEX gaps_by_agent ON gaps (agent, id);

CREATE TABLE pending (
    handler text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    wanted_at bigint NOT NULL,
    wait text COLLATE "C",
    due_at bigint,
    lease bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    because text COLLATE "C",
    PRIMARY KEY (handler, agent, session, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE INDEX pending_due ON pending (handler, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX pending_by_seq ON pending (seq);
CREATE INDEX pending_clocks ON pending (agent, session) WHERE wait = 'for';

CREATE TABLE settled (
    seq bigint NOT NULL,
    handler text COLLATE "C" NOT NULL,
    state text COLLATE "C",         -- NULL: delivered
    attempts bigint NOT NULL,
    because text COLLATE "C",
    at bigint NOT NULL,
    PRIMARY KEY (seq, handler)
);

CREATE INDEX settled_by_time ON settled (at);
CREATE INDEX settled_dead ON settled (seq, handler) WHERE state = 'dead';

CREATE TABLE throttles (
    handler text COLLATE "C" NOT NULL,
    grouping text COLLATE "C" NOT NULL,
    until bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (handler, grouping)
);

CREATE INDEX throttles_by_time ON throttles (until);

CREATE TABLE quarantine (
    seq bigint PRIMARY KEY,
    received_at bigint NOT NULL,
    origin text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL,
    channel text COLLATE "C",
    error text COLLATE "C" NOT NULL,
    raw bytea NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'kept',
    checksum bigint NOT NULL
);

CREATE INDEX quarantine_by_state ON quarantine (state, seq);

CREATE TABLE follow_ups (
    seq bigint NOT NULL,
    handler text COLLATE "C" NOT NULL,
    step bigint NOT NULL,
    agent text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    parameters text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'intended',
    attempts bigint NOT NULL DEFAULT 0,
    sent_at bigint,
    after bigint NOT NULL DEFAULT 0,
    reference_id bigint,
    because text COLLATE "C",
    due_at bigint,
    lease bigint NOT NULL DEFAULT 0,
    at bigint NOT NULL,
    PRIMARY KEY (seq, handler, step)
);

CREATE INDEX follow_ups_by_time ON follow_ups (at);
CREATE INDEX follow_ups_by_session ON follow_ups (agent, session);
CREATE INDEX follow_ups_due ON follow_ups (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX follow_ups_open ON follow_ups (agent, session, seq, handler, step)
    WHERE state IN ('intended', 'sent', 'accepted');
CREATE INDEX follow_ups_stuck ON follow_ups (seq)
    WHERE state IN ('intended', 'sent', 'accepted', 'parked', 'failed');

CREATE TABLE acts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    by text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    because text COLLATE "C"
);

CREATE INDEX acts_by_subject ON acts (subject, at);
CREATE INDEX acts_by_time ON acts (at);

CREATE TABLE reveals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    by text COLLATE "C" NOT NULL,
    command text COLLATE "C" NOT NULL,
    is_passed_on bigint NOT NULL DEFAULT 0
);

CREATE INDEX reveals_to_pass_on ON reveals (id) WHERE is_passed_on = 0;

-- last_seq: where the count goes on
SELECT coalesce(max(seq), 0) FROM entries;

-- append: one notification
INSERT INTO entries (seq, received_at, origin, agent, channel, session, kind, before, after, notification, document, checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,
    pack(?, (SELECT max(number) FROM dictionaries)), pack(?, (SELECT max(number) FROM dictionaries)), ?);

-- keep_session: what is known of a session from here on; a state that stays keeps the time of its entry
INSERT INTO sessions (agent, session, state, since, seq) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (agent, session) DO UPDATE SET
    since = CASE WHEN state IS excluded.state THEN since ELSE excluded.since END,
    state = excluded.state, seq = excluded.seq, document = NULL, checksum = NULL;

-- known: a session's last entry, or its document once that entry is forgotten
SELECT s.document, unpack(e.document), unpack(e.notification)
FROM sessions AS s LEFT JOIN entries AS e ON e.seq = s.seq
WHERE s.agent = ? AND s.session = ?;

-- open_sessions: those of an agent that could still change, with their states
SELECT session, state FROM sessions WHERE agent = ? AND state NOT IN ('Completed', 'Revoked', 'Vanished') ORDER BY session;

-- standing: of each session that could still change, the entry that brought it to its state
SELECT e.seq, e.received_at, e.origin, e.agent, e.channel, e.session, e.kind, e.before, e.after,
    unpack(e.notification), unpack(e.document)
FROM sessions AS s JOIN entries AS e ON e.seq = (
    SELECT max(seq) FROM entries WHERE session = s.session AND agent = s.agent AND kind = 'transition'
)
WHERE s.state NOT IN ('Completed', 'Revoked', 'Vanished') ORDER BY e.seq;

-- shown: whether a notification showed a session after a place; new messages don't
SELECT EXISTS (SELECT 1 FROM entries WHERE session = ? AND agent = ? AND seq > ? AND kind <> 'messages');

-- notifications: of a session, after a place
SELECT seq, unpack(notification) FROM entries WHERE session = ? AND agent = ? AND seq > ? ORDER BY seq;

-- read: for a person
SELECT seq, received_at, origin, agent, channel, session, kind, before, after, unpack(notification), unpack(document),
    checksum
FROM entries WHERE seq > :after_seq AND (:agent IS NULL OR agent = :agent) ORDER BY seq;

-- read_one: by its number
SELECT seq, received_at, origin, agent, channel, session, kind, before, after, unpack(notification), unpack(document)
FROM entries WHERE seq = ?;

-- read_session: the same for one session, by its index
SELECT seq, received_at, origin, agent, channel, session, kind, before, after, unpack(notification), unpack(document),
    checksum
FROM entries WHERE session = :session AND seq > :after_seq AND (:agent IS NULL OR agent = :agent) ORDER BY seq;

-- read_back: from the last one
SELECT seq, received_at FROM entries ORDER BY seq DESC;

-- read_sessions: as last known, the latest first
SELECT agent, session, state, since, seq FROM sessions ORDER BY seq DESC;

-- read_open_sessions: those that could still change, by their index
SELECT agent, session, state, since, seq FROM sessions WHERE state NOT IN ('Completed', 'Revoked', 'Vanished');

-- next_clock: of a session, the one that ends next
SELECT handler, wanted_at FROM pending
WHERE agent = ? AND session = ? AND wait = 'for' AND lease = 0 AND attempts = 0 ORDER BY wanted_at LIMIT 1;

-- count: how many, from where to where
SELECT count(*), min(seq), max(seq), min(received_at), max(received_at) FROM entries;

-- count_kinds: entries by kind
SELECT kind, count(*) FROM entries GROUP BY kind ORDER BY kind;

-- count_sessions: how many are known
SELECT count(*) FROM sessions;

-- check_documents: what is kept of sessions whose entries are forgotten, with its checksum
SELECT agent, session, document, checksum FROM sessions WHERE document IS NOT NULL;

-- check_sessions: sessions whose document is nowhere
SELECT 'session ' || session, 'entry ' || seq || ' is missing' FROM sessions
WHERE document IS NULL AND seq NOT IN (SELECT seq FROM entries);

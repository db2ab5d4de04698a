-- last_seq: where the count goes on
SELECT coalesce(max(seq), 0) FROM quarantine;

-- append: one message that doesn't validate
INSERT INTO quarantine (seq, received_at, origin, agent, channel, error, raw, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- retries: what a person asked to read again
SELECT seq, received_at, origin, agent, channel, error, raw FROM quarantine WHERE state = 'retry' ORDER BY seq;

-- release: it became entries, unless a person dropped it meanwhile
UPDATE quarantine SET state = 'released' WHERE seq = ? AND state = 'retry';

-- keep: it still doesn't validate
UPDATE quarantine SET state = 'kept', error = ? WHERE seq = ? AND state = 'retry';

-- read: what is still in it
SELECT seq, received_at, origin, agent, channel, error, raw FROM quarantine
WHERE +state IN ('kept', 'retry') AND seq > :after_seq AND (:seq IS NULL OR seq = :seq) ORDER BY seq;

-- retry: asked by a person
UPDATE quarantine SET state = 'retry' WHERE seq = ? AND state IN ('kept', 'retry');

-- drop: by a person; it stays until its age has it forgotten
UPDATE quarantine SET state = 'dropped' WHERE seq = ? AND state IN ('kept', 'retry');

-- count: how many are still in it
SELECT count(*) FROM quarantine WHERE state IN ('kept', 'retry');

-- check: messages with their checksums
SELECT seq, received_at, origin, agent, channel, error, raw, checksum FROM quarantine ORDER BY seq;

-- forget: the oldest, by age alone; the newest stays, so that the count goes on
DELETE FROM quarantine WHERE received_at < ? AND seq < (SELECT min(seq) + ? FROM quarantine)
AND seq < (SELECT max(seq) FROM quarantine);

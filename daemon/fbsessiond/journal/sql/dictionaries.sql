-- check: all of them, with their checksums
SELECT number, seq, content, checksum FROM dictionaries ORDER BY number;

-- read: one, with its checksum
SELECT number, seq, content, checksum FROM dictionaries WHERE number = ?;

-- append: for the entries from now on
INSERT INTO dictionaries (number, seq, content, checksum) VALUES (?, ?, ?, ?);

-- present: the one by which new entries are packed, and the number of the oldest entry
SELECT number, seq, (SELECT min(seq) FROM entries) FROM dictionaries ORDER BY number DESC LIMIT 1;

-- sample: a session's notification
SELECT session, unpack(notification) FROM entries WHERE seq = ? AND session IS NOT NULL;

-- forget: all before the one by which the oldest entry is packed
DELETE FROM dictionaries WHERE number < (
    SELECT max(number) FROM dictionaries WHERE seq <= (SELECT min(seq) FROM entries)
);

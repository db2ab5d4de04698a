-- range: the oldest entries, from the first up to the first that stays; the newest stays, so that the count goes on
WITH oldest AS (SELECT min(seq) AS first FROM entries)
SELECT first, (
    SELECT min(stays) FROM (
        SELECT first + :most AS stays
        UNION ALL SELECT max(seq) FROM entries
        UNION ALL SELECT min(seq) FROM pending
        UNION ALL SELECT min(seq) FROM follow_ups
            WHERE state IN ('intended', 'sent', 'accepted', 'parked', 'failed')
        UNION ALL SELECT min(seq) FROM entries WHERE seq < first + :most AND received_at >= :before
    ) AS bounds
) FROM oldest;

-- forget_finished: sessions that ended in an entry that goes
DELETE FROM sessions WHERE seq >= ? AND seq < ? AND state IN ('Completed', 'Revoked', 'Vanished');

-- sessions_of_entries: sessions whose document goes with its entry, and has to be kept
SELECT s.agent, s.session, unpack(e.document), unpack(e.notification) FROM sessions AS s JOIN entries AS e ON e.seq = s.seq
WHERE s.seq >= ? AND s.seq < ?;

-- keep_document: of a session whose entry goes
UPDATE sessions SET document = ?, checksum = ? WHERE agent = ? AND session = ?;

-- forget_entries: the oldest
DELETE FROM entries WHERE seq < ?;

-- remove: a delivery that is withdrawn before it was due
DELETE FROM pending WHERE handler = ? AND agent = ? AND session = ? AND seq = ?;

-- clocks_of_session: those that haven't fired when a session leaves its state; unseen, also the one of that state whose time has come
SELECT handler, agent, session, seq, wanted_at FROM pending
WHERE agent = :agent AND session = :session AND wait = 'for' AND lease = 0 AND attempts = 0
    AND (wanted_at > :at OR (:unseen AND NOT EXISTS (
        SELECT 1 FROM entries AS e
        WHERE e.agent = :agent AND e.session = :session AND e.kind = 'transition'
            AND e.seq > pending.seq AND e.seq < :seq
    )));

-- clocks_of_handler: all that haven't fired
SELECT handler, agent, session, seq, wanted_at FROM pending
WHERE handler = ? AND wait = 'for' AND lease = 0 AND attempts = 0;

-- entries_of_clocks: what these came from
SELECT e.seq, e.received_at, e.origin, e.agent, e.channel, e.session, e.kind, e.before, e.after,
    unpack(e.notification), unpack(e.document)
FROM pending AS p JOIN entries AS e ON e.seq = p.seq
WHERE p.handler = ? AND p.wait = 'for' AND p.lease = 0 AND p.attempts = 0;

-- set_clock: to another time; behind another delivery it has none yet
UPDATE pending SET wanted_at = :at, due_at = CASE WHEN due_at IS NULL THEN NULL ELSE :at END
WHERE handler = :handler AND agent = :agent AND session = :session AND seq = :seq;

-- fate: whether there is or was a delivery
SELECT 1 FROM settled WHERE seq = :seq AND handler = :handler
UNION ALL SELECT 1 FROM pending WHERE seq = :seq AND handler = :handler;

-- forget_refusal: of a handler that wants it now
DELETE FROM settled WHERE seq = ? AND handler = ? AND state = 'not_wanted';

-- throttle: the entry that counts now, in a pause that hasn't ended
SELECT seq, until FROM throttles WHERE handler = ? AND grouping = ? AND until > ?;

-- set_throttle: which entry counts, until when
INSERT INTO throttles (handler, grouping, until, seq) VALUES (?, ?, ?, ?)
ON CONFLICT (handler, grouping) DO UPDATE SET until = excluded.until, seq = excluded.seq;

-- held_by_throttle: what another takes the place of
SELECT handler, agent, session, seq, wanted_at FROM pending
WHERE seq = ? AND handler = ? AND wait = 'once_after' AND lease = 0 AND attempts = 0;

-- forget_throttles: whose pause has ended
DELETE FROM throttles WHERE until <= ?;

-- shift: whatever is to happen later, since the machine's time was set
UPDATE pending SET wanted_at = wanted_at + :by, due_at = due_at + :by;

-- shift_throttles: the same for these
UPDATE throttles SET until = until + ?;

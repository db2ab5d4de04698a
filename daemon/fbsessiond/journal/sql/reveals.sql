-- note: before anything is shown
INSERT INTO reveals (at, by, command) VALUES (?, ?, ?);

-- read: all of them
SELECT id, at, by, command FROM reveals ORDER BY id;

-- to_pass_on: what no handler was told yet
SELECT id, at, by, command FROM reveals WHERE is_passed_on = 0 ORDER BY id;

-- pass_on: all handlers were told
UPDATE reveals SET is_passed_on = 1 WHERE id = ?;

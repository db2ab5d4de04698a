-- append: written with what was done
INSERT INTO acts (subject, at, by, kind, because) VALUES (?, ?, ?, ?, ?);

-- read: all of them
SELECT subject, at, by, kind, because FROM acts ORDER BY id;

-- read_subject: what was done with one, by its index
SELECT subject, at, by, kind, because FROM acts WHERE subject = ? ORDER BY id;

-- forget: the oldest, by age alone
DELETE FROM acts WHERE at < ? AND id < (SELECT min(id) + ? FROM acts);

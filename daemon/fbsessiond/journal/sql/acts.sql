-- append: written with what was done
INSERT INTO acts (subject, at, by, kind, because) VALUES (?, ?, ?, ?, ?);

-- read: all of them, by time
SELECT subject, at, by, kind, because FROM acts ORDER BY at, id;

-- read_subject: what was done with one, by its index
SELECT subject, at, by, kind, because FROM acts WHERE subject = :subject AND (:since IS NULL OR at >= :since) ORDER BY at;

-- read_since: what was done since a time, by its index
SELECT subject, at, by, kind, because FROM acts WHERE at >= :since ORDER BY at, id;

-- forget: the oldest, by age alone
DELETE FROM acts WHERE at < ? AND id < (SELECT min(id) + ? FROM acts);

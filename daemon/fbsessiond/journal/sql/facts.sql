-- read: what the journal keeps about itself
SELECT value FROM facts WHERE name = ?;

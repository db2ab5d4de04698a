-- check: all of them, with their checksums
SELECT number, seq, content, checksum FROM dictionaries ORDER BY number;

-- read: one, with its checksum
SELECT number, seq, content, checksum FROM dictionaries WHERE number = ?;

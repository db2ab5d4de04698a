-- check: all of them, with their checksums
SELECT number, seq, content, checksum FROM dictionaries;

-- read: one, with its checksum
SELECT number, seq, content, checksum FROM dictionaries WHERE number = ?;

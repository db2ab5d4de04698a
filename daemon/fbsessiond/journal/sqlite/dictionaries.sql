-- check: all of them, with their checksums
SELECT number, seq, content, checksum FROM dictionaries;

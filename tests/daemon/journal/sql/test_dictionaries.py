import sqlite3

import pytest

from fbsessiond.journal.packing import shipped_dictionary
from fbsessiond.journal.sql import dictionaries
from fbsessiond.journal.sql.rows import CHANGED, checksum


def test_dictionary(connection: sqlite3.Connection) -> None:
    """A journal begins with the dictionary that comes with it; what was changed or is lost is none."""
    assert dictionaries.dictionary(connection, 1) == shipped_dictionary()
    with pytest.raises(LookupError, match="the journal's dictionary 2 is lost"):
        dictionaries.dictionary(connection, 2)
    connection.execute("UPDATE dictionaries SET seq = 2")
    with pytest.raises(ValueError, match="dictionary 1: its checksum doesn't fit"):
        dictionaries.dictionary(connection, 1)


def test_check(connection: sqlite3.Connection) -> None:
    """A dictionary that was changed is found, and one that is missing."""
    assert list(dictionaries.check(connection)) == []
    third = (3, 1, b"")
    connection.execute("INSERT INTO dictionaries VALUES (?, ?, ?, ?)", (*third, checksum(third)))
    connection.execute("UPDATE dictionaries SET seq = 2 WHERE number = 1")
    assert [(finding.where, finding.what) for finding in dictionaries.check(connection)] == [
        ("dictionary 1", CHANGED),
        ("dictionary 3", "follows dictionary 1: those between them are missing"),
    ]
    connection.execute("DELETE FROM dictionaries")
    (finding,) = dictionaries.check(connection)
    assert finding.where == "the dictionaries"

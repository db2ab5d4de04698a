import sqlite3

from fbsessiond.journal.sqlite import dictionaries


def test_check(connection: sqlite3.Connection) -> None:
    """A dictionary that was changed is found."""
    assert list(dictionaries.check(connection)) == []
    connection.execute("UPDATE dictionaries SET seq = 2")
    (finding,) = dictionaries.check(connection)
    assert finding.where == "dictionary 1"

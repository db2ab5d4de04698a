import sqlite3

from fbsessiond.journal.sql.connection import Connection  # noqa: TC001  what it is about


def test_sqlite_as_it_is(connection: sqlite3.Connection) -> None:
    """Python's own sqlite3 is such a connection, without anything between."""
    plain: Connection = connection
    assert plain.execute("SELECT value FROM facts WHERE name = :name", {"name": "nothing"}).fetchone() is None
    assert plain.executemany("INSERT INTO facts VALUES (?, ?)", [("one", b"1"), ("two", b"2")]).rowcount == 2
    assert list(plain.execute("SELECT value FROM facts WHERE name = ?", ("two",))) == [(b"2",)]

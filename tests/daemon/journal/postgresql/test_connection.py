from collections.abc import Iterator
from contextlib import closing

import pytest
import zstandard

from fbsessiond.journal.learning import _numbered  # pyright: ignore[reportPrivateUsage]
from fbsessiond.journal.packing import shipped_dictionary
from fbsessiond.journal.postgresql.connection import Reading, Writing
from fbsessiond.journal.postgresql.database import Database
from fbsessiond.journal.postgresql.engine import PostgresqlJournal
from fbsessiond.journal.sql.rows import checksum
from journal_parts import NOW

APPEND = "INSERT INTO facts (name, value) VALUES (?, pack(?, (SELECT max(number) FROM dictionaries)))"
READ = "SELECT name, unpack(value) FROM facts WHERE name = :name"


@pytest.fixture
def database(url: str) -> Database:
    """Return a database with a journal."""
    PostgresqlJournal(Database(url), NOW).close()
    return Database(url)


@pytest.fixture
def writing(database: Database) -> Iterator[Writing]:
    """Connect to write."""
    with closing(database.connect()) as connection:
        yield Writing(connection)


@pytest.fixture
def reading(database: Database) -> Iterator[Reading]:
    """Connect to read."""
    with closing(database.connect()) as connection:
        yield Reading(connection)


@pytest.mark.parametrize("text", ["", "Zoë\u2028\U0001fae9", "a\0b\0", "%s ? :name"])
def test_text(writing: Writing, text: str) -> None:
    """Text comes back as it was written, whatever is in it."""
    assert writing.execute("SELECT ? || ''", (text,)).fetchone() == (text,)


def test_packed(writing: Writing, reading: Reading) -> None:
    """What is packed takes less room, and is unpacked when it is read."""
    content = b'{"messageType":"FacebooksessionStateChangeMessage"}' * 20
    assert writing.executemany(APPEND, [("one", content), ("two", b"")]).rowcount == 2
    for connection in (writing, reading):
        assert connection.execute(READ, {"name": "one"}).fetchone() == ("one", content)
        assert list(connection.execute(READ, {"name": "two"})) == [("two", b"")]
        assert connection.execute(READ, {"name": "three"}).fetchall() == []
    (stored,) = reading.execute("SELECT octet_length(value) FROM facts WHERE name = 'one'").fetchone()
    assert stored < len(content) / 4
    assert writing.packed_bytes >= stored


def test_damaged(writing: Writing, reading: Reading) -> None:
    """What is damaged stays as it is, and what isn't there is nothing."""
    writing.execute("INSERT INTO facts VALUES ('one', 'damaged')")
    assert reading.execute(READ, {"name": "one"}).fetchone() == ("one", b"damaged")
    assert reading.execute("SELECT unpack(position) FROM (SELECT NULL::bytea AS position) AS one").fetchone() == (None,)


def test_another_dictionary(writing: Writing) -> None:
    """What comes after a new dictionary is packed by that; where there is none at all, nothing can be packed."""
    content = b"words that are in the dictionary, and nowhere else" * 4
    writing.execute(APPEND, ("one", content))
    learned = _numbered(shipped_dictionary(), 2)
    writing.execute("INSERT INTO dictionaries VALUES (2, 9, ?, ?)", (learned, checksum((2, 9, learned))))
    writing.execute(APPEND, ("two", content))
    rows = writing.execute("SELECT value FROM facts WHERE name IN ('one', 'two') ORDER BY name").fetchall()
    assert [zstandard.get_frame_parameters(value).dict_id for (value,) in rows] == [1, 2]
    assert writing.execute(READ, {"name": "two"}).fetchone() == ("two", content)
    writing.execute("DELETE FROM dictionaries")
    writing.renew()
    with pytest.raises(LookupError, match="the journal's dictionaries are lost"):
        writing.execute(APPEND, ("three", content))


def test_pipelined(writing: Writing) -> None:
    """What is sent without waiting has all run in the end; a result that is looked at before is waited for."""
    with writing.pipelined():
        writing.execute("BEGIN")
        cursor = writing.execute("UPDATE facts SET name = name WHERE name = ?", ("identity",))
        assert (cursor.rowcount, cursor.rowcount) == (1, 1)
        assert writing.execute("SELECT 1").fetchone() == (1,)
    writing.execute("COMMIT")


def test_rows_changed(reading: Reading) -> None:
    """A connection to read can change something, once that is looked at."""
    assert reading.execute("UPDATE facts SET name = name WHERE name = ?", ("identity",)).rowcount == 1


def test_streams(reading: Reading) -> None:
    """What is gone through is read in pieces, several at a time, each as it was when it was begun."""
    one, two = (iter(reading.execute("SELECT generate_series(1, ?)", (2_500,))) for _ in range(2))
    assert (next(one), next(two)) == ((1,), (1,))
    assert (sum(1 for _ in one), sum(1 for _ in two)) == (2_499, 2_499)
    assert not reading.connection.info.transaction_status


def test_stream_of_a_lost_connection(reading: Reading) -> None:
    """What is left in the midst can be ended after its connection was closed."""
    rows = iter(reading.execute("SELECT generate_series(1, 2500)"))
    assert next(rows) == (1,)
    reading.connection.close()
    rows.close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

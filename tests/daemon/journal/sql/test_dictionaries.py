import sqlite3
from pathlib import Path

import pytest
import zstandard

from daemon.journal.suite.engine import prune, verified
from fbsessiond.journal.learning import SAMPLE_BYTES, SAMPLES
from fbsessiond.journal.packing import shipped_dictionary
from fbsessiond.journal.records import Draft
from fbsessiond.journal.sql import dictionaries
from fbsessiond.journal.sql.rows import CHANGED, checksum
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.reader import SqliteReader
from journal_parts import NOW, after, append, draft, noise, other, repeat


def test_dictionary(connection: sqlite3.Connection) -> None:
    """A journal begins with the dictionary that comes with it; what was changed or is lost is none."""
    assert dictionaries.dictionary(connection, 1) == shipped_dictionary()
    with pytest.raises(LookupError, match="the journal's dictionary 2 is lost"):
        dictionaries.dictionary(connection, 2)
    connection.execute("UPDATE dictionaries SET seq = 2")
    with pytest.raises(ValueError, match="dictionary 1: its checksum doesn't fit"):
        dictionaries.dictionary(connection, 1)
    connection.execute("DELETE FROM dictionaries")
    with pytest.raises(LookupError, match="the journal's dictionaries are lost"):
        dictionaries.renew(connection, 1, 0)


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


ATTACHED = {f"Site_Attribute_{key}": "default" for key in range(40)}


def attached(count: int, first: int = 0) -> list[Draft]:
    """Return transitions of so many sessions of a site that attaches data of its own."""
    return [draft(f"S{number}", "Chatting", userData=ATTACHED) for number in range(first, first + count)]


def packed_by(connection: sqlite3.Connection) -> list[int]:
    """Return the number of the dictionary by which each entry is packed."""
    rows = connection.execute("SELECT notification FROM entries ORDER BY seq")
    return [zstandard.get_frame_parameters(row[0]).dict_id for row in rows]


def numbers(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Return the numbers of the dictionaries, each with its first entry."""
    return connection.execute("SELECT number, seq FROM dictionaries ORDER BY number").fetchall()


@pytest.fixture(autouse=True)
def _look_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionaries, "LOOK_EVERY", SAMPLES)


async def test_renewed(path: Path) -> None:
    """Once it pays, new entries are packed by a dictionary that was learned; old ones stay readable, all is whole."""
    journal = SqliteJournal(path, NOW)
    await append(journal, *attached(SAMPLES - 1))
    await journal.prune(NOW, None)
    assert numbers(journal.connection) == [(1, 1)]
    await append(journal, *attached(1, SAMPLES - 1))
    for first in (SAMPLES, 2 * SAMPLES):
        await journal.prune(NOW, None)
        assert numbers(journal.connection) == [(1, 1), (2, SAMPLES + 1)]
        await append(journal, *attached(SAMPLES, first))
    assert packed_by(journal.connection) == [1] * SAMPLES + [2] * 2 * SAMPLES
    journal.close()
    reader = SqliteReader(path)
    assert verified(reader) == []
    assert all(
        entry.notification == attached(1, int(str(entry.session)[1:]))[0].message.data for entry in reader.entries()
    )
    reader.close()


async def test_outlived(path: Path) -> None:
    """A dictionary goes when all that it was learned from is forgotten, and with the last entry that it packs."""
    journal = SqliteJournal(path, NOW)
    await append(journal, *attached(SAMPLES))
    await journal.prune(NOW, None)
    await append(journal, *attached(3, SAMPLES), at=after(60))
    await prune(journal, after(30))
    for _ in range(2):
        await journal.prune(after(30), None)
        assert numbers(journal.connection) == [(2, SAMPLES + 1), (3, SAMPLES + 4)]
    await append(journal, other(), at=after(90))
    await prune(journal, after(90))
    await journal.prune(after(90), None)
    assert numbers(journal.connection) == [(3, SAMPLES + 4)]
    assert packed_by(journal.connection) == [3]
    assert dictionaries.dictionary(journal.connection, 3)[8:] == shipped_dictionary()[8:]
    assert verified(journal.reader()) == []
    journal.close()


async def test_samples(path: Path) -> None:
    """It is learned from notifications of different sessions that aren't too long; from too few, nothing is."""
    journal = SqliteJournal(path, NOW)
    await append(journal, *[repeat() for _ in range(SAMPLES)], *[other() for _ in range(SAMPLES)])
    long = [draft(f"S{number}", comment=noise(SAMPLE_BYTES)) for number in range(SAMPLES)]
    await append(journal, *long, *attached(SAMPLES - 1))
    await journal.prune(NOW, None)
    assert numbers(journal.connection) == [(1, 1)]
    journal.close()

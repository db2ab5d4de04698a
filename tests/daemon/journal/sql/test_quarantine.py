import sqlite3

from fbsessiond.journal.records import Misfit
from fbsessiond.journal.sql import quarantine
from fbsessiond.journal.sql.rows import CHANGED, to_microseconds
from fbsessiond.message import Batch, Origin
from journal_parts import after, misfit


def append(connection: sqlite3.Connection, *misfits: Misfit, seconds: float = 0) -> None:
    """Put messages into the quarantine."""
    batch = Batch("agent1", Origin.LIVE, after(seconds), tuple(one.message for one in misfits))
    quarantine.append(connection, batch, misfits, quarantine.last_seq(connection) + 1)


def numbers(connection: sqlite3.Connection, seq: int | None = None) -> list[int]:
    """Return what is in the quarantine."""
    return [one.seq for one in quarantine.read(connection, seq=seq)]


def test_kept(connection: sqlite3.Connection) -> None:
    """The quarantine has a count of its own, and keeps each message word for word, with the reason."""
    assert quarantine.last_seq(connection) == 0
    append(connection, misfit(b"\xff", "why"), misfit())
    append(connection, misfit(), seconds=5)
    assert quarantine.last_seq(connection) == 3
    assert numbers(connection) == [1, 2, 3]
    assert numbers(connection, 2) == [2]
    assert quarantine.count(connection) == 3
    first = next(quarantine.read(connection, seq=1))
    assert (first.raw, first.error, first.agent, first.received_at) == (b"\xff", "why", "agent1", after(0))


def test_retry(connection: sqlite3.Connection) -> None:
    """What a person asks for is read again: it leaves, or stays with another reason; once it left it can't be."""
    append(connection, misfit(), misfit(), misfit())
    assert quarantine.retries(connection) == []
    assert quarantine.retry(connection, 3)
    assert quarantine.retry(connection, 1)
    assert not quarantine.retry(connection, 4)
    assert [one.seq for one in quarantine.retries(connection)] == [1, 3]
    quarantine.release(connection, 1)
    quarantine.keep(connection, 3, "still broken")
    assert quarantine.retries(connection) == []
    assert not quarantine.retry(connection, 1)
    assert [(one.seq, one.error) for one in quarantine.read(connection, seq=None)] == [
        (2, "isn't JSON"),
        (3, "still broken"),
    ]
    assert quarantine.count(connection) == 2


def test_check(connection: sqlite3.Connection) -> None:
    """Checking finds a message that was changed; the reason may be another."""
    append(connection, misfit(), misfit())
    quarantine.keep(connection, 1, "another reason")
    assert list(quarantine.check(connection)) == []
    connection.execute("UPDATE quarantine SET raw = x'00' WHERE seq = 2")
    assert [(finding.where, finding.what) for finding in quarantine.check(connection)] == [("quarantine 2", CHANGED)]


def test_forget(connection: sqlite3.Connection) -> None:
    """What is old goes, so many at a time, but for the newest message."""
    append(connection, misfit(), misfit(), misfit())
    append(connection, misfit(), misfit(), seconds=5)
    quarantine.forget(connection, to_microseconds(after(5)), 2)
    assert numbers(connection) == [3, 4, 5]
    quarantine.forget(connection, to_microseconds(after(5)), 2)
    assert numbers(connection) == [4, 5]
    quarantine.forget(connection, to_microseconds(after(6)), 9)
    assert numbers(connection) == [5]


def test_dropped(connection: sqlite3.Connection) -> None:
    """What is dropped is in it no more, and isn't read again; a count goes on after it."""
    append(connection, misfit(), misfit())
    assert quarantine.retry(connection, 1)
    assert quarantine.drop(connection, 1)
    assert not quarantine.drop(connection, 1)
    assert not quarantine.release(connection, 1)
    assert not quarantine.keep(connection, 1, "still broken")
    assert numbers(connection) == [2]
    assert [one.seq for one in quarantine.read(connection, seq=None, after_seq=2)] == []
    assert (quarantine.count(connection), quarantine.last_seq(connection)) == (1, 2)

from collections.abc import Iterator
from contextlib import closing

import pytest

from daemon.journal.suite.engine import verified
from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.journal.postgresql.database import Database
from fbsessiond.journal.postgresql.engine import PostgresqlJournal
from fbsessiond.journal.postgresql.reader import PostgresqlReader
from journal_parts import NOW, append, draft, kill, misfit, retry
from postgresql_server import Server


@pytest.fixture
def journal(url: str) -> Iterator[PostgresqlJournal]:
    """Open the test's journal."""
    with closing(PostgresqlJournal(Database(url), NOW)) as journal:
        yield journal


@pytest.fixture
def reader(url: str, journal: PostgresqlJournal) -> Iterator[PostgresqlReader]:
    """Read what the journal writes."""
    assert journal
    with closing(PostgresqlReader(Database(url))) as reader:
        yield reader


def test_nothing(url: str) -> None:
    """Where no journal is, there is nothing to read, and nothing is made."""
    for _ in range(2):
        with pytest.raises(JournalError, match="there is no journal here"):
            PostgresqlReader(Database(url))


def test_older_version(url: str, journal: PostgresqlJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of an older version is brought up to date by the daemon, and not by who reads it."""
    assert journal
    monkeypatch.setattr("fbsessiond.journal.postgresql.reader.SCHEMA_VERSION", 2)
    with pytest.raises(JournalError, match="has version 1, and this program reads version 2: start the daemon once"):
        PostgresqlReader(Database(url))


async def test_version(journal: PostgresqlJournal, reader: PostgresqlReader) -> None:
    """The version differs after the daemon's changes and after a person's."""
    versions = [reader.version()]
    await append(journal, draft("S1", "Invited", "log"))
    await kill(journal)
    versions.append(reader.version())
    (dead,) = reader.dead()
    assert retry(reader, dead)
    versions.append(reader.version())
    assert len(set(versions)) == 3
    assert reader.version() == versions[-1]


async def test_several_at_a_time(journal: PostgresqlJournal, reader: PostgresqlReader) -> None:
    """Several can be read at a time, each as it was when it was begun, and left before their end."""
    await append(journal, *[draft(f"S{number}", "Invited", "log") for number in range(2_500)])
    entries, deliveries = reader.entries(), reader.deliveries()
    assert (next(entries).seq, next(deliveries).seq) == (1, 1)
    await append(journal, draft("S1", "Chatting"))
    assert sum(1 for _ in reader.entries()) == 2_501
    assert sum(1 for _ in entries) == 2_499
    del deliveries
    assert reader.statistics().entries == 2_501


async def test_lost(journal: PostgresqlJournal, reader: PostgresqlReader, server: Server) -> None:
    """A look during which the connection is lost is an error; the next one is through a new connection."""
    await append(journal, draft("S1"))
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fbsessiond'")
    with pytest.raises(JournalError, match="can't read the journal"):
        reader.version()
    assert [entry.seq for entry in reader.entries()] == [1]


async def test_lost_numbers(journal: PostgresqlJournal, reader: PostgresqlReader, server: Server, url: str) -> None:
    """Verifying finds that the last entries are gone."""
    await append(journal, draft("S1", "Completed"), draft("S2", "Completed"), misfit())
    assert verified(reader) == []
    schema = url.rpartition("%3D")[2]
    server.run(f"DELETE FROM {schema}.entries WHERE seq = 2")  # noqa: S608  ours
    assert Finding("counters", "don't agree with the last entry, or the last message in the quarantine") in verified(
        reader
    )

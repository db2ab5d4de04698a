import asyncio
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import datetime

import psycopg
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from daemon.journal.conformance import DurableConformance
from daemon.journal.suite.engine import Engine, verified
from daemon.journal.suite.follow_up_model import DurableFollowUpHistories
from daemon.journal.suite.gap_model import DurableGapHistories
from daemon.journal.suite.model import DurableHistories
from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.postgresql.connection import Writing
from fbsessiond.journal.postgresql.database import Database
from fbsessiond.journal.postgresql.engine import PostgresqlJournal
from fbsessiond.journal.postgresql.link import Link
from fbsessiond.journal.postgresql.reader import PostgresqlReader
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.rows import CHANGED
from journal_parts import NOW, append, draft, lease, misfit, seqs
from postgresql_server import Server

SERVERS: list[Server] = []
"""The one that runs: a state machine can't be given any."""


class InDatabase(Engine):
    """A journal in a database."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)

    def open(self, now: datetime) -> Journal:
        """Connect as the daemon does."""
        return PostgresqlJournal(self.database, now)

    def read(self, journal: Journal) -> Reader:
        """Connect as a reading verb does."""
        assert journal
        return PostgresqlReader(self.database)


class TestInDatabase(DurableConformance):
    @pytest.fixture
    def engine(self, url: str) -> Engine:
        """Return a journal in a schema of its own."""
        return InDatabase(url)


class HistoriesInDatabase(DurableHistories):
    """Histories of a journal in a database."""

    def make_engine(self) -> Engine:
        """Return a new journal."""
        return InDatabase(SERVERS[-1].new_url())


class FollowUpHistoriesInDatabase(DurableFollowUpHistories):
    """Histories of follow-ups in a journal in a database."""

    def make_engine(self) -> Engine:
        """Return a new journal."""
        return InDatabase(SERVERS[-1].new_url())


class GapHistoriesInDatabase(DurableGapHistories):
    """Histories of the ledger of gaps in a journal in a database."""

    def make_engine(self) -> Engine:
        """Return a new journal."""
        return InDatabase(SERVERS[-1].new_url())


@pytest.mark.parametrize("histories", [HistoriesInDatabase, FollowUpHistoriesInDatabase, GapHistoriesInDatabase])
def test_histories(histories: type[RuleBasedStateMachine], server: Server) -> None:
    """A journal in a database does what the model does, whatever happens in whichever order."""
    SERVERS.append(server)
    run_state_machine_as_test(histories, settings=settings(max_examples=8, stateful_step_count=30, deadline=None))


@pytest.fixture
def journal(url: str) -> Iterator[PostgresqlJournal]:
    """Open the test's journal."""
    with closing(PostgresqlJournal(Database(url), NOW)) as journal:
        yield journal


def sessions(journal: Journal) -> list[tuple[int, str | None]]:
    """Return each entry's number and session."""
    return [(entry.seq, entry.session) for entry in journal.reader().entries()]


async def test_together(journal: PostgresqlJournal) -> None:
    """What is submitted while a transaction is under way becomes one more, however much it is."""
    steps: list[str] = []

    @contextmanager
    def timed(step: str) -> Generator[None, None, None]:
        steps.append(step)
        yield

    journal.time_with(timed)
    first = asyncio.create_task(append(journal, draft("S0")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(first, *[append(journal, draft(f"S{number}")) for number in range(1, 50)])
    assert steps == ["commit", "commit"]
    assert sessions(journal) == [(number + 1, f"S{number}") for number in range(50)]


async def test_restart(journal: PostgresqlJournal, server: Server) -> None:
    """What is submitted while the server is down is written when it is up again, once; nobody is told before."""
    await append(journal, draft("S1", "Invited", "log"))
    server.stop("immediate")
    submitted = asyncio.create_task(append(journal, draft("S2", "Invited", "log")))
    looked = asyncio.create_task(journal.known("agent1", "S1"))
    await asyncio.wait([submitted, looked], timeout=0.5)
    assert not submitted.done()
    server.start()
    assert await submitted == 2
    assert await looked == {"id": "S1", "state": "Invited"}
    assert sessions(journal) == [(1, "S1"), (2, "S2")]
    assert seqs(await lease(journal)) == [1, 2]


@pytest.mark.parametrize("was_committed", [True, False])
async def test_unknown_outcome(
    journal: PostgresqlJournal, monkeypatch: pytest.MonkeyPatch, was_committed: bool
) -> None:
    """A connection that is lost in a commit is no reason to do it twice, nor to say that it is done when it isn't."""
    commit = PostgresqlJournal.commit
    lost: list[int] = []

    def commit_unheard(self: PostgresqlJournal, writing: Writing) -> None:
        if lost:
            commit(self, writing)
            return
        lost.append(1)
        if was_committed:
            commit(self, writing)
        writing.connection.close()
        raise psycopg.OperationalError("the connection is lost")

    await append(journal, draft("S1"))
    monkeypatch.setattr(PostgresqlJournal, "commit", commit_unheard)
    assert await append(journal, draft("S2", "Invited", "log"), misfit()) == 2
    assert lost == [1]
    assert await append(journal, draft("S3")) == 3
    assert sessions(journal) == [(1, "S1"), (2, "S2"), (3, "S3")]
    assert [one.seq for one in journal.reader().quarantined()] == [1]
    assert verified(journal.reader()) == []


async def test_ended_in_a_transaction(journal: PostgresqlJournal, server: Server) -> None:
    """A session that is ended in the midst of a transaction leaves nothing; all of it is done again."""

    def end_once(connection: Connection) -> None:
        if ended:
            return
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        ended.append(pid)
        server.run(f"SELECT pg_terminate_backend({pid})")

    ended: list[int] = []
    appending = append(journal, draft("S1"), draft("S2"))
    await asyncio.gather(appending, journal._submit(end_once), append(journal, draft("S3")))  # pyright: ignore[reportPrivateUsage]
    assert len(ended) == 1
    assert sessions(journal) == [(1, "S1"), (2, "S2"), (3, "S3")]


async def test_read_only(journal: PostgresqlJournal, server: Server) -> None:
    """A server that can't be written for a while is waited for."""
    with server.read_only():
        submitted = asyncio.create_task(append(journal, draft("S1")))
        await asyncio.wait([submitted], timeout=0.3)
        assert not submitted.done()
    assert await submitted == 1


async def test_closed_while_the_server_is_down(url: str, server: Server) -> None:
    """A journal can be closed while its server is down: what wasn't written is refused."""
    journal = PostgresqlJournal(Database(url), NOW)
    server.stop("immediate")
    try:
        submitted = asyncio.create_task(append(journal, draft("S1")))
        await asyncio.wait([submitted], timeout=0.1)
        journal.close()
        with pytest.raises(JournalError, match="the journal is closed"):
            await submitted
        with pytest.raises(JournalError, match="the journal is closed"):
            await journal.known("agent1", "S1")
    finally:
        server.start()


async def test_two_daemons(journal: PostgresqlJournal, url: str) -> None:
    """One daemon at a time writes a journal."""
    assert journal.space() is None
    with pytest.raises(JournalError, match="another fbsessiond writes this journal"):
        PostgresqlJournal(Database(url), NOW)


async def test_taken_over(journal: PostgresqlJournal, url: str, server: Server) -> None:
    """A daemon whose connection was lost, and whose journal another one has opened since, writes nothing more."""
    await append(journal, draft("S1"))
    failed = asyncio.create_task(journal.failed())
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fbsessiond'")
    with closing(PostgresqlJournal(Database(url), NOW)) as another:
        with pytest.raises(JournalError, match="another fbsessiond"):
            await append(journal, draft("S2"))
        assert "another fbsessiond" in str(await failed)
        assert await append(another, draft("S3")) == 2


async def test_failed(journal: PostgresqlJournal, server: Server, url: str) -> None:
    """What the database refuses for good ends the journal's use, and is told without its password."""
    schema = url.rpartition("%3D")[2]
    server.run(f"DROP TABLE {schema}.pending")
    with pytest.raises(JournalError, match='the journal failed: relation "pending" does not exist'):
        await append(journal, draft("S1", "Invited", "log"))
    with pytest.raises(JournalError, match="the journal failed"):
        await append(journal, draft("S1"))


async def test_damaged(journal: PostgresqlJournal, server: Server, url: str) -> None:
    """What can't be read any more is a failure, too."""
    schema = url.rpartition("%3D")[2]
    await append(journal, draft("S1"))
    server.run(f"UPDATE {schema}.entries SET notification = 'damaged'")  # noqa: S608  ours
    with pytest.raises(JournalError, match="the notification can't be read"):
        await journal.known("agent1", "S1")
    with closing(PostgresqlReader(Database(url))) as reader:
        assert verified(reader) == [Finding("entry 1", CHANGED)]


async def test_reopened(url: str) -> None:
    """Under one claim a journal can be opened again, after a failure, too; leases have other numbers then."""
    with closing(Link(Database(url), is_writer=True)) as link:
        numbers: list[int] = []

        def broken(_: Connection) -> None:
            raise ValueError("broken")

        for number in range(2):
            with closing(PostgresqlJournal(Database(url), NOW, claimed=link)) as journal:
                await append(journal, draft(f"S{number}", "Invited", "log"))
                numbers += [one.number for one in await lease(journal)]
                with pytest.raises(JournalError, match="broken"):
                    await journal._submit(broken)  # pyright: ignore[reportPrivateUsage]
    assert len(set(numbers)) == 3

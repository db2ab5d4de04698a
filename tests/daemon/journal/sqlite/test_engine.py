import asyncio
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from daemon.journal.conformance import DurableConformance
from daemon.journal.suite.engine import Engine, verified
from daemon.journal.suite.follow_up_model import DurableFollowUpHistories, FollowUpHistories
from daemon.journal.suite.follow_ups import ask, comment, lease_follow_ups
from daemon.journal.suite.gap_model import DurableGapHistories, GapHistories
from daemon.journal.suite.model import DurableHistories, Histories
from fbsessiond.errors import JournalError
from fbsessiond.gap import Proof
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryState, Quarantined, Settlement
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY, Lock
from fbsessiond.journal.sqlite.leases import WRITTEN_WITHIN
from fbsessiond.journal.sqlite.reader import SqliteReader
from fbsessiond.message import Batch, Origin
from fbsessiond.testing import run_virtual
from journal_parts import NOW, after, append, draft, kill, lease, misfit, noise, other, retry_quarantined, settle


class InMemory(Engine):
    """Journals in memory, gone when they are closed."""

    def open(self, now: datetime) -> Journal:
        """Open a new one."""
        return SqliteJournal(MEMORY, now)

    def read(self, journal: Journal) -> Reader:
        """Read through the journal's own connection."""
        return journal.reader()


class InFile(Engine):
    """A journal in a file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"

    def open(self, now: datetime) -> Journal:
        """Open the file as the daemon does."""
        return SqliteJournal(self.path, now)

    def read(self, journal: Journal) -> Reader:
        """Open the file as a reading verb does."""
        assert journal
        return SqliteReader(self.path)


class TestInFile(DurableConformance):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        """Return a journal in a file."""
        return InFile(tmp_path)


class HistoriesInMemory(Histories):
    """Histories of a journal in memory."""

    def make_engine(self) -> Engine:
        """Return journals in memory."""
        return InMemory()


class HistoriesInFile(DurableHistories):
    """Histories of a journal in a file."""

    def make_engine(self) -> Engine:
        """Return a journal in a new file."""
        self.folder = tempfile.TemporaryDirectory()
        return InFile(Path(self.folder.name))

    def teardown(self) -> None:
        """Close everything, and remove the file."""
        super().teardown()
        self.folder.cleanup()


class FollowUpHistoriesInMemory(FollowUpHistories):
    """Histories of follow-ups in a journal in memory."""

    def make_engine(self) -> Engine:
        """Return journals in memory."""
        return InMemory()


class FollowUpHistoriesInFile(DurableFollowUpHistories):
    """Histories of follow-ups in a journal in a file."""

    def make_engine(self) -> Engine:
        """Return a journal in a new file."""
        self.folder = tempfile.TemporaryDirectory()
        return InFile(Path(self.folder.name))

    def teardown(self) -> None:
        """Close everything, and remove the file."""
        super().teardown()
        self.folder.cleanup()


class GapHistoriesInMemory(GapHistories):
    """Histories of the ledger of gaps in a journal in memory."""

    def make_engine(self) -> Engine:
        """Return journals in memory."""
        return InMemory()


class GapHistoriesInFile(DurableGapHistories):
    """Histories of the ledger of gaps in a journal in a file."""

    def make_engine(self) -> Engine:
        """Return a journal in a new file."""
        self.folder = tempfile.TemporaryDirectory()
        return InFile(Path(self.folder.name))

    def teardown(self) -> None:
        """Close everything, and remove the file."""
        super().teardown()
        self.folder.cleanup()


TestHistoriesInMemory = HistoriesInMemory.TestCase
TestHistoriesInMemory.settings = settings(max_examples=30, stateful_step_count=30)
TestHistoriesInFile = HistoriesInFile.TestCase
TestHistoriesInFile.settings = settings(max_examples=15, stateful_step_count=30)
TestFollowUpHistoriesInMemory = FollowUpHistoriesInMemory.TestCase
TestFollowUpHistoriesInMemory.settings = settings(max_examples=40, stateful_step_count=40)
TestFollowUpHistoriesInFile = FollowUpHistoriesInFile.TestCase
TestFollowUpHistoriesInFile.settings = settings(max_examples=15, stateful_step_count=40)
TestGapHistoriesInMemory = GapHistoriesInMemory.TestCase
TestGapHistoriesInMemory.settings = settings(max_examples=80, stateful_step_count=40)
TestGapHistoriesInFile = GapHistoriesInFile.TestCase
TestGapHistoriesInFile.settings = settings(max_examples=15, stateful_step_count=40)


def counts(connection: sqlite3.Connection) -> tuple[int, ...]:
    """Return how much there is of everything."""
    tables = ("entries", "sessions", "pending", "settled", "quarantine")
    return tuple(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)  # noqa: S608  ours


def traced(journal: SqliteJournal) -> list[str]:
    """Return a list that the journal's statements are put into from now on."""
    statements: list[str] = []
    journal.connection.set_trace_callback(statements.append)
    return statements


def test_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals in memory stand side by side, and leave nothing on disk."""
    monkeypatch.chdir(tmp_path)
    with closing(SqliteJournal(MEMORY, NOW)) as one, closing(SqliteJournal(MEMORY, NOW)) as another:
        assert one.identity != another.identity
    assert list(tmp_path.iterdir()) == []


async def test_one_commit(journal: SqliteJournal, path: Path) -> None:
    """A batch is one commit, synced to disk: until it, another process sees nothing, and after it, all."""
    another = sqlite3.connect(path)
    seen: list[tuple[int, ...]] = []
    journal.connection.set_trace_callback(lambda _statement: seen.append(counts(another)))
    await append(journal, draft("S1", "Invited", "log", "audit"), draft("S2"), misfit())
    assert len(seen) > 6
    assert set(seen) == {(0, 0, 0, 0, 0)}
    assert counts(another) == (2, 2, 2, 0, 1)
    assert journal.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    another.close()


async def test_proof_in_the_commit(journal: SqliteJournal, path: Path) -> None:
    """What a batch proves is written in its commit: not before its entries are on disk."""
    await journal.watch("agent1", NOW)
    another = sqlite3.connect(path)
    seen: set[tuple[int, ...]] = set()
    query = "SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM gaps), (SELECT count(chain) FROM agents)"
    journal.connection.set_trace_callback(lambda _statement: seen.add(another.execute(query).fetchone()))
    one = draft("S1")
    await journal.append(Batch("agent1", Origin.LIVE, NOW, (one.message,), Proof("A", NOW, after(1))), [one], ())
    assert seen == {(0, 0, 0)}
    assert another.execute(query).fetchone() == (1, 1, 1)
    another.close()


async def test_shared_commit(journal: SqliteJournal) -> None:
    """All that is submitted while the event loop goes round once shares one commit; each caller gets its own result."""
    await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "audit"))
    (one,) = await lease(journal)
    statements = traced(journal)
    _, leases, *_ = await asyncio.gather(
        append(journal, draft("S3")),
        journal.lease("audit", 9, NOW, after(60)),
        settle(journal, one),
        append(journal, draft("S4")),
    )
    assert [one.entry.seq for one in leases] == [2]
    assert statements.count("COMMIT") == 1
    await append(journal, draft("S5"))
    assert statements.count("COMMIT") == 2


async def test_settlement_and_promotion(journal: SqliteJournal, path: Path) -> None:
    """How a delivery ended, and that the next one is due, is one commit."""
    await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    (one,) = await lease(journal)
    another = sqlite3.connect(path)
    seen: list[tuple[int, ...]] = []
    journal.connection.set_trace_callback(lambda _statement: seen.append(counts(another)))
    await settle(journal, one)
    assert set(seen) == {(2, 1, 2, 0, 0)}
    assert counts(another) == (2, 1, 1, 1, 0)
    another.close()


async def test_settlement_and_follow_ups(journal: SqliteJournal, path: Path) -> None:
    """What a handler asks for is written in the commit that settles its delivery."""
    another = sqlite3.connect(path)
    seen: list[list[tuple[int, int]]] = []

    def look() -> None:
        query = "SELECT (SELECT count(*) FROM settled), (SELECT count(*) FROM follow_ups)"
        seen.append(another.execute(query).fetchall())

    journal.connection.set_trace_callback(lambda _statement: look())
    await ask(journal, comment(1), comment(2))
    journal.connection.set_trace_callback(None)
    look()
    assert seen[-1] == [(1, 2)]
    assert [(0, 0)] in seen
    assert all(counted in ([(0, 0)], [(1, 2)]) for counted in seen)
    another.close()


async def test_arrivals_left(journal: SqliteJournal) -> None:
    """Who doesn't wait for a session any more leaves nothing behind, whether anything arrived or not."""
    with journal.arrivals("agent1", "S1"), journal.arrivals("agent1", "S2"), journal.arrivals("agent1", "S1"):
        await append(journal, draft("S1"), draft("S3"))
    assert journal._arrivals == {}  # pyright: ignore[reportPrivateUsage]
    assert journal._arrived == set()  # pyright: ignore[reportPrivateUsage]


async def test_since(journal: SqliteJournal) -> None:
    """A session is in its state since the entry that brought it there, however much follows that changes it not."""
    since: list[tuple[str, datetime]] = []
    for seconds, state in enumerate(["Invited", "Chatting", "Chatting", "Completed", "Invited"]):
        await append(journal, draft("S1", state, comment=str(seconds)), at=after(seconds))
        await journal.prune(after(60), 0)
        (row,) = journal.connection.execute("SELECT state, (since - 1767225600000000) / 1000000 FROM sessions")
        since.append(row)
    assert since == [("Invited", 0), ("Chatting", 1), ("Chatting", 1), ("Completed", 3), ("Invited", 4)]


CALLS: list[Callable[[Journal], Coroutine[Any, Any, object]]] = [
    lambda journal: append(journal, draft("S1")),
    lambda journal: journal.known("agent1", "S1"),
    lambda journal: journal.open_sessions("agent1"),
    lambda journal: journal.watch("agent1", NOW),
    lambda journal: journal.watched("agent1"),
    lambda journal: journal.doubt("agent1"),
    lambda journal: journal.agree("agent1", NOW),
    lease,
    settle,
    lambda journal: journal.release([], NOW),
    lambda journal: journal.next_due("log"),
    lease_follow_ups,
    lambda journal: journal.release_follow_ups([], NOW),
    lambda journal: journal.next_follow_up_due(),
    lambda journal: journal.notifications("agent1", "S1", 0),
    lambda journal: journal.prune(NOW, None),
    lambda journal: journal.take_retries(),
    lambda journal: journal.take_reveals(),
    lambda journal: journal.release_quarantined(
        Quarantined(1, NOW, Origin.LIVE, "agent1", None, "broke", b"{"), (), "broke"
    ),
]


async def test_large_notifications(journal: SqliteJournal) -> None:
    """Large notifications make the log long, too, and it is moved into the file, however few they are."""
    moved = "PRAGMA wal_checkpoint(PASSIVE)"
    journal.log.most_bytes = 500_000
    statements = traced(journal)
    await append(journal, draft("S1"))
    assert moved not in statements
    await append(journal, draft("S2", comment="x" * 500_000))
    assert moved in statements


async def test_full_disk(journal: SqliteJournal, path: Path) -> None:
    """A write that fails fails all that shared its commit, and every call after it; nothing of it is in the journal."""
    await append(journal, draft("S1", "Invited", "log", "audit"))
    (one,) = await lease(journal)
    (pages,) = journal.connection.execute("PRAGMA page_count").fetchone()
    journal.connection.execute(f"PRAGMA max_page_count = {pages}")
    before = counts(journal.connection)
    results = await asyncio.gather(
        settle(journal, one),
        append(journal, draft("S2"), misfit()),
        append(journal, draft("S3", comment=noise(1_000_000))),
        lease(journal, "audit"),
        return_exceptions=True,
    )
    for result in results:
        assert isinstance(result, JournalError)
        assert isinstance(result.__cause__, sqlite3.Error)
        assert str(result) == (
            f"{path}: the journal failed: database or disk is full. "
            "Nothing more is acknowledged; look at the disk and run `fbsessiond journal verify`, then restart"
        )
    for call in CALLS:
        with pytest.raises(JournalError, match="the journal failed: database or disk is full"):
            await call(journal)
    assert counts(journal.connection) == before
    journal.close()
    with pytest.raises(JournalError, match="the journal failed: database or disk is full"):  # not just closed
        await journal.next_due("log")
    again = SqliteJournal(path, NOW)
    await append(again, draft("S4"))
    reader = SqliteReader(path)
    assert [entry.session for entry in reader.entries()] == ["S1", "S4"]
    assert verified(reader) == []
    reader.close()
    again.close()


@contextmanager
def no_longer_than(path: Path) -> Generator[None, None, None]:
    """Let no file become longer than this one is, for a while."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_failed(journal: SqliteJournal) -> None:
    """Whoever waits for its failure is told the first one, whoever met it; a journal that is closed hasn't failed."""
    waiting = asyncio.create_task(journal.failed())
    await append(journal, draft("S1", "Invited"))
    assert not waiting.done()
    journal.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalError) as met:
        await append(journal, draft("S1", "Chatting"))
    with pytest.raises(JournalError) as met_again:
        await append(journal, draft("S1", "LeftChat"))
    assert await waiting is met.value is met_again.value


async def test_failed_checkpoint(journal: SqliteJournal, path: Path) -> None:
    """A log that can't be moved into the file fails the journal as a commit does; what was committed is there."""
    journal.log.most_bytes = 0
    await append(journal, draft("S1", comment=noise(100_000)))
    with no_longer_than(path), pytest.raises(JournalError, match=r"the journal failed: .*disk"):
        await append(journal, draft("S2", comment=noise(10_000)))
    with pytest.raises(JournalError, match=r"the journal failed: .*disk"):
        await append(journal, draft("S3"))
    journal.close()
    reader = SqliteReader(path)
    assert [entry.session for entry in reader.entries()] == ["S1", "S2"]
    reader.close()


async def test_failed_checkpoint_at_the_end(journal: SqliteJournal, path: Path) -> None:
    """Closing says so where the log can't be moved, and lets the file go: the next one finds all of it."""
    await append(journal, draft("S1", comment=noise(100_000)))
    with no_longer_than(path), pytest.raises(JournalError, match=r"the journal failed: .*disk"):
        journal.close()
    again = SqliteJournal(path, NOW)
    assert again.last_place() == 1
    again.close()


async def test_half_written_batch(journal: SqliteJournal, path: Path) -> None:
    """A batch that fails halfway leaves nothing behind: no entry, and no lock that others would wait for."""
    with pytest.raises(JournalError, match="UNIQUE constraint failed"):
        await append(journal, draft("S1"), draft("S2", "Invited", "log", "log"))
    assert counts(journal.connection) == (0, 0, 0, 0, 0)
    another = sqlite3.connect(path, timeout=0)
    another.execute("BEGIN IMMEDIATE")
    another.close()


@pytest.mark.parametrize("call", CALLS)
async def test_lost_file(journal: SqliteJournal, call: Callable[[Journal], Coroutine[Any, Any, object]]) -> None:
    """Whatever meets the failure first, to read or to write, says so; the journal refuses everything from then on."""
    journal.connection.close()
    with pytest.raises(JournalError, match=r"journal\.db: the journal failed: Cannot operate on a closed database"):
        await call(journal)
    with pytest.raises(JournalError, match="the journal failed"):
        await append(journal, draft("S1"))


async def test_failure_of_a_cancelled_caller(journal: SqliteJournal) -> None:
    """A failure is told to every caller that is still there."""
    task = asyncio.create_task(append(journal, draft("S1")))
    await asyncio.sleep(0)
    journal.connection.close()
    task.cancel()
    with pytest.raises(JournalError):
        await append(journal, draft("S2"))
    assert task.cancelled()


async def test_closed(journal: SqliteJournal, path: Path) -> None:
    """A closed journal refuses what is still queued; closing it twice does no harm."""
    queued = asyncio.create_task(append(journal, draft("S1")))
    await asyncio.sleep(0)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match=r"journal\.db: the journal is closed"):
        await queued
    again = SqliteJournal(path, NOW)
    assert counts(again.connection) == (0, 0, 0, 0, 0)
    again.close()


@pytest.mark.parametrize("notification", [b"{", b"{}", b'{"facebooksession":{"id":"S2"}}', b"\xff"])
async def test_damaged_session(journal: SqliteJournal, notification: bytes) -> None:
    """What is known of a session but damaged is a failure of the journal; the text says how to find out more."""
    await append(journal, draft("S1"))
    journal.connection.execute("UPDATE entries SET notification = ?", (notification,))
    with pytest.raises(JournalError, match=r"journal\.db: the journal failed: .* journal verify"):
        await journal.known("agent1", "S1")


@pytest.mark.parametrize("damage", ["broken = 'sleepy'", "proven_until = 4611686018427387904"])
async def test_damaged_ledger(journal: SqliteJournal, damage: str) -> None:
    """An agent's row that can't be is a failure of the journal, not a bug; the text says how to find out more."""
    await journal.watch("agent1", NOW)
    journal.connection.execute(f"UPDATE agents SET {damage}")  # noqa: S608  the test's own
    with pytest.raises(JournalError, match=r"journal\.db: the journal failed: .* journal verify"):
        await journal.watched("agent1")


async def test_damaged_due_date(journal: SqliteJournal) -> None:
    """So is a delivery's due date beyond the calendar."""
    await append(journal, draft("S1", "Invited", "log"))
    journal.connection.execute("UPDATE pending SET due_at = 4611686018427387904")
    with pytest.raises(JournalError, match=r"journal\.db: the journal failed: .* journal verify"):
        await journal.next_due("log")


async def test_damaged_due_date_of_a_follow_up(journal: SqliteJournal) -> None:
    """And a follow-up's."""
    await ask(journal, comment(1))
    journal.connection.execute("UPDATE follow_ups SET due_at = 4611686018427387904")
    with pytest.raises(JournalError, match=r"journal\.db: the journal failed: .* journal verify"):
        await journal.next_follow_up_due()


async def test_reader(journal: SqliteJournal) -> None:
    """A look at the journal from within its process waits for nothing that is being read; it ends with the journal."""
    await append(journal, draft("S1", "Invited", "log"), draft("S2"), misfit())
    reading = journal.reader().entries()
    next(reading)
    another = journal.reader()
    assert retry_quarantined(another, 1)
    await append(journal, draft("S3"))
    assert [entry.session for entry in reading] == ["S2"]
    assert another.statistics().entries == 3
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        another.statistics()


async def test_second_daemon(journal: SqliteJournal, path: Path) -> None:
    """A second daemon is refused; the first goes on."""
    with pytest.raises(JournalError, match="another fbsessiond"):
        SqliteJournal(path, NOW)
    await append(journal, draft("S1"))


KILLED = """
import asyncio, os, pathlib, signal, sys
sys.path.insert(0, sys.argv[2])
from journal_parts import NOW, append, draft, lease
from fbsessiond.journal.sqlite.engine import SqliteJournal
async def main():
    journal = SqliteJournal(pathlib.Path(sys.argv[1]), NOW)
    await append(journal, draft("S1", "Invited", "log"), draft("S2"))
    await lease(journal)
    journal.connection.execute("BEGIN")
    journal.connection.execute("DELETE FROM entries")
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.fixture
def killed(path: Path) -> Path:
    """Return a journal whose daemon was killed in the middle of a write."""
    tests = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", KILLED, path, tests], check=False).returncode == -9
    return path


async def test_killed_daemon(killed: Path) -> None:
    """After a daemon was killed in the middle of a write, the next one finds all that was committed, and goes on."""
    path = killed
    journal = SqliteJournal(path, NOW)
    assert [one.entry.seq for one in await lease(journal)] == [1]
    await append(journal, draft("S3"))
    reader = SqliteReader(path)
    assert [entry.seq for entry in reader.entries()] == [1, 2, 3]
    assert verified(reader) == []
    reader.close()
    journal.close()


def test_claimed(path: Path) -> None:
    """Who has the right to write a journal opens it by that, and keeps the right when it is closed."""
    right = Lock(path)
    SqliteJournal(path, NOW, is_claimed=True).close()
    with pytest.raises(JournalError, match="another fbsessiond"):
        SqliteJournal(path, NOW)
    right.release()


def test_unusable_file(path: Path) -> None:
    """A journal that can't be opened is an error that says where, and leaves the right to write it to others."""
    journal = SqliteJournal(path, NOW)
    journal.connection.execute("DROP TABLE pending")
    journal.close()
    with pytest.raises(JournalError, match=r"journal\.db: can't open the journal: no such table: pending"):
        SqliteJournal(path, NOW)
    path.write_bytes(b"Dear diary, today " * 100)
    with pytest.raises(JournalError, match="not a database"):
        SqliteJournal(path, NOW)
    Lock(path).release()


@pytest.mark.parametrize("damage", ["DELETE FROM facts", "UPDATE facts SET value = x'ff'"])
def test_lost_identity(path: Path, damage: str) -> None:
    """A journal that doesn't know any more which one it is can't be opened, and says so."""
    journal = SqliteJournal(path, NOW)
    journal.connection.execute(damage)
    journal.close()
    with pytest.raises(JournalError, match=r"journal\.db: can't open the journal: "):
        SqliteJournal(path, NOW)


@pytest.mark.parametrize("state", [DeliveryState.DEAD, DeliveryState.DUE])
async def test_long_reason(journal: SqliteJournal, state: DeliveryState) -> None:
    """A reason is kept however long it is."""
    await append(journal, draft("S1", "Invited", "log"), other())
    (one,) = await lease(journal)
    await journal.settle([Settlement(one, state, 1, "x" * 1_000_000)], NOW)
    reader = SqliteReader(Path(journal.connection.execute("PRAGMA database_list").fetchone()[2]))
    assert next(reader.deliveries()).because == "x" * 1_000_000
    reader.close()
    await kill(journal)


def test_space(path: Path) -> None:
    """A journal in a file has the room of its disk, one in memory no limit that is known."""
    with closing(SqliteJournal(path, NOW)) as journal:
        found = journal.space()
        assert found is not None
        assert 0 < found.free_bytes <= found.size_bytes
    with closing(SqliteJournal(MEMORY, NOW)) as journal:
        assert journal.space() is None


async def test_in_doubt(path: Path) -> None:
    """What is known of an agent is in doubt while it isn't compared after a gap."""
    journal = SqliteJournal(path, NOW)
    assert not await journal.is_in_doubt("agent1")
    await journal.watch("agent1", NOW)
    assert await journal.is_in_doubt("agent1")
    journal.close()


async def test_room_after_the_end(journal: SqliteJournal, path: Path) -> None:
    """A journal that is closed takes no more room than what is in it needs."""
    await append(journal, *[draft(f"S{number}", "Invited", "log", "audit") for number in range(1000)])
    for handler in ("log", "audit"):
        await settle(journal, *await lease(journal, handler, most=1000))
    journal.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)


def test_lease_on_disk() -> None:
    """A lease is on disk soon after it was handed out, though nothing else is written meanwhile."""

    async def main() -> None:
        with closing(SqliteJournal(MEMORY, NOW)) as journal:
            await append(journal, draft("S1", "Invited", "log"))
            assert len(await journal.lease("log", 1, NOW, after(60))) == 1
            await asyncio.sleep(2 * WRITTEN_WITHIN.total_seconds())
            assert [record.state for record in journal.reader().deliveries()] == [DeliveryState.RUNNING]

    run_virtual(main())

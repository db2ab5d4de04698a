import asyncio
from contextlib import closing

import pytest

from daemon.journal.conformance import JournalConformance
from daemon.journal.sqlite.test_engine import InMemory
from daemon.journal.suite.engine import Engine
from fbsessiond.errors import JournalError
from fbsessiond.journal.records import DeliveryState, Settlement
from fbsessiond.journal.sql.engine import SqlJournal
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from journal_parts import NOW, after, append, draft


class TestInMemory(JournalConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        """Return journals in memory."""
        return InMemory()


async def test_doubt_of_a_watched_agent(journal: SqliteJournal) -> None:
    """An agent whom nothing was proved of since its watch began is in doubt."""
    await journal.watch("agent1", NOW)
    assert await journal.is_in_doubt("agent1")
    assert not await journal.is_in_doubt("agent2")


async def test_failed() -> None:
    """What can't be written refuses all that was submitted with it, and everything after it; whoever waits hears."""
    with closing(SqliteJournal(MEMORY, NOW)) as journal:
        waiting = asyncio.create_task(journal.failed())
        journal.connection.execute("DROP TABLE pending")
        cancelled = asyncio.create_task(append(journal, draft("S1")))
        both = asyncio.gather(append(journal, draft("S2", "Invited", "log")), journal.prune(NOW, None))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(JournalError, match="no such table: pending"):
            await both
        assert "no such table" in str(await waiting)
        with pytest.raises(JournalError, match="no such table"):
            await journal.known("agent1", "S1")


async def test_lease_in_a_transaction(journal: SqliteJournal) -> None:
    """Where several daemons may write, a lease is in the database when it is handed out, and settled by its number."""
    await append(journal, draft("S1", "Invited", "log"))
    (one,) = await SqlJournal.lease(journal, "log", 9, NOW, after(60))
    assert [record.state for record in journal.reader().deliveries()] == [DeliveryState.RUNNING]
    assert await SqlJournal.next_due(journal, "log") == after(60)
    await SqlJournal.settle(journal, [Settlement(one, DeliveryState.DELIVERED, 1)], NOW)
    assert [record.state for record in journal.reader().deliveries()] == [DeliveryState.DELIVERED]

import sqlite3

import pytest

from daemon.journal.sqlite.test_engine import InMemory
from daemon.journal.suite.acting import Acting
from daemon.journal.suite.engine import Engine, verified
from daemon.journal.suite.follow_ups import PARKED, ask, comment, end
from daemon.journal.suite.reading import Reading
from daemon.journal.suite.revealing import Revealing
from fbsessiond.finding import Finding
from fbsessiond.journal.sqlite.engine import SqliteJournal
from journal_parts import NOW, append, break_chain, draft, kill, misfit


class TestInMemory(Reading, Acting, Revealing):
    @pytest.fixture
    def engine(self) -> Engine:
        """Return journals in memory."""
        return InMemory()


async def test_everything_is_read(journal: SqliteJournal) -> None:
    """What a reader shows of a journal with something of everything in it is all there is."""
    await journal.watch("agent1", NOW)
    await break_chain(journal)
    await append(journal, draft("S1", "Invited", "log"), misfit())
    await kill(journal)
    await ask(journal, comment(1), session="S2")
    await end(journal, PARKED)
    reader = journal.reader()
    assert [one.id for one in reader.dead()] == ["1/log"]
    assert [one.id for one in reader.stuck_follow_ups()] == ["2/wrap-up/1"]
    assert [one.id for one in reader.follow_ups(session="S2", seq=2)] == ["2/wrap-up/1"]
    assert list(reader.deliveries(session="S1", seq=2)) == []
    assert [one.agent for one in reader.watched()] == ["agent1"]
    assert list(reader.gaps()) == []
    assert len(reader.redaction_key()) == 32
    assert verified(reader) == []


async def test_damage_that_ends_a_check(journal: SqliteJournal) -> None:
    """Where a table can't be read at all, that is what is wrong, and nothing else is looked for."""
    reader = journal.reader()
    sqlite3.Connection.execute(journal.connection, "DROP TABLE quarantine")
    *_, last = verified(reader)
    assert last.where == "the file"
    assert "no such table: quarantine" in last.what


async def test_value_that_nobody_can_read(journal: SqliteJournal) -> None:
    """A value that no checksum covers, and that nobody could read, is found by reading it."""
    await append(journal, draft("S1", "Invited", "log"))
    await kill(journal)
    journal.connection.execute("UPDATE settled SET state = 'lost'")
    assert verified(journal.reader()) == [Finding("deliveries", "can't be read: 'lost' is not a valid DeliveryState")]

import sqlite3
from pathlib import Path

import pytest

from daemon.journal.suite.engine import verified
from fbsessiond.errors import JournalError
from fbsessiond.gap import SNAPSHOT, Break, GapCause, Proof
from fbsessiond.journal.sql import gaps
from fbsessiond.journal.sql.rows import to_microseconds
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.reader import SqliteReader
from journal_parts import NOW, after, gap, prove, watched

START, NETWORK, LOST, SILENT = GapCause.START, GapCause.NETWORK, GapCause.SESSION_LOST, GapCause.SILENT


@pytest.fixture
async def kept(path: Path) -> Path:
    """Return a journal with three gaps of one agent and one of another, and nobody who writes it."""
    journal = SqliteJournal(path, NOW)
    for agent in ("agent1", "agent2"):
        await journal.watch(agent, NOW)
        await prove(journal, "A", 2, 10, agent=agent)
    await prove(journal, "B", 13, 20)
    await prove(journal, "C", 26, 30)
    await journal.agree("agent1", after(15))
    journal.close()
    return path


def at(seconds: float) -> int:
    """Return a point in time some seconds after `NOW`, as it is written."""
    return to_microseconds(after(seconds))


def proof(chain: str, since: float, until: float) -> Proof:
    """Return a proof, in seconds after `NOW`."""
    return Proof(chain, after(since), after(until), chain.encode())


def damage(path: Path, script: str) -> list[str]:
    """Change a journal behind its back; return what verifying it finds."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    reader = SqliteReader(path)
    found = [f"{finding.where}: {finding.what}" for finding in verified(reader)]
    reader.close()
    return found


def test_set_back(connection: sqlite3.Connection) -> None:
    """A clock that is set back leaves no time in the future; another agent's times wait for its own next proof."""
    gaps.watch(connection, "agent2", at(5))
    assert gaps.prove(connection, "agent2", proof("A", 9, 20))
    others = gaps.watched(connection)
    gaps.watch(connection, "agent1", at(5))
    assert gaps.prove(connection, "agent1", proof("A", 8, 20))
    assert not gaps.prove(connection, "agent1", proof("A", 8, 6))
    assert gaps.watched(connection) == [watched(6, gap(5, 6, START), since=5, position=b"A"), *others]


def test_way(connection: sqlite3.Connection) -> None:
    """Chains come and go, between two of them lies a gap, and a comparison closes it."""
    assert gaps.watched(connection) == []
    gaps.watch(connection, "agent1", at(0))
    assert gaps.prove(connection, "agent1", proof("A", 2, 10))
    assert not gaps.prove(connection, "agent1", proof("A", 2, 20))
    assert not gaps.prove(connection, "agent1", Break(NETWORK))
    assert gaps.watched(connection) == [watched(20, gap(0, 2, START), broken=NETWORK, position=b"A")]
    assert gaps.prove(connection, "agent1", proof("B", 23, 30))
    gaps.agree(connection, "agent1", at(25))
    gaps.doubt(connection, "agent1")
    assert not gaps.prove(connection, "agent1", proof("B", 23, 40))
    assert gaps.watched(connection, "agent1") == [watched(25, compared=25, broken=SILENT)]
    assert gaps.prove(connection, "agent1", proof("C", 43, 50))
    assert gaps.watched(connection, "agent2") == []
    closed = [gap(0, 2, START, SNAPSHOT), gap(20, 23, NETWORK, SNAPSHOT)]
    assert list(gaps.read(connection, None)) == [*closed, gap(25, 43, SILENT)]
    assert list(gaps.read(connection, "agent2")) == []
    assert list(gaps.check(connection)) == []


def test_unannounced(connection: sqlite3.Connection) -> None:
    """An agent that is proved before anything else is known from there on; what was before it has to be looked up."""
    assert not gaps.prove(connection, "agent1", Break(NETWORK))
    assert gaps.prove(connection, "agent1", proof("A", 2, 10))
    assert gaps.watched(connection) == [watched(10, gap(2, 2, START), since=2, position=b"A")]


def test_without_a_break(connection: sqlite3.Connection) -> None:
    """Another chain that comes without a word means that the session was lost."""
    gaps.prove(connection, "agent1", proof("A", 0, 10))
    gaps.prove(connection, "agent1", proof("B", 11, 12))
    assert list(gaps.read(connection, "agent1"))[1:] == [gap(10, 11, LOST)]


def test_break_that_takes_back(connection: sqlite3.Connection) -> None:
    """A break says from when on what was proved counts no more; gaps are read by agent, and in their order."""
    for agent in ("agent2", "agent1"):
        gaps.prove(connection, agent, proof("A", 0, 10))
        gaps.prove(connection, agent, Break(NETWORK, after(7)))
        gaps.prove(connection, agent, proof("B", 11, 12))
    found = [(each.agent, each.begin, each.end) for each in gaps.read(connection, None)]
    assert found == [(a, after(begin), after(end)) for a in ("agent1", "agent2") for begin, end in ((0, 0), (7, 11))]


def test_forget(connection: sqlite3.Connection) -> None:
    """What is closed and old goes; what isn't closed stays however old it is, but isn't counted."""
    gaps.watch(connection, "agent1", at(0))
    for number in range(3):
        gaps.prove(connection, "agent1", proof(str(number), 10 * number + 5, 10 * number + 10))
    gaps.agree(connection, "agent1", at(15))
    gaps.forget(connection, at(14))
    assert list(gaps.read(connection, None)) == [gap(10, 15, LOST, SNAPSHOT), gap(20, 25, LOST)]
    assert gaps.watched(connection)[0].observed_since == after(14)
    gaps.forget(connection, at(99))
    assert list(gaps.read(connection, None)) == [gap(20, 25, LOST)]
    assert gaps.watched(connection)[0].observed_since == after(30)


LIE = "gap {}: of agent agent1 doesn't lie between two proofs"

WRONG = [
    ("UPDATE gaps SET begin_at = begin_at - 9000000 WHERE id = 3", [LIE.format(3)]),
    ("UPDATE gaps SET end_at = end_at + 25000000 WHERE id = 1", [LIE.format(3), LIE.format(4)]),
    ("UPDATE gaps SET end_at = begin_at - 1 WHERE id = 4", [LIE.format(4)]),
    ("UPDATE gaps SET end_at = end_at + 5000000 WHERE id = 4", [LIE.format(4)]),
    ("UPDATE gaps SET agent = 'nobody' WHERE id = 2", ["gap 2: agent nobody isn't known"]),
    (
        "DELETE FROM agents WHERE agent = 'agent1'",
        [f"gap {number}: agent agent1 isn't known" for number in (1, 3, 4)],
    ),
    ("UPDATE gaps SET cause = 'boredom' WHERE id = 3", ["gap 3: there is no cause 'boredom'"]),
    ("UPDATE agents SET broken = 'sleepy' WHERE agent = 'agent2'", ["agent agent2: there is no cause 'sleepy'"]),
    ("UPDATE agents SET broken = 'network'", []),
    ("UPDATE gaps SET agent = 'agent2' WHERE id = 1; DELETE FROM gaps WHERE id = 2", []),
]


@pytest.mark.parametrize(("script", "lines"), WRONG)
def test_verify(kept: Path, script: str, lines: list[str]) -> None:
    """Verifying finds gaps that overlap, end before they begin or after the last proof, or are nobody's."""
    assert damage(kept, "") == []
    assert damage(kept, script) == lines


def test_verify_many(kept: Path) -> None:
    """Verifying a long ledger takes a time in proportion to it."""
    steps: list[int] = []
    for count in (500, 5_000):
        connection = sqlite3.connect(kept)
        rows = [("agent1", at(0) - 2 * number, at(0) - 2 * number + 1) for number in range(count, 0, -1)]
        connection.execute("DELETE FROM gaps")
        connection.executemany("INSERT INTO gaps (agent, begin_at, end_at, cause) VALUES (?, ?, ?, 'network')", rows)
        done: list[None] = []
        connection.set_progress_handler(lambda done=done: done.append(None), 100)  # type: ignore[misc]
        assert list(gaps.check(connection)) == []
        connection.rollback()
        connection.close()
        steps.append(len(done))
    assert steps[1] < 15 * steps[0]


@pytest.mark.parametrize("column", ["begin_at", "end_at"])
def test_unreadable(kept: Path, column: str) -> None:
    """A time that can't be is an error of the journal, not a bug."""
    damage(kept, f"UPDATE gaps SET {column} = 4611686018427387904")  # noqa: S608  the test's own
    reader = SqliteReader(kept)
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal: .* journal verify"):
        list(reader.gaps())
    reader.close()


async def test_in_doubt(journal: SqliteJournal) -> None:
    """While a gap is open, and until the sessions are compared after it, what is known of an agent is in doubt."""
    assert not gaps.is_in_doubt(journal.connection, "agent1")
    await journal.watch("agent1", NOW)
    assert gaps.is_in_doubt(journal.connection, "agent1")
    await prove(journal, "one", 1, 2)
    assert gaps.is_in_doubt(journal.connection, "agent1")
    await journal.agree("agent1", after(3))
    assert not gaps.is_in_doubt(journal.connection, "agent1")

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.journal.suite.engine import verified
from daemon.journal.suite.follow_ups import (
    CONFIRMED,
    PARKED,
    SENT,
    ask,
    comment,
    end,
    end_all,
    follow_up_states,
    ids,
    lease_follow_ups,
)
from fbsessiond.errors import JournalError
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.sql import follow_ups
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import to_microseconds
from fbsessiond.journal.sqlite.engine import SqliteJournal
from journal_parts import NOW, after, append, drop, other, retry


@pytest.fixture
def reader(journal: SqliteJournal) -> Iterator[Reader]:
    """Read the test's journal."""
    reader = journal.reader()
    yield reader
    reader.close()


def change(path: Path, script: str) -> None:
    """Change a journal behind its back."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


async def test_way(journal: SqliteJournal, reader: Reader) -> None:
    """A follow-up is asked for, handed out, handed back, recorded step by step, and frees the next."""
    await ask(journal, comment(1), comment(2))
    assert await journal.next_follow_up_due() == NOW
    await journal.release_follow_ups(await lease_follow_ups(journal), after(1))
    (one,) = await lease_follow_ups(journal, now=after(1))
    assert (one.id, one.operation, one.progress) == ("1/wrap-up/1", comment(1), Progress())
    await journal.record_follow_up(one, SENT, after(2))
    (first, second) = reader.follow_ups(seq=1)
    assert (first.progress, first.is_running, first.at) == (SENT, True, after(2))
    assert (second.progress, second.is_running, second.at) == (Progress(), False, NOW)
    await journal.record_follow_up(one, CONFIRMED, after(3))
    assert await end(journal, now=after(3)) == ["1/wrap-up/2"]
    assert ids(list(reader.follow_ups(session="S1"))) == ["1/wrap-up/1", "1/wrap-up/2"]
    assert reader.statistics().follow_ups == {"confirmed": 2}
    assert await journal.notifications("agent1", "S1", 1) == []


async def test_numbers(journal: SqliteJournal) -> None:
    """Leases are numbered from the number that is given, each with one of its own."""
    for session in ("S1", "S2", "S3"):
        await ask(journal, comment(1, session), session=session)
    now, until = to_microseconds(NOW), to_microseconds(after(60))
    assert [one.number for one in follow_ups.lease_due(journal.connection, 9, now, until, 7)] == [7, 8, 9]


async def test_large_numbers(journal: SqliteJournal) -> None:
    """Follow-ups are read whatever the numbers of their entries are."""
    await ask(journal, comment(1))
    journal.connection.execute("UPDATE follow_ups SET seq = ?", (2**62,))
    assert ids(list(follow_ups.read(journal.connection, seq=None))) == [f"{2**62}/wrap-up/1"]


async def test_due_elsewhere(journal: SqliteJournal) -> None:
    """What ends leaves the due dates of other sessions as they are."""
    await ask(journal, comment(1), comment(2))
    (one,) = await lease_follow_ups(journal)
    await ask(journal, comment(1, "S2"), session="S2", now=after(1))
    await journal.record_follow_up(one, CONFIRMED, after(5))
    assert await journal.next_follow_up_due() == after(1)


async def test_one_revived(journal: SqliteJournal, reader: Reader) -> None:
    """With one that is tried again come the steps that were withdrawn with it, and no others."""
    for session in ("S1", "S2"):
        await ask(journal, comment(1, session), comment(2, session), session=session)
    await end(journal, PARKED)
    assert retry(reader, next(iter(reader.stuck_follow_ups())), NOW)
    assert follow_up_states(reader) == ["intended", "intended", "parked", "withdrawn"]


async def test_pause(journal: SqliteJournal) -> None:
    """One that goes on later is due then; a record by the lease that it had is none any more."""
    await ask(journal, comment(1))
    (one,) = await lease_follow_ups(journal)
    await journal.record_follow_up(one, Progress(FollowUpState.INTENDED, 1, again_at=after(9)), NOW)
    await journal.record_follow_up(one, CONFIRMED, NOW)
    assert await journal.next_follow_up_due() == after(9)


async def test_stuck(journal: SqliteJournal, reader: Reader) -> None:
    """One that is stuck withdraws the steps after it, and can be tried again with them, or dropped."""
    await ask(journal, comment(1), comment(2))
    await end(journal, PARKED)
    assert follow_up_states(reader) == ["parked", "withdrawn"]
    (record,) = reader.stuck_follow_ups()
    assert retry(reader, record, NOW)
    assert not retry(reader, record, NOW)
    assert await end_all(journal, PARKED) == [["1/wrap-up/1"]]
    assert drop(reader, record, NOW)
    assert follow_up_states(reader) == ["withdrawn", "withdrawn"]


async def test_reopened(journal: SqliteJournal, path: Path) -> None:
    """What an earlier process had leased is due at once, and runs no more."""
    await ask(journal, comment(1))
    await lease_follow_ups(journal)
    journal.close()
    again = SqliteJournal(path, after(5))
    assert await again.next_follow_up_due() == after(5)
    assert [record.is_running for record in again.reader().follow_ups()] == [False]
    again.close()


async def test_forgotten(journal: SqliteJournal, reader: Reader) -> None:
    """What has ended goes with its entry."""
    await ask(journal, comment(1))
    await append(journal, other())
    await end(journal)
    assert await journal.prune(after(60), None) == 1
    assert list(reader.follow_ups()) == []


async def test_unknown_operation(journal: SqliteJournal, reader: Reader, path: Path) -> None:
    """An operation that another version wrote is handed out and shown as it is."""
    await ask(journal, comment(1))
    change(path, """UPDATE follow_ups SET operation = 'Wave', parameters = '{"with":"a hand"}'""")
    (one,) = await lease_follow_ups(journal)
    (record,) = reader.follow_ups()
    assert one.operation == record.operation
    assert (one.operation.name, one.operation.parameters) == ("Wave", {"with": "a hand"})
    await journal.record_follow_up(one, PARKED, NOW)
    assert ids(list(reader.stuck_follow_ups())) == ["1/wrap-up/1"]


@pytest.mark.parametrize(
    "damage", ["state = 'intnded'", "parameters = '{'", "sent_at = 4611686018427387904"], ids=lambda text: text[:5]
)
async def test_damaged(journal: SqliteJournal, reader: Reader, path: Path, damage: str) -> None:
    """One that can't be read is an error of the journal, not a bug; nothing is guessed."""
    await ask(journal, comment(1))
    change(path, f"UPDATE follow_ups SET {damage}")  # noqa: S608  the test's own
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal: .* journal verify"):
        list(reader.follow_ups())
    with pytest.raises(JournalError, match=r"journal\.db: the journal failed: .* journal verify"):
        await lease_follow_ups(journal)


WRONG = [
    ("UPDATE follow_ups SET seq = 9", "follow-up 9/wrap-up/{}: entry 9 is missing", 3),
    ("UPDATE follow_ups SET state = 'intnded' WHERE step = 2", "follow-up 1/wrap-up/2: there is no state 'intnded'", 1),
    (
        "UPDATE follow_ups SET operation = 'Wave' WHERE step = 3",
        "follow-up 1/wrap-up/3: there is no operation 'Wave'; there are Accept, .*",
        1,
    ),
    ("UPDATE follow_ups SET session = '..' WHERE step = 3", "follow-up 1/wrap-up/3: AddComment needs a session.*", 1),
    ("UPDATE follow_ups SET parameters = '{' WHERE step = 3", "follow-up 1/wrap-up/3: Expecting property name .*", 1),
    (
        "UPDATE follow_ups SET parameters = '[1]' WHERE step = 3",
        "follow-up 1/wrap-up/3: its parameters are no table",
        1,
    ),
    ("UPDATE follow_ups SET due_at = 0", "follow-ups: 3 of session S1 are due, not one", 1),
    ("UPDATE follow_ups SET due_at = 0 WHERE step < 3", "follow-ups: 2 of session S1 are due, not one", 1),
    ("UPDATE follow_ups SET due_at = NULL", "follow-ups: none of session S1 is due", 1),
    *(
        (f"UPDATE follow_ups SET state = '{state}', {due}", line, 1)  # noqa: S608  the test's own
        for state in ("sent", "accepted")
        for due, line in (
            ("due_at = 0", "follow-ups: 3 of session S1 are due, not one"),
            ("due_at = NULL", "follow-ups: none of session S1 is due"),
        )
    ),
    (
        "UPDATE follow_ups SET state = 'confirmed', due_at = 0 WHERE step = 3",
        "follow-up 1/wrap-up/3: is due, and has ended as confirmed",
        1,
    ),
]


@pytest.mark.parametrize(("script", "line", "count"), WRONG)
async def test_verify(journal: SqliteJournal, reader: Reader, path: Path, script: str, line: str, count: int) -> None:
    """Verifying finds one without its entry, with what can't be, or due when it mustn't be."""
    await ask(journal, comment(1), comment(2), comment(3))
    assert verified(reader) == []
    change(path, script)
    found = [f"{finding.where}: {finding.what}" for finding in verified(reader)]
    assert len(found) == count
    for step, text in enumerate(found, 1):
        assert re.fullmatch(line.format(step), text)


HOT = [
    "intend",
    "find_due",
    "lease",
    "end_leases",
    "record",
    "let_go",
    "end",
    "withdraw_rest",
    "sessions_from",
    "step_back",
    "promote",
    "next_due",
    "revive",
    "revive_rest",
    "drop",
    "forget",
]


@pytest.mark.parametrize("name", HOT)
def test_plan(journal: SqliteJournal, name: str) -> None:
    """What runs while the daemon works finds its rows by a key or an index, however many have ended."""
    plan = plan_of(journal, name)
    assert not any(step.startswith("SCAN") for step in plan), plan


async def test_backlog(journal: SqliteJournal) -> None:
    """Those that are open, and those that wait for a person, are counted by state."""
    await ask(journal, comment(1), comment(2))
    await end(journal, PARKED)
    await ask(journal, comment(3, "S2"), session="S2")
    assert follow_ups.backlog(journal.connection) == {"parked": 1, "intended": 1}


def test_plan_of_the_stuck(journal: SqliteJournal) -> None:
    """Those that a person has to look at are found among what is open or stuck, by the index of those."""
    assert plan_of(journal, "read_stuck") == ["SCAN follow_ups USING INDEX follow_ups_stuck"]


def test_plan_of_the_changed(journal: SqliteJournal) -> None:
    """Those that changed since a time are found by an index."""
    assert plan_of(journal, "read_changed") == ["SEARCH follow_ups USING COVERING INDEX follow_ups_in_full (at>?)"]


def plan_of(journal: SqliteJournal, name: str) -> list[str]:
    """Return how SQLite carries a query out, a line a step."""
    query = read_queries("follow_ups.sql")[name]
    named = dict.fromkeys(re.findall(r":(\w+)", query), 1)
    parameters = named or (1,) * query.count("?")
    return [row[3] for row in journal.connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]


async def test_shift(journal: SqliteJournal) -> None:
    """When the machine's time was set, what is due later is as far away as it was; what has ended stays as it is."""
    await ask(journal, comment(1), comment(2))
    follow_ups.shift(journal.connection, 3_600_000_000)
    assert await journal.next_follow_up_due() == after(3600)


async def test_changed(journal: SqliteJournal) -> None:
    """Those that changed since a time can be read, in that order."""
    await ask(journal, comment(1), comment(2), now=after(1))
    await end(journal, PARKED, now=after(2))
    changed = follow_ups.read_changed(journal.connection, to_microseconds(after(2)))
    assert ids(list(changed)) == ["1/wrap-up/1", "1/wrap-up/2"]
    assert list(follow_ups.read_changed(journal.connection, to_microseconds(after(3)))) == []

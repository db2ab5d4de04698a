import sqlite3
from datetime import datetime

import pytest

from fbsessiond import limits
from fbsessiond.journal.recent import RecentEntries
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Draft, Lease, Settlement, Wait
from fbsessiond.journal.sql import deliveries, entries, waiting
from fbsessiond.journal.sql.rows import to_microseconds
from fbsessiond.message import Batch, Origin
from journal_parts import NOW, after, draft, other

DUE, DELIVERED, DEAD = DeliveryState.DUE, DeliveryState.DELIVERED, DeliveryState.DEAD


def append(connection: sqlite3.Connection, *drafts: Draft) -> None:
    """Append entries with their deliveries."""
    first = entries.last_seq(connection) + 1
    batch = Batch("agent1", Origin.LIVE, NOW, tuple(one.message for one in drafts))
    entries.append(connection, batch, drafts, first)
    waiting.append(connection, batch, drafts, first)


def at(seconds: float) -> int:
    """Return a point in time some seconds after `NOW`, as it is written."""
    return to_microseconds(after(seconds))


def lease(
    connection: sqlite3.Connection, handler: str = "log", *, seconds: float = 0, most: int = 100, number: int = 1
) -> list[Lease]:
    """Lease what is due, for a minute."""
    due = deliveries.find_due(connection, handler, most, at(seconds), (), RecentEntries(), number)
    leases = [one for one, _ in due]
    deliveries.write_leases(connection, [(one, at(seconds + 60)) for one in leases])
    return leases


def settle(
    connection: sqlite3.Connection, one: Lease, state: DeliveryState = DELIVERED, due_at: datetime | None = None
) -> bool:
    """Settle a delivery, or an attempt at it."""
    because = None if state is DELIVERED else "broke"
    return deliveries.settle(connection, Settlement(one, state, one.attempts + 1, because, due_at), one.number, at(1))


def states(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """Return each delivery's entry and state."""
    return [(record.seq, record.state.value) for record in deliveries.read(connection, seq=None)]


def kill(connection: sqlite3.Connection) -> list[DeliveryRecord]:
    """Make dead letters of what is due."""
    for one in lease(connection):
        settle(connection, one, DEAD)
    return list(deliveries.read_dead(connection, seq=None, handler=None))


def test_order(connection: sqlite3.Connection) -> None:
    """Of each session and handler the first delivery is due, and the next one once that is settled."""
    append(connection, draft("S1", "Invited", "log", "audit"), draft("S1", "Chatting", "log"), draft("S2"))
    append(connection, draft("S2", "Chatting", "log", due_at=after(30)), other())
    assert states(connection) == [(1, "due"), (1, "due"), (2, "waiting"), (4, "due")]
    (one,) = lease(connection, number=7)
    assert (one.number, one.id, one.attempts, one.due_at) == (7, "1/log", 0, NOW)
    assert states(connection)[1] == (1, "running")
    assert settle(connection, one)
    assert not settle(connection, one)
    assert [record.state.value for record in deliveries.read(connection, seq=1)] == ["due", "delivered"]
    assert [(one.number, one.id) for one in lease(connection, seconds=30, number=8)] == [(8, "2/log"), (9, "4/log")]
    assert deliveries.count(connection) == {"delivered": 1, "due": 1, "running": 2}
    assert deliveries.backlog(connection, "log", at(0)) == {"waiting": 0, "due": 0, "running": 2}
    assert deliveries.backlog(connection, "audit", at(0)) == {"waiting": 0, "due": 1, "running": 0}
    assert deliveries.backlog(connection, "audit", at(-1)) == {"waiting": 1, "due": 0, "running": 0}
    assert deliveries.count_dead(connection) == {}


def test_count_of_clocks(connection: sqlite3.Connection) -> None:
    """What waits for its time is counted as waiting, and once it was tried, as due."""
    append(connection, draft("S1", "LeftChat", "log", wait=Wait.FOR))
    assert deliveries.count(connection) == {"waiting": 1}
    settle(connection, lease(connection)[0], DUE, after(9))
    assert deliveries.count(connection) == {"due": 1}


def test_large_numbers(connection: sqlite3.Connection) -> None:
    """Deliveries are read whatever the numbers of their entries are."""
    append(connection, draft("S1", "Invited", "log"))
    for table in ("entries", "pending"):
        connection.execute(f"UPDATE {table} SET seq = ?", (2**62,))  # noqa: S608  ours
    assert states(connection) == [(2**62, "due")]


def test_bounded_backlog(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is pending, so much of it is counted and no more."""
    append(connection, *(draft(f"S{number}", "Invited", "log") for number in range(9)))
    monkeypatch.setattr(limits, "BACKLOG_COUNTED", 5)
    assert sum(deliveries.backlog(connection, "log", at(0)).values()) == 5


def test_most(connection: sqlite3.Connection) -> None:
    """No more is handed out than is asked for, the longest due first."""
    append(connection, draft("S1", "Invited", "log"), draft("S2", "Invited", "log", due_at=after(-5)))
    assert [one.id for one in lease(connection, most=1)] == ["2/log"]
    assert deliveries.next_due(connection, "log") == at(0)
    assert deliveries.next_due(connection, "audit") is None


def test_postponed(connection: sqlite3.Connection) -> None:
    """An attempt that failed is due again at its time, or at once; by a lease that has gone nothing is written."""
    append(connection, draft("S1", "Invited", "log"))
    (one,) = lease(connection)
    assert not settle(connection, one, DUE, after(9))
    assert deliveries.next_due(connection, "log") == at(9)
    (two,) = lease(connection, seconds=9, number=2)
    assert two.attempts == 1
    settle(connection, one, DUE, after(5))
    assert not settle(connection, one)
    assert deliveries.next_due(connection, "log") == at(69)
    settle(connection, two, DUE)
    assert deliveries.next_due(connection, "log") == at(1)
    assert states(connection) == [(1, "due")]
    assert not settle(connection, two)


def test_read_session(connection: sqlite3.Connection) -> None:
    """A session's deliveries are read apart from others'."""
    append(connection, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"), draft("S1", "Chatting", "log"))
    assert [one.id for one in deliveries.read_session(connection, "S1", None)] == ["1/log", "3/log"]


def test_end_leases(connection: sqlite3.Connection) -> None:
    """What a daemon that is no more had leased is due, and nothing of it can be settled."""
    append(connection, draft("S1", "Invited", "log"), draft("S2", "Invited", "log", due_at=after(90)))
    (one,) = lease(connection)
    deliveries.end_leases(connection, at(5))
    assert states(connection) == [(1, "due"), (2, "due")]
    assert deliveries.next_due(connection, "log") == at(5)
    assert not settle(connection, one)


def test_revived(connection: sqlite3.Connection) -> None:
    """A dead letter that is tried again goes before what waits."""
    append(connection, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    (dead,) = kill(connection)
    assert deliveries.revive(connection, dead, at(2))
    assert states(connection) == [(1, "due"), (2, "waiting")]
    assert not deliveries.revive(connection, dead, at(2))
    assert [one.id for one in lease(connection, seconds=2)] == ["1/log"]


def test_one_revived(connection: sqlite3.Connection) -> None:
    """Of several dead letters only the one that is asked for is tried again, of its entry and its handler."""
    append(connection, draft("S1", "Invited", "log", "audit"), draft("S2", "Invited", "log"))
    for one in (*lease(connection), *lease(connection, "audit", number=5)):
        settle(connection, one, DEAD)
    dead = next(deliveries.read_dead(connection, seq=1, handler="log"))
    assert deliveries.revive(connection, dead, at(2))
    assert [each.id for each in deliveries.read_dead(connection, seq=None, handler=None)] == ["1/audit", "2/log"]


def test_order_among_sessions(connection: sqlite3.Connection) -> None:
    """What is settled frees the next of its own session, agent and handler, and nothing else."""
    waiting = [draft("S1", "Invited", "log", "audit"), draft("S1", "Chatting", "log", "audit")]
    append(connection, *waiting, draft("S2", "Invited", "log"), draft("S2", "Chatting", "log"))
    append(connection, draft("S1", "LeftChat", "log", "audit"))
    settle(connection, lease(connection, most=1)[0])
    waits = [record.id for record in deliveries.read(connection, seq=None) if record.state.value == "waiting"]
    assert waits == ["2/audit", "4/log", "5/audit", "5/log"]


def test_revived_behind_what_runs(connection: sqlite3.Connection) -> None:
    """A dead letter that is tried again goes after what runs."""
    append(connection, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    (dead,) = kill(connection)
    lease(connection)
    assert deliveries.revive(connection, dead, at(2))
    assert states(connection) == [(1, "waiting"), (2, "running")]


def test_dropped(connection: sqlite3.Connection) -> None:
    """A dead letter that is dropped is none any more; others are found by entry and handler."""
    append(connection, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"))
    first, second = kill(connection)
    assert deliveries.drop(connection, first, "no use", at(2))
    assert not deliveries.drop(connection, first, "no use", at(2))
    assert list(deliveries.read_dead(connection, seq=2, handler="log")) == [second]
    assert list(deliveries.read_dead(connection, seq=1, handler=None)) == []
    assert list(deliveries.read_dead(connection, seq=None, handler="audit")) == []
    assert next(deliveries.read(connection, seq=1)).because == "no use"


def test_forget(connection: sqlite3.Connection) -> None:
    """What is settled goes with its entry."""
    append(connection, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"))
    kill(connection)
    deliveries.forget(connection, 2)
    assert states(connection) == [(2, "dead")]


def test_check(connection: sqlite3.Connection) -> None:
    """Checking finds a delivery without its entry, and a session and handler with no first delivery or several."""
    append(connection, *[draft(session, "Invited", "log") for session in ("S1", "S1", "S2", "S2", "S3")])
    assert list(deliveries.check(connection)) == []
    connection.execute("UPDATE pending SET due_at = 0 WHERE session = 'S1'")
    connection.execute("UPDATE pending SET due_at = NULL WHERE session = 'S2'")
    connection.execute("DELETE FROM entries WHERE seq = 5")
    assert [f"{finding.where}: {finding.what}" for finding in deliveries.check(connection)] == [
        "pending log: entry 5 is missing",
        "pending log: 2 deliveries of session S1 are due, not one",
        "pending log: 0 deliveries of session S2 are due, not one",
    ]


def test_settled_since(connection: sqlite3.Connection) -> None:
    """What was settled can be read from a time on, in that order, but for what nobody wanted."""
    append(connection, draft("S1"), draft("S1"), draft("S1"))
    for seq, state, seconds in ((1, DELIVERED, 3), (2, DEAD, 2), (3, DeliveryState.NOT_WANTED, 4)):
        key = deliveries.Key("log", "agent1", "S1", seq)
        deliveries.append_settled(connection, [(key, state, "why", at(seconds))])
    assert [(one.seq, one.attempts) for one in deliveries.read_settled(connection, at(0))] == [(2, 0), (1, 0)]
    assert [one.seq for one in deliveries.read_settled(connection, at(3))] == [1]


def test_held(connection: sqlite3.Connection) -> None:
    """What is due of a session that is held isn't handed out, nor is it due next; nor what has no entry."""
    append(connection, draft("S1", "Invited", "log"), draft("S2", "Invited", "log", due_at=after(5)))
    held = {("agent1", "S1")}
    due = list(deliveries.find_due(connection, "log", 9, at(9), held, RecentEntries(), 1))
    assert [(one.entry.session, before) for one, before in due] == [("S2", 0)]
    assert deliveries.next_due(connection, "log", held) == at(5)
    connection.execute("DELETE FROM entries")
    assert list(deliveries.find_due(connection, "log", 9, at(9), (), RecentEntries(), 1)) == []

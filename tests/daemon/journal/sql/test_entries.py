import sqlite3

from fbsessiond.journal.records import Draft, RunningClock, Wait
from fbsessiond.journal.sql import deliveries, entries
from fbsessiond.journal.sql.rows import CHANGED, checksum, to_microseconds
from fbsessiond.message import Batch, Origin
from fbsessiond.transition import Change, Kind
from journal_parts import NOW, after, draft, message, other, repeat


def append(connection: sqlite3.Connection, *drafts: Draft, seconds: float = 0, agent: str = "agent1") -> None:
    """Append entries, and no more."""
    batch = Batch(agent, Origin.LIVE, after(seconds), tuple(one.message for one in drafts))
    entries.append(connection, batch, drafts, entries.last_seq(connection) + 1)


def wrong(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with entries and sessions."""
    found = [*entries.check(connection, lambda _done, _all: None), *entries.check_sessions(connection)]
    return [f"{finding.where}: {finding.what}" for finding in found]


def test_numbers(connection: sqlite3.Connection) -> None:
    """The count begins at 1, and goes on after the last entry."""
    assert entries.last_seq(connection) == 0
    append(connection, draft("S1"), other())
    append(connection)
    assert entries.last_seq(connection) == 2


def test_read(connection: sqlite3.Connection) -> None:
    """Entries are read in their order: all, from a number on, of a session, and of an agent."""
    append(connection, draft("S1"), draft("S2"), other())
    append(connection, draft("S1"), draft("S1", "Chatting"), agent="agent2")
    for session, agent, after_seq, expected in [
        (None, None, 0, [1, 2, 3, 4, 5]),
        (None, "agent2", 4, [5]),
        ("S1", None, 0, [1, 4, 5]),
        ("S1", "agent1", 0, [1]),
        ("S1", "agent2", 4, [5]),
    ]:
        found = entries.read(connection, session=session, agent=agent, after_seq=after_seq)
        assert [entry.seq for entry in found] == expected


def test_known(connection: sqlite3.Connection) -> None:
    """What is known of a session is in its last entry that changed it, or beside it, or kept once that is forgotten."""
    assert entries.known(connection, "agent1", "S1") is None
    append(connection, draft("S1"), repeat("S1"))
    assert entries.known(connection, "agent1", "S1") == {"id": "S1", "state": "Invited"}
    merged = {"id": "S1", "state": "Chatting", "comment": "from before"}
    append(connection, draft("S1", "Chatting", merged=merged))
    assert entries.known(connection, "agent1", "S1") == merged
    connection.execute("UPDATE sessions SET document = ?", (b'{"id":"S1","state":"kept"}',))
    connection.execute("DELETE FROM entries")
    assert entries.known(connection, "agent1", "S1") == {"id": "S1", "state": "kept"}
    assert entries.known(connection, "agent2", "S1") is None
    append(connection, draft("S1", "LeftChat"))
    assert entries.known(connection, "agent1", "S1") == {"id": "S1", "state": "LeftChat"}


def test_shown(connection: sqlite3.Connection) -> None:
    """A notification shows its session, unless it has only its new messages."""
    append(connection, draft("S1"), Draft(message(), Change(Kind.MESSAGES, "S1")))
    assert entries.shown(connection, "agent1", "S1", 0)
    assert not entries.shown(connection, "agent1", "S1", 1)
    assert not entries.shown(connection, "agent2", "S1", 0)


def test_open_sessions(connection: sqlite3.Connection) -> None:
    """Sessions that are over, that vanished, and whose state was never said aren't open."""
    append(connection, *[draft(state, state) for state in ("Chatting", "Completed", "Revoked", "Vanished")])
    stateless = {"id": "Stateless"}
    append(connection, Draft(message(stateless), Change(Kind.PROPERTIES, "Stateless", document=stateless)))
    assert entries.open_sessions(connection, "agent1") == {"Chatting": "Chatting"}
    assert entries.open_sessions(connection, "agent2") == {}


def test_notifications(connection: sqlite3.Connection) -> None:
    """A session's notifications after a place are those of its agent, whatever they changed, word for word."""
    first, second = draft("S1"), repeat("S1")
    append(connection, first, draft("S2"), second)
    append(connection, draft("S1"), agent="agent2")
    expected = [(1, first.message.data), (3, second.message.data)]
    assert entries.notifications(connection, "agent1", "S1", 0) == expected
    assert entries.notifications(connection, "agent1", "S1", 1) == expected[1:]
    assert entries.notifications(connection, "agent1", "S1", 3) == []


def test_counts(connection: sqlite3.Connection) -> None:
    """Entries are counted, with the first and the last and when they came, by kind; and so are sessions."""
    assert entries.count(connection) == (0, None, None, None, None)
    append(connection, draft("S1"), other())
    append(connection, draft("S2"), seconds=2)
    count, first, last, first_at, last_at = entries.count(connection)
    assert (count, first, last, last_at - first_at) == (3, 1, 3, 2_000_000)
    assert entries.count_kinds(connection) == {"transition": 2, "other": 1}
    assert entries.count_sessions(connection) == 2


def test_progress(connection: sqlite3.Connection) -> None:
    """Who checks entries is told how far that got, a thousand at a time."""
    append(connection, *[other() for _ in range(2_001)])
    told: list[tuple[int, int]] = []
    assert list(entries.check(connection, lambda done, count: told.append((done, count)))) == []
    assert told == [(0, 2001), (1000, 2001), (2000, 2001), (2001, 2001)]


def test_check(connection: sqlite3.Connection) -> None:
    """Checking finds an entry that was changed, one that is missing, and a transition from what wasn't."""
    append(connection, draft("S1"), other(), other(), draft("S1", "Chatting", before="Invited"))
    append(connection, draft("S1", "LeftChat", before="Chatting"))
    assert wrong(connection) == []
    connection.execute("UPDATE entries SET channel = 'x' WHERE seq = 2")
    connection.execute("DELETE FROM entries WHERE seq IN (3, 4)")
    assert wrong(connection) == [
        f"entry 2: {CHANGED}",
        "entry 5: follows entry 2: entries between them are missing",
        "entry 5: session S1 changes from Chatting, but was Invited before",
    ]


def test_check_from_the_beginning(connection: sqlite3.Connection) -> None:
    """Where nothing is forgotten, a session's first transition begins with nothing; what else arrives is none."""
    append(connection, other(), draft("S1"), repeat("S1"), draft("S1", "Chatting", before="Invited"))
    append(connection, draft("S1"), agent="agent2")
    assert wrong(connection) == []
    append(connection, draft("S2", "LeftChat", before="Chatting"))
    assert wrong(connection) == ["entry 6: session S2 changes from Chatting, but was None before"]


def test_check_without_the_beginning(connection: sqlite3.Connection) -> None:
    """Where the oldest entries are forgotten, a session's first one that is left may begin anywhere."""
    append(connection, draft("S1"), draft("S1", "Chatting", before="Invited"))
    connection.execute("DELETE FROM entries WHERE seq = 1")
    assert wrong(connection) == []


def test_check_sessions(connection: sqlite3.Connection) -> None:
    """Checking finds a session whose document is nowhere, and one whose kept document was changed."""
    append(connection, draft("S1"), draft("S2"), draft("S3"))
    connection.execute("DELETE FROM entries WHERE seq = 1")
    connection.execute("UPDATE sessions SET document = x'7b7d', checksum = 7 WHERE seq = 2")
    kept = b"{}", checksum(("agent1", "S3", b"{}"))
    connection.execute("UPDATE sessions SET document = ?, checksum = ? WHERE seq = 3", kept)
    assert wrong(connection) == [f"session S2: {CHANGED}", "session S1: entry 1 is missing"]


def test_since(connection: sqlite3.Connection) -> None:
    """A session keeps the time at which it entered its state for as long as it is in it."""
    since: list[int] = []
    for seconds, state in enumerate(["Invited", "Invited", "Chatting"]):
        append(connection, draft("S1", state), seconds=seconds)
        ((at,),) = connection.execute("SELECT since FROM sessions").fetchall()
        since.append(at)
    assert [at - since[0] for at in since] == [0, 0, 2_000_000]
    assert next(entries.read(connection, session=None, agent=None, after_seq=0)).received_at == NOW


def test_standing(connection: sqlite3.Connection) -> None:
    """Of each session that isn't over the last transition stands; they come in their order."""
    over = [draft(state, state) for state in ("Completed", "Revoked", "Vanished")]
    append(connection, draft("S2"), draft("S1"), draft("S1", "Chatting", before="Invited"), *over, repeat("S1"))
    assert [entry.seq for entry in entries.standing(connection)] == [1, 3]


def test_sessions(connection: sqlite3.Connection) -> None:
    """Sessions are read as last known, the latest first, or the open ones alone, with the clock that ends next."""
    append(connection, draft("S1"), draft("S2", "Completed"))
    clock = (deliveries.Key("log", "agent1", "S1", 1), to_microseconds(after(60)), Wait.FOR)
    deliveries.append(connection, [clock])
    first, second = entries.read_sessions(connection, is_open=False)
    assert (first.session, first.state, first.since, first.clock) == ("S2", "Completed", NOW, None)
    assert second.clock == RunningClock("log", after(60))
    append(connection, draft("S3", "Revoked"), draft("S4", "Vanished"))
    assert [one.session for one in entries.read_sessions(connection, is_open=True)] == ["S1"]


def test_place(connection: sqlite3.Connection) -> None:
    """The place before what was received since a time is found back from the end; what came late hides nothing."""
    assert entries.place(connection, to_microseconds(NOW)) == 0
    for seconds in (0, 10, 0, 20):
        append(connection, other(), seconds=seconds)
    found = [entries.place(connection, to_microseconds(after(seconds))) for seconds in (0, 5, 10, 20, 30)]
    assert found == [0, 1, 1, 3, 4]


def test_place_after_much(connection: sqlite3.Connection) -> None:
    """It isn't looked for beyond a thousand that are older."""
    append(connection, other(), seconds=5)
    append(connection, *(other() for _ in range(1000)))
    append(connection, other(), seconds=6)
    assert entries.place(connection, to_microseconds(after(5))) == 1001
    for _ in range(2):
        append(connection, *(other() for _ in range(600)))
        append(connection, other(), seconds=6)
    assert entries.place(connection, to_microseconds(after(6))) == 1001


def test_read_one(connection: sqlite3.Connection) -> None:
    """An entry is read by its number, where it is there."""
    one = draft("S1", "Invited")
    entries.append(connection, Batch("agent1", Origin.LIVE, NOW, (one.message,)), [one], 1)
    read = entries.read_one(connection, 1)
    assert read is not None
    assert (read.session, read.notification) == ("S1", one.message.data)
    assert entries.read_one(connection, 2) is None

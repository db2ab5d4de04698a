import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.journal.suite.engine import verified
from daemon.journal.suite.follow_ups import PARKED, ask, comment, end, ids, lease_follow_ups
from fbsessiond.errors import JournalError
from fbsessiond.gap import GapCause
from fbsessiond.journal.documents import document_of
from fbsessiond.journal.packing import shipped_dictionary
from fbsessiond.journal.records import DeliveryState
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.journal.sqlite.reader import SqliteReader
from journal_parts import (
    NOW,
    after,
    append,
    break_chain,
    draft,
    drop,
    gap,
    kill,
    lease,
    misfit,
    other,
    prove,
    retry,
    retry_quarantined,
    settle,
    watched,
)


@pytest.fixture
async def kept(path: Path) -> Path:
    """Return a journal with something of everything in it, and nobody who writes it."""
    journal = SqliteJournal(path, NOW)
    await append(journal, draft("old", "Invited"), draft("old", "Chatting", before="Invited"), other())
    await append(journal, misfit(b"old"), misfit(b"old"), misfit(b"old"))
    await journal.prune(after(1), 0)
    merged = {"id": "S1", "state": "Chatting", "comment": "hm"}
    await append(
        journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log", before="Invited", merged=merged)
    )
    await append(journal, draft("S1", "LeftChat", "log", before="Chatting"), other(), misfit(b"new"), at=after(5))
    await kill(journal)
    journal.close()
    return path


@pytest.fixture
def reader(kept: Path) -> Iterator[SqliteReader]:
    """Read that journal."""
    reader = SqliteReader(kept)
    yield reader
    reader.close()


def damage(path: Path, column: str, value: object, *, table: str = "entries", seq: int = 5, form: str = "?") -> None:
    """Change a value in a journal behind its back."""
    connection = sqlite3.connect(path)
    statement = f"UPDATE {table} SET {column} = {form} WHERE seq = ?"  # noqa: S608  the names are this file's own
    assert connection.execute(statement, (value, seq)).rowcount == 1
    connection.commit()
    connection.close()


def change(path: Path, script: str) -> None:
    """Change a journal behind its back."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def found(reader: SqliteReader) -> list[str]:
    """Return what is wrong, a line each."""
    return [f"{finding.where}: {finding.what}" for finding in verified(reader)]


def test_healthy(reader: SqliteReader) -> None:
    """Nothing is wrong in a journal that nobody damaged."""
    assert found(reader) == []


def test_contents(reader: SqliteReader, path: Path) -> None:
    """A reader shows what the journal holds."""
    assert [entry.seq for entry in reader.entries()] == [3, 4, 5, 6, 7]
    assert [entry.seq for entry in reader.entries(session="S1", agent="agent1", after_seq=4)] == [5, 6]
    assert [(record.seq, record.state.value) for record in reader.deliveries()] == [
        (4, "dead"),
        (5, "due"),
        (6, "waiting"),
    ]
    assert [record.seq for record in reader.deliveries(seq=5)] == [5]
    assert [record.seq for record in reader.deliveries(session="S1", agent="agent1")] == [4, 5, 6]
    assert [quarantined.raw for quarantined in reader.quarantined()] == [b"old", b"new"]
    assert len(reader.redaction_key()) == 32
    counted = reader.statistics()
    assert (counted.entries, counted.first_seq, counted.last_seq, counted.sessions) == (5, 3, 7, 2)
    assert (counted.first_received_at, counted.last_received_at) == (NOW, after(5))
    assert counted.kinds == {"other": 2, "transition": 3}
    assert counted.deliveries == {"dead": 1, "due": 1, "waiting": 1}
    assert counted.quarantined == 2
    assert counted.bytes == path.stat().st_size
    backlog = reader.backlog(["log"], after(5))
    assert (backlog.deliveries["log"][DeliveryState.DUE], backlog.deliveries["log"][DeliveryState.WAITING]) == (1, 1)
    assert (backlog.dead, backlog.quarantined, backlog.bytes) == ({"log": 1}, 2, counted.bytes)
    assert backlog.due_for["log"] > timedelta()


def test_no_dead_letter_any_more(reader: SqliteReader) -> None:
    """A dead letter that was dropped can't be tried again."""
    (dead,) = reader.dead()
    assert drop(reader, dead, NOW)
    assert not retry(reader, dead, NOW)


async def test_memory() -> None:
    """A journal in memory is read through its own connection, which stays open."""
    journal = SqliteJournal(MEMORY, NOW)
    await append(journal, draft("S1", "Invited", "log"), misfit())
    await kill(journal)
    reader = SqliteReader(MEMORY, journal.connection)
    assert [entry.seq for entry in reader.entries()] == [1]
    (dead,) = reader.dead()
    assert retry(reader, dead, NOW)
    assert retry_quarantined(reader, 1)
    reader.close()
    assert len(await lease(journal)) == 1
    assert len(await journal.take_retries()) == 1
    journal.close()


async def test_change_that_fails() -> None:
    """A person's change that fails is taken back, also where the connection is shared, and can be tried again."""
    journal = SqliteJournal(MEMORY, NOW)
    await append(journal, misfit())
    reader = SqliteReader(MEMORY, journal.connection)
    journal.connection.execute("CREATE TRIGGER refuse BEFORE UPDATE ON quarantine BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(JournalError, match="can't write the journal: no"):
        retry_quarantined(reader, 1)
    journal.connection.execute("DROP TRIGGER refuse")
    assert retry_quarantined(reader, 1)
    journal.close()


def test_closed(kept: Path) -> None:
    """A reader that was closed reads no more."""
    reader = SqliteReader(kept)
    reader.close()
    with pytest.raises(JournalError, match="closed database"):
        reader.statistics()


def test_nothing(path: Path) -> None:
    """A journal in which nothing is yet has neither a first nor a last entry."""
    SqliteJournal(path, NOW).close()
    reader = SqliteReader(path)
    counted = reader.statistics()
    assert (counted.entries, counted.first_received_at, counted.last_received_at) == (0, None, None)
    reader.close()


@pytest.mark.parametrize("column", ["seq", "received_at", "checksum"])
def test_flipped_bit_in_a_number(reader: SqliteReader, path: Path, column: str) -> None:
    """Verifying finds one flipped bit in any number of an entry."""
    value = {"seq": 5, "received_at": 0, "checksum": 0}[column] ^ 1 << 40
    damage(path, column, value)
    where = f"entry {value if column == 'seq' else 5}"
    assert f"{where}: its checksum doesn't fit: it was changed after it was written" in found(reader)


WORDS = ("origin", "agent", "channel", "session", "kind", "before", "after")


@pytest.mark.parametrize("column", [*WORDS, "notification", "document"])
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_flipped_bit(reader: SqliteReader, path: Path, column: str, bit: int) -> None:
    """Verifying finds one flipped bit in any text of an entry, UTF-8 or not any more, and says which entry."""
    with closing(sqlite3.connect(path)) as connection:
        stored = connection.execute(f"SELECT CAST({column} AS BLOB) FROM entries WHERE seq = 5").fetchone()[0]  # noqa: S608
    flipped = bytearray(stored)
    flipped[-1] ^= 1 << bit
    damage(path, column, bytes(flipped), form="CAST(? AS TEXT)" if column in WORDS else "?")
    first, *others = found(reader)
    assert first == "entry 5: its checksum doesn't fit: it was changed after it was written"
    assert all("but was" in line for line in others)


def test_one_finding(reader: SqliteReader, path: Path) -> None:
    """One damaged notification is one finding: what the entry says of its session still counts for the next."""
    damage(path, "notification", b"{}")
    assert len(found(reader)) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [("received_at", 1), ("origin", "x"), ("agent", "x"), ("channel", "x"), ("raw", b"x"), ("checksum", 1)],
)
def test_damaged_quarantine(reader: SqliteReader, path: Path, column: str, value: object) -> None:
    """Verifying finds a quarantined message that isn't what it was."""
    damage(path, column, value, table="quarantine", seq=4)
    assert found(reader) == ["quarantine 4: its checksum doesn't fit: it was changed after it was written"]


def test_damaged_dictionary(reader: SqliteReader, path: Path) -> None:
    """Verifying finds a dictionary that isn't what it was, and each entry that can't be unpacked without it."""
    damage(path, "content", shipped_dictionary()[:-1] + b"\0", table="dictionaries", seq=1)
    lines = found(reader)
    changed = "its checksum doesn't fit: it was changed after it was written"
    assert f"dictionary 1: {changed}" in lines
    assert [line for line in lines if line.startswith("entry")] == [f"entry {seq}: {changed}" for seq in range(3, 8)]
    with pytest.raises(LookupError, match="can't be read"):
        document_of(next(reader.entries(session="S1")))


def test_lost_dictionary(reader: SqliteReader, path: Path) -> None:
    """Verifying finds that a dictionary is lost, and each entry that was packed by it."""
    change(path, "DELETE FROM dictionaries")
    lines = found(reader)
    assert "the dictionaries: are missing" in lines
    assert len([line for line in lines if line.startswith("entry")]) == 5


def test_damaged_document(reader: SqliteReader, path: Path) -> None:
    """Verifying finds a session whose document, kept from an entry that was forgotten, isn't what it was."""
    damage(path, "document", b'{"id":"old","state":"Shatting"}', table="sessions", seq=2)
    assert found(reader) == ["session old: its checksum doesn't fit: it was changed after it was written"]


def test_missing_entry(reader: SqliteReader, path: Path) -> None:
    """Verifying finds a gap in the numbers, and a transition whose predecessor is in it."""
    change(path, "DELETE FROM entries WHERE seq = 5")
    assert found(reader)[:2] == [
        "entry 6: follows entry 4: entries between them are missing",
        "entry 6: session S1 changes from Chatting, but was Invited before",
    ]


def test_missing_first_entry(reader: SqliteReader, path: Path) -> None:
    """Verifying finds a session whose last entry is missing, with its document."""
    change(path, "DELETE FROM entries WHERE seq <= 6")
    assert "session S1: entry 6 is missing" in found(reader)


def test_pending_without_entry(reader: SqliteReader, path: Path) -> None:
    """Verifying finds a delivery whose entry is missing."""
    damage(path, "seq", 99, table="pending", seq=5)
    assert "pending log: entry 99 is missing" in found(reader)


@pytest.mark.parametrize(("due_at", "count"), [(1, 2), (None, 0)])
def test_pending_out_of_order(reader: SqliteReader, path: Path, due_at: int | None, count: int) -> None:
    """Verifying finds a session of which none or several deliveries to one handler are due."""
    for seq in (5, 6):
        damage(path, "due_at", due_at, table="pending", seq=seq)
    assert found(reader) == [f"pending log: {count} deliveries of session S1 are due, not one"]


def overwrite(path: Path, table: str, old: bytes, new: bytes) -> None:
    """Damage the first page of a table or an index."""
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = path.read_bytes()
    start = (page - 1) * size
    damaged = content[start : start + size].replace(old, new)
    path.write_bytes(content[:start] + damaged + content[start + size :])


def test_damaged_index(kept: Path) -> None:
    """Verifying finds an index that doesn't fit its table."""
    overwrite(kept, "entries_by_session", b"S1", b"S9")
    reader = SqliteReader(kept)
    assert any(re.fullmatch("the file: row . missing from index entries_by_session", line) for line in found(reader))
    reader.close()


IN_FULL = {
    "facts": (b"identity", b"identitx"),
    "sessions": (b"LeftChat", b"LefuChat"),
    "agents": (b"network", b"netwark"),
    "gaps": (b"start", b"stark"),
    "pending": (b"agent1", b"agent0"),
    "settled": (b"dead", b"deae"),
    "quarantine": (b"isn't JSON", b"isn't KSON"),
    "acts": (b"ops (uid", b"opr (uid"),
    "follow_ups": (b"intended", b"hntended"),
}


@pytest.mark.parametrize("index", ["", "_in_full"])
@pytest.mark.parametrize("table", IN_FULL)
async def test_flipped_bit_without_checksum(kept: Path, table: str, index: str) -> None:
    """Verifying finds one flipped bit in what has no checksum, by its second copy, and in the copy too."""
    journal = SqliteJournal(kept, NOW)
    await ask(journal, comment(1, "S2"), session="S2")
    await journal.watch("agent1", NOW)
    await prove(journal, "A", 2, 10)
    await break_chain(journal)
    assert drop(journal.reader(), next(journal.reader().quarantined()))
    journal.close()
    if index and table == "facts":
        old, new = b"\x00", b"\x01"
    else:
        old, new = IN_FULL[table]
    overwrite(kept, table + index, old, new)
    reader = SqliteReader(kept)
    assert found(reader)
    reader.close()


@pytest.mark.parametrize("table", ["entries", "settled", "quarantine"])
def test_damaged_structure(kept: Path, table: str) -> None:
    """Verifying finds what can't be read any more, and doesn't fall over it."""
    overwrite(kept, table, b"\x00", b"\xff")
    reader = SqliteReader(kept)
    lines = found(reader)
    assert lines
    assert all(line.startswith("the file: ") for line in lines)
    reader.close()


def test_truncated_file(kept: Path) -> None:
    """A file whose end is missing can't be read at all, and the text says so."""
    content = kept.read_bytes()
    kept.write_bytes(content[: len(content) // 4096 // 2 * 4096])
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal: database disk image is malformed"):
        SqliteReader(kept)


READING: list[Callable[[SqliteReader], object]] = [
    lambda reader: list(reader.entries()),
    lambda reader: list(reader.entries(session="S1")),
    lambda reader: list(reader.deliveries()),
    lambda reader: list(reader.dead()),
    lambda reader: list(reader.quarantined()),
    lambda reader: list(reader.follow_ups()),
    lambda reader: list(reader.stuck_follow_ups()),
    lambda reader: list(reader.watched()),
    lambda reader: list(reader.gaps()),
    lambda reader: list(reader.reveals()),
    lambda reader: reader.statistics(),
    lambda reader: reader.redaction_key(),
]


@pytest.mark.parametrize("reading", READING)
def test_unreadable(reader: SqliteReader, path: Path, reading: Callable[[SqliteReader], object]) -> None:
    """What can't be read is an error of the journal that says where, and how to find out more."""
    tables = ["entries", "settled", "pending", "quarantine", "facts", "follow_ups", "agents", "gaps", "reveals"]
    change(path, "".join(f"DROP TABLE {table};" for table in tables))
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal: no such table.* journal verify"):
        reading(reader)


def test_lost_key(reader: SqliteReader, path: Path) -> None:
    """A journal without its key shows nothing that needs tokens, and says why."""
    change(path, "DELETE FROM facts")
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal: the journal's redaction_key is lost"):
        reader.redaction_key()


def test_unreadable_follow_ups(reader: SqliteReader, path: Path) -> None:
    """Follow-ups that can't be counted or verified are an error and a finding like any other."""
    change(path, "DROP TABLE follow_ups")
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal: no such table: follow_ups"):
        reader.statistics()
    assert found(reader)[-1] == (
        f"the file: {path}: can't read the journal: no such table: follow_ups; see `fbsessiond journal verify`"
    )


async def test_follow_up_that_cannot_be_read(kept: Path) -> None:
    """A follow-up that is sound but for a text that can't be read is found, too."""
    journal = SqliteJournal(kept, NOW)
    await ask(journal, comment(1, "S2"), session="S2")
    journal.close()
    change(kept, "UPDATE follow_ups SET because = CAST(X'FF' AS TEXT)")
    reader = SqliteReader(kept)
    (finding,) = found(reader)
    assert finding.startswith("follow-ups: can't be read: Could not decode to UTF-8 column 'because'")
    reader.close()


def test_what_cannot_be_read(reader: SqliteReader, path: Path) -> None:
    """A bit that flips where no checksum is gets found where it makes a row unreadable."""
    change(path, "UPDATE settled SET because = CAST(X'FF' AS TEXT)")
    (finding,) = found(reader)
    assert finding.startswith("deliveries: can't be read: Could not decode to UTF-8 column 'because'")
    change(path, "UPDATE settled SET because = NULL, state = 'ddead'")
    assert found(reader) == ["deliveries: can't be read: 'ddead' is not a valid DeliveryState"]


def test_changed_schema(reader: SqliteReader, path: Path) -> None:
    """Verifying finds what somebody added to the schema, and what changed in it."""
    change(path, "CREATE TABLE notes (text TEXT); DROP INDEX settled_dead")
    assert found(reader) == [
        "the schema: 'notes' isn't as it was made",
        "the schema: 'settled_dead' isn't as it was made",
    ]


async def test_ledger(path: Path) -> None:
    """What is proved of each agent's time, and the gaps in it, are shown beside the daemon."""
    journal = SqliteJournal(path, NOW)
    reader = SqliteReader(path)
    for agent in ("agent2", "agent1"):
        await journal.watch(agent, NOW)
        await prove(journal, "A", 2, 10, agent=agent)
    await break_chain(journal)
    start = gap(0, 2, GapCause.START)
    assert list(reader.gaps()) == [start, gap(0, 2, GapCause.START, agent="agent2")]
    assert list(reader.gaps(agent="agent1")) == [start]
    assert [one.agent for one in reader.watched()] == ["agent1", "agent2"]
    assert list(reader.watched(agent="agent1")) == [watched(10, start, broken=GapCause.NETWORK)]
    reader.close()
    journal.close()


async def test_follow_ups(path: Path) -> None:
    """Follow-ups are shown beside the daemon; those that are stuck can be tried again and dropped."""
    journal = SqliteJournal(path, NOW)
    reader = SqliteReader(path)
    for session in ("S1", "S2"):
        await ask(journal, comment(1, session), session=session)
    await end(journal, PARKED)
    assert ids(list(reader.follow_ups(session="S1"))) == ["1/wrap-up/1"]
    first, second = reader.stuck_follow_ups()
    assert retry(reader, first, NOW)
    assert drop(reader, second, NOW)
    assert reader.statistics().follow_ups == {"intended": 1, "withdrawn": 1}
    assert ids(await lease_follow_ups(journal)) == ["1/wrap-up/1"]
    reader.close()
    journal.close()


@pytest.mark.parametrize(
    ("column", "value"), [("origin", "lice"), ("kind", "x"), ("received_at", 2**62), ("received_at", -(2**59))]
)
def test_unreadable_value(reader: SqliteReader, path: Path, column: str, value: object) -> None:
    """An entry with a value that can't be is an error of the journal, not a bug."""
    damage(path, column, value)
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal"):
        list(reader.entries())


def test_unreadable_text(reader: SqliteReader, path: Path) -> None:
    """An entry whose text isn't UTF-8 any more can be verified, but not read."""
    damage(path, "agent", b"agent\xff", form="CAST(? AS TEXT)")
    assert found(reader)
    with pytest.raises(JournalError, match=r"journal\.db: can't read the journal: Could not decode to UTF-8"):
        list(reader.entries())


def test_failed_change(reader: SqliteReader, path: Path) -> None:
    """A person's change that can't be written is an error of the journal, and nothing of it is written."""
    (dead,) = reader.dead()
    before = list(reader.deliveries())
    change(path, "CREATE TRIGGER full BEFORE INSERT ON pending BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
    with pytest.raises(JournalError, match=r"journal\.db: can't write the journal: the disk is full"):
        retry(reader, dead, NOW)
    assert list(reader.deliveries()) == before
    assert drop(reader, dead, NOW)


async def test_change_beside_the_daemon(path: Path) -> None:
    """A person's change waits for the daemon's transaction to end, and the daemon goes on."""
    journal = SqliteJournal(path, NOW)
    await append(journal, draft("S1", "Invited", "log"))
    await kill(journal)
    reader = SqliteReader(path)
    (dead,) = reader.dead()
    assert retry(reader, dead, NOW)
    await settle(journal, *await lease(journal))
    assert [record.state.value for record in reader.deliveries()] == ["delivered"]
    reader.close()
    journal.close()


async def test_version(path: Path) -> None:
    """A reader's version differs after a change, its own or another's."""
    journal = SqliteJournal(path, NOW)
    reader = SqliteReader(path)
    versions = [reader.version()]
    await append(journal, draft("S1"))
    versions.append(reader.version())
    assert len(set(versions)) == 2
    assert reader.version() == versions[-1]
    reader.close()
    journal.close()


def test_sessions(reader: SqliteReader) -> None:
    """Sessions are read as last known."""
    first, *_ = reader.sessions()
    assert (first.session, first.state) == ("S1", "LeftChat")


def test_reveals(reader: SqliteReader) -> None:
    """That customer data was revealed is written down, and can be read."""
    reader.note_reveal(NOW, "root", "export --reveal")
    (reveal,) = reader.reveals()
    assert (reveal.at, reveal.by, reveal.command) == (NOW, "root", "export --reveal")


async def test_of_a_session(path: Path) -> None:
    """Deliveries and follow-ups are read of one session, of all its entries or of one."""
    journal = SqliteJournal(path, NOW)
    await ask(journal, comment(1))
    await append(journal, draft("S1", "Chatting", "log"))
    reader = SqliteReader(path)
    assert [one.id for one in reader.deliveries(session="S1")] == ["1/wrap-up", "2/log"]
    assert [one.id for one in reader.deliveries(session="S1", seq=2)] == ["2/log"]
    assert [one.id for one in reader.follow_ups(session="S1")] == ["1/wrap-up/1"]
    assert list(reader.follow_ups(session="S1", seq=2)) == []
    reader.close()
    journal.close()


async def test_since(path: Path) -> None:
    """What happened since a time can be read."""
    journal = SqliteJournal(path, NOW)
    await ask(journal, comment(1), now=after(5))
    reader = SqliteReader(path)
    assert (reader.place(after(5)), reader.place(after(6))) == (0, 1)
    assert [one.id for one in reader.settled(after(5))] == ["1/wrap-up"]
    assert [one.id for one in reader.changed_follow_ups(after(5))] == ["1/wrap-up/1"]
    assert list(reader.settled(after(6))) == list(reader.changed_follow_ups(after(6))) == []
    reader.close()
    journal.close()

"""Damage to a journal: rows that were changed, and the bytes of its file. It is told; nothing else happens.

Damage is written so that nearly any bytes are some, a line each. Three bytes say which table, column and row, counted
round and round, and the rest is the value; none is NULL. `-` takes the row of a table away, `@` writes the rest at a
place of the file, which is three bytes, and `!` cuts the file there.
"""

import asyncio
import functools
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import msgspec

from daemon.journal.suite.engine import verified
from fbsessiond import Operation
from fbsessiond.cli.export import to_record
from fbsessiond.errors import JournalError
from fbsessiond.gap import coverage_of
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryState, Settlement
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.journal.sqlite.reader import SqliteReader
from fuzzing.journals import TABLES
from journal_parts import NOW, after, append, draft, kill, lease, life, misfit, other, prove, retry_quarantined, settle

LATER = NOW + timedelta(hours=1)
SESSIONS = ("S1", "S2")
HANDLERS = ("log", "audit")


def read_damaged(data: bytes) -> None:
    """Look at a damaged journal, verify it, and let a daemon go on with it: it works, or it is a `JournalError`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        path.write_bytes(damaged(data.split(b"\n")))
        with suppress(JournalError), closing(SqliteReader(path)) as reader:
            look(reader)
        with suppress(JournalError), closing(SqliteJournal(path, LATER)) as journal:
            asyncio.run(go_on(journal))


def look(reader: Reader) -> None:
    """Read all that a reader can; each part works, or is a `JournalError`; whatever the damage, `verify` is done."""
    verified(reader)
    reads: list[Callable[[], Iterable[object]]] = [
        lambda: [msgspec.json.encode(to_record(entry, None)) for entry in reader.entries()],
        lambda: [msgspec.json.encode(to_record(entry, bytes(32))) for entry in reader.entries(session="S1")],
        reader.deliveries,
        reader.dead,
        reader.follow_ups,
        reader.stuck_follow_ups,
        reader.quarantined,
        lambda: [coverage_of(one, reader.gaps(agent=one.agent), LATER).share for one in reader.watched()],
        lambda: [reader.statistics()],
        lambda: [reader.redaction_key()],
    ]
    for read in reads:
        with suppress(JournalError):
            list(read())


async def go_on(journal: Journal) -> None:
    """Do what a daemon does; the first damage that it meets ends it, as a `JournalError`."""
    await journal.watch("agent1", LATER)
    await prove(journal, "another", 3600, 3601)
    for session in SESSIONS:
        await journal.known("agent1", session)
        await journal.notifications("agent1", session, 0)
        await journal.shown("agent1", session, 0)
    await journal.open_sessions("agent1")
    await journal.take_retries()
    await append(journal, draft("S1", "Chatting", *HANDLERS), misfit(), at=LATER)
    for handler in HANDLERS:
        await journal.next_due(handler)
        for one in await lease(journal, handler, now=LATER):
            follow_ups = [Operation.leave("S2")]
            await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=follow_ups)], LATER)
    await journal.next_follow_up_due()
    await journal.release_follow_ups(await journal.lease_follow_ups(10, LATER, LATER), LATER)
    await journal.doubt("agent1")
    await journal.agree("agent1", LATER)
    await journal.prune(LATER, None)


def damaged(lines: Iterable[bytes]) -> bytes:
    """Return the bytes of a small journal to which these lines were done."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(_whole())
        lines = list(lines)
        for line in lines:
            with suppress(sqlite3.Error):  # some values can't be: a time that is NULL, a number that comes twice
                _change(connection, line)
        content = connection.serialize()
    for line in lines:
        at, new = int.from_bytes(line[1:4]) % len(content), line[4:]
        if line.startswith(b"@"):
            content = content[:at] + new[: len(content) - at] + content[at + len(new) :]
        elif line.startswith(b"!"):
            content = content[: at or 1]
    return content


def _change(connection: sqlite3.Connection, line: bytes) -> None:
    """Change a row as a line says, or delete it."""
    is_deleted = line.startswith(b"-")
    table, column, row = (line[1:2] + b"\0" + line[2:3] if is_deleted else line[:3]).ljust(3, b"\0")
    name, columns, key, count = _tables()[table % len(_tables())]
    where = f"({key}) IN (SELECT {key} FROM {name} ORDER BY {key} LIMIT 1 OFFSET {row % count})"  # noqa: S608  our names
    if is_deleted:
        connection.execute(f"DELETE FROM {name} WHERE {where}")  # noqa: S608  our names
    elif not line.startswith((b"@", b"!")):
        column_name, kind = columns[column % len(columns)]
        value = int.from_bytes(line[3:11], signed=True) if kind == "INTEGER" and line[3:] else line[3:] or None
        statement = f'UPDATE {name} SET "{column_name}" = CAST(? AS {kind}) WHERE {where}'  # noqa: S608  our names
        connection.execute(statement, (value,))


@functools.cache
def _tables() -> list[tuple[str, list[tuple[str, str]], str, int]]:
    """Return each table's name, columns with their types, key, and how many rows it has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(_whole())
        found: list[tuple[str, list[tuple[str, str]], str, int]] = []
        for table in (*TABLES, "facts"):
            rows = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (table,)).fetchall()
            key = ", ".join(name for name, _, place in rows if place)
            (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  our names
            found.append((table, [(name, kind) for name, kind, _ in rows], key, count))
        return found


@functools.cache
def _whole() -> bytes:
    """Return the bytes of a journal in which there is something of everything."""
    with closing(SqliteJournal(MEMORY, NOW)) as journal:
        asyncio.run(_fill(journal))
        return journal.connection.serialize()


async def _fill(journal: SqliteJournal) -> None:
    await journal.watch("agent1", NOW)
    await prove(journal, "one", 1, 2, position=b"{}")
    await prove(journal, "two", 5, 6)
    await append(journal, *life("S1", "log", "audit"), other(), misfit(), misfit(b"\xff"))
    await append(journal, draft("S2", "Invited", "log", merged={"id": "S2", "state": "Invited", "comment": "so"}))
    await append(journal, draft("S3", "Completed", "log"))
    await settle(journal, *await lease(journal, "audit", most=1))
    await kill(journal, "audit")
    (first, *_) = await lease(journal, "log")
    asked = [Operation.leave("S1"), Operation.add_comment("S2", "left"), Operation.complete("S1")]
    await journal.settle([Settlement(first, DeliveryState.DELIVERED, 1, follow_ups=asked)], NOW)
    await journal.lease_follow_ups(1, NOW, after(60))
    await journal.agree("agent1", after(5))
    assert retry_quarantined(journal.reader(), 1)

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from fbsessiond.errors import JournalError
from fbsessiond.journal.records import DiskSpace
from fbsessiond.journal.sqlite import file
from fbsessiond.journal.sqlite.file import (
    APPLICATION_ID,
    MEMORY,
    SCHEMA_VERSION,
    Lock,
    Log,
    open_to_read,
    open_to_write,
    schema,
    space_at,
)

HOLD = """
import pathlib, signal, sys
from fbsessiond.journal.sqlite.file import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
print("locked", flush=True)
signal.pause()
"""


def pragma(connection: sqlite3.Connection, name: str) -> object:
    """Return one of SQLite's settings."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def make(path: Path) -> None:
    """Make an empty journal."""
    open_to_write(path).close()


def change(path: Path, script: str) -> None:
    """Change an SQLite file as somebody else would."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def test_timed_moves(path: Path) -> None:
    """Moving the log is timed, once each time that it is moved."""
    connection = open_to_write(path)
    log = Log(connection)
    moves: list[str] = []

    @contextmanager
    def timed(step: str) -> Generator[None, None, None]:
        moves.append(step)
        yield

    log.timed = timed
    log.move()
    assert moves == []
    log.move(whole=True)
    assert moves == ["checkpoint"]
    connection.close()


SUMMED = {
    "entries": {"received_at", "origin", "agent", "channel", "session", "kind", "before", "after", "notification"}
    | {"seq", "document", "checksum"},
    "dictionaries": {"number", "seq", "content", "checksum"},
    "acts": {"id"},
    "gaps": {"id"},
    "reveals": {"id"},
    "sessions": {"document"},
    "quarantine": {"received_at", "origin", "agent", "channel", "raw", "checksum"},
}
"""What a checksum covers; and a rowid, which is in each index anyway."""


def test_everything_is_there_twice() -> None:
    """Each column of each table is covered by a checksum, or stands in an index once more: no flip goes unnoticed."""
    connection = open_to_write(MEMORY)
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        copied = {row[2] for row in connection.execute(f"PRAGMA index_xinfo({table}_in_full)")}
        assert columns - copied == SUMMED.get(table, set())
    connection.close()


def test_schema() -> None:
    """A journal's schema is that of any other, until somebody changes it."""
    one, other = open_to_write(MEMORY), open_to_write(MEMORY)
    assert schema(one) == schema(other)
    assert {"entries", "facts_in_full"} <= schema(one).keys()
    one.execute("DROP INDEX facts_in_full")
    assert schema(one) != schema(other)
    one.close()
    other.close()


def test_durable(path: Path) -> None:
    """Every commit of a journal is synced to disk, and doesn't hold up readers."""
    connection = open_to_write(path)
    assert pragma(connection, "journal_mode") == "wal"
    assert pragma(connection, "synchronous") == 2
    assert pragma(connection, "journal_size_limit") == 64 << 20
    assert pragma(connection, "wal_autocheckpoint") == 0
    connection.close()


def test_log(path: Path) -> None:
    """The log is moved into the file once it is about as long as it may be, or when that is asked for."""
    connection = open_to_write(path)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    log = Log(connection)
    log.most_bytes = 40_000

    def moves(*, whole: bool = False) -> bool:
        connection.execute("UPDATE facts SET value = randomblob(32) WHERE name = 'identity'")
        before = path.stat().st_mtime_ns
        log.move(whole=whole)
        return path.stat().st_mtime_ns != before

    assert [moves() for _ in range(20)] == ([False] * 9 + [True]) * 2
    log.add(40_000)
    assert [moves(), moves()] == [True, False]
    assert [moves(whole=True), moves()] == [True, False]
    connection.close()


def test_space(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room on a disk is what a process without privileges may use, in bytes."""
    open_to_write(path).close()
    found = os.statvfs_result((512, 4096, 1000, 70, 60, 0, 0, 0, 0, 255))
    asked: list[object] = []

    def look(at: object) -> os.statvfs_result:
        asked.append(at)
        return found

    monkeypatch.setattr(os, "statvfs", look)
    assert space_at(path) == DiskSpace(60 * 4096, 1000 * 4096)
    assert asked == [path]


def test_space_of_nothing(path: Path) -> None:
    """Where the file is gone, its disk can't be looked at."""
    with pytest.raises(JournalError, match=r"can't look at the journal's disk: .*No such file"):
        space_at(path)


def test_new_file(path: Path) -> None:
    """A new journal is marked as one, has the schema's version, and gives forgotten pages back."""
    connection = open_to_write(path)
    assert pragma(connection, "application_id") == APPLICATION_ID
    assert pragma(connection, "user_version") == SCHEMA_VERSION
    assert pragma(connection, "auto_vacuum") == 2
    connection.close()


def test_new_folder(tmp_path: Path) -> None:
    """A folder that is missing is made, and those around it; the new one is the daemon's own."""
    lock = Lock(tmp_path / "locked" / "state" / "journal.db")
    lock.release()
    make(tmp_path / "made" / "state" / "journal.db")
    assert {(tmp_path / name / "state").stat().st_mode & 0o777 for name in ("locked", "made")} == {0o700}


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_private(tmp_path: Path, umask: int) -> None:
    """Nobody else may read a journal, its log, its lock or a folder made for it, however lax the umask is."""
    path = tmp_path / "state" / "journal.db"
    before = os.umask(umask)
    try:
        lock, connection = Lock(path), open_to_write(path)
        reader = open_to_read(path)
    finally:
        os.umask(before)
    modes = {found.name: found.stat().st_mode & 0o777 for found in path.parent.iterdir()}
    assert modes == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"), 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    reader.close()
    connection.close()
    lock.release()


def test_opened_again(path: Path) -> None:
    """A journal that is opened again is as it was."""
    make(path)
    change(path, "INSERT INTO facts VALUES ('mine', x'00')")
    connection = open_to_read(path)
    before = list(connection.iterdump())
    make(path)
    assert list(connection.iterdump()) == before
    connection.close()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("", id="empty"),
        pytest.param("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL", id="no-schema"),
    ],
)
def test_interrupted_making(path: Path, script: str) -> None:
    """A journal whose making was interrupted before its one commit is made when it is opened next."""
    change(path, script)
    path.touch()
    connection = open_to_write(path)
    assert pragma(connection, "application_id") == APPLICATION_ID
    assert pragma(connection, "auto_vacuum") == 2
    assert connection.execute("SELECT count(*) FROM facts").fetchone()[0] == 2
    connection.close()


def test_no_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that stays without a write-ahead log, which SQLite answers and doesn't raise, isn't opened."""
    monkeypatch.setattr(file, "FileConnection", WithoutLog)
    with pytest.raises(JournalError, match=r"journal\.db: the journal can't have a write-ahead log .*'delete'"):
        open_to_write(path)


class WithoutLog(file.FileConnection):
    """A connection whose disk fails in the change to a write-ahead log."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Answer this change as SQLite does."""
        return super().execute(sql.replace("= WAL", "= DELETE"), parameters)


def test_failed_migration(path: Path) -> None:
    """A migration that fails leaves the journal as it was."""
    change(path, f"PRAGMA application_id = {APPLICATION_ID}; CREATE TABLE quarantine (mine)")
    with pytest.raises(JournalError, match=r"journal\.db: can't open the journal: table quarantine already exists"):
        open_to_write(path)
    connection = sqlite3.connect(path)
    assert [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")] == ["quarantine"]
    assert pragma(connection, "user_version") == 0
    connection.close()


@pytest.mark.parametrize("opening", [open_to_write, open_to_read])
def test_newer_version(path: Path, opening: type[sqlite3.Connection]) -> None:
    """A journal of a newer version is refused: the text says both versions and what to do."""
    make(path)
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match=r"journal\.db: the journal has version 99, .* up to 1: update fbsessiond"):
        opening(path)


def test_older_version_to_read(path: Path) -> None:
    """A reader doesn't migrate: the text says who does."""
    change(path, "")
    path.touch()
    with pytest.raises(JournalError, match=r"has version 0, .* reads version 1: start the daemon once"):
        open_to_read(path)


@pytest.mark.parametrize("opening", [open_to_write, open_to_read])
def test_something_else(path: Path, opening: type[sqlite3.Connection]) -> None:
    """An SQLite file that is something else is refused and not touched, nor kept open."""
    change(path, "CREATE TABLE contacts (name)")
    os.utime(path, (1, 1))
    before, open_before = path.read_bytes(), sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(JournalError, match=r"journal\.db: this SQLite file is something else"):
        opening(path)
    assert path.read_bytes() == before
    assert path.stat().st_mtime == 1
    assert sorted(Path("/proc/self/fd").iterdir()) == open_before
    assert [found.name for found in path.parent.iterdir()] == ["journal.db"]


@pytest.mark.parametrize("opening", [open_to_write, open_to_read])
def test_no_database(path: Path, opening: type[sqlite3.Connection]) -> None:
    """A file that is no database is refused."""
    path.write_bytes(b"Dear diary, today " * 100)
    with pytest.raises(JournalError, match=r"journal\.db: can't .* the journal: file is not a database"):
        opening(path)
    assert path.read_bytes().startswith(b"Dear diary")


@pytest.mark.parametrize("opening", [open_to_write, open_to_read])
def test_schema_that_is_no_text(path: Path, opening: type[sqlite3.Connection]) -> None:
    """A file whose schema isn't UTF-8 any more, since a bit flipped in it, is an error of the journal."""
    open_to_write(path).close()
    content = path.read_bytes()
    assert content.count(b"CREATE TABLE entries (") == 1
    path.write_bytes(content.replace(b"CREATE TABLE entries (", b"CREATE TABLE entries \xa8"))
    with pytest.raises(JournalError, match=r"journal\.db: can't (open|read) the journal"):
        opening(path)


@pytest.mark.parametrize("opening", [open_to_write, Lock])
def test_unusable_folder(tmp_path: Path, opening: type[Lock]) -> None:
    """A journal in a folder that can't be had is an error that says where."""
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file/journal\.db: can't open the journal: .*exists"):
        opening(tmp_path / "file" / "journal.db")


def test_no_journal(path: Path) -> None:
    """A reader of a journal that isn't there says so, and makes none."""
    with pytest.raises(JournalError, match=r"journal\.db: there is no journal here; name another with --journal"):
        open_to_read(path)
    assert not path.exists()


def test_lock(path: Path) -> None:
    """One process at a time has the right to write a journal; whoever else wants it hears which one has it."""
    lock = Lock(path)
    with pytest.raises(JournalError, match=rf"journal\.db: another fbsessiond \(process {os.getpid()}\) writes"):
        Lock(path)
    lock.release()
    Lock(path).release()


def test_lock_by_another_name(path: Path) -> None:
    """A journal is the same by whatever name it is called."""
    make(path)
    alias = path.with_name("alias.db")
    alias.symlink_to(path)
    lock = Lock(path)
    with pytest.raises(JournalError, match="another fbsessiond"):
        Lock(alias)
    lock.release()


def test_lock_not_yet_signed(path: Path) -> None:
    """A lock whose holder hasn't written its number yet is somebody's nevertheless."""
    lock = Lock(path)
    path.with_name("journal.db.lock").write_bytes(b"")
    with pytest.raises(JournalError, match=r"another fbsessiond \(process unknown\)"):
        Lock(path)
    lock.release()


def test_lock_signed_illegibly(path: Path) -> None:
    """Whatever stands in a lock, it is somebody's; who asks for it in vain keeps nothing open."""
    lock = Lock(path)
    path.with_name("journal.db.lock").write_bytes(b"\xff")
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(JournalError, match="another fbsessiond"):
        Lock(path)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    lock.release()


def test_lock_signed_at_length(path: Path) -> None:
    """Of what stood in a lock nothing is left beside its new holder."""
    path.with_name("journal.db.lock").write_bytes(b"12345678901234567890\n")
    lock = Lock(path)
    assert path.with_name("journal.db.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_lock_of_a_killed_process(path: Path) -> None:
    """The right to write a journal ends with its process, even when that is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(JournalError, match=rf"another fbsessiond \(process {process.pid}\)"):
            Lock(path)
        process.send_signal(signal.SIGKILL)
    lock = Lock(path)
    assert path.with_name("journal.db.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_all_versions() -> None:
    """There is a schema for each version."""
    schemas = [found.name for found in files("fbsessiond.journal.sqlite").iterdir() if found.name.startswith("schema-")]
    assert sorted(schemas) == [f"schema-{version}.sql" for version in range(1, SCHEMA_VERSION + 1)]


def test_packing() -> None:
    """Queries pack and unpack by the journal's dictionaries; NULL is NULL, and what is damaged stays as it is."""
    connection = open_to_write(MEMORY)
    query = "SELECT pack(?, 1), unpack(pack(?1, 1)), unpack(pack(NULL, 1)), unpack(x'00')"
    packed, *others = connection.execute(query, (b"{}",)).fetchone()
    assert others == [b"{}", None, b"\0"]
    connection.close()
    another = open_to_write(MEMORY)
    another.execute("DELETE FROM dictionaries")
    assert another.execute("SELECT unpack(?)", (packed,)).fetchone() == (packed,)
    another.close()


def test_free_pages(path: Path) -> None:
    """What is deleted isn't in use any more, and is given back to the file system as far as is asked for."""
    connection = open_to_write(path)
    before = file.used_bytes(connection)
    connection.execute("INSERT INTO facts VALUES ('large', zeroblob(400000))")
    assert file.used_bytes(connection) >= before + 400_000
    connection.execute("DELETE FROM facts WHERE name = 'large'")
    assert file.used_bytes(connection) < before + 100_000
    free = pragma(connection, "freelist_count")
    assert file.give_back(connection, 10) == 40_960
    assert pragma(connection, "freelist_count") == int(str(free)) - 10
    file.give_back(connection, 10_000)
    assert (file.give_back(connection, 10), pragma(connection, "freelist_count")) == (0, 0)
    connection.close()

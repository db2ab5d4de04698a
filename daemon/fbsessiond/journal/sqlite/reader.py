"""The journal's readers: the verbs that look at it, and the few things that a person changes."""

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from fbsessiond.errors import JournalError
from fbsessiond.finding import Finding
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.reader import SqlReader
from fbsessiond.journal.sqlite.file import MEMORY, open_to_read, open_to_write, schema


class SqliteReader(SqlReader):
    """A look at a journal's file, while a daemon writes it or not."""

    container = "the file"

    def __init__(self, path: Path, connection: sqlite3.Connection | None = None) -> None:
        """Open the file; or look through the connection of a journal in memory."""
        self._path = path
        self._connection = connection or open_to_read(path)
        self._is_own = connection is None

    def version(self) -> int:
        """Add up the changes of other connections and those of this one, which a journal in memory shares."""
        with self._reading() as connection:
            (others,) = connection.execute("PRAGMA data_version").fetchone()
            return int(others) + connection.total_changes

    def close(self) -> None:
        """Close the connection, where it is this reader's own."""
        if self._is_own:
            self._connection.close()

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Tell what can't be read as an error of the journal."""
        try:
            yield self._connection
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise JournalError(
                f"{self._path}: can't read the journal: {error}; see `fbsessiond journal verify`"
            ) from error

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection, None, None]:
        """Begin and end a short transaction of a person's, which waits up to 5 s for the daemon's to end.

        Its connection is its own: SQLite lets none wait that still reads what was there before.
        """
        with closing(open_to_read(self._path)) if self._is_own else nullcontext(self._connection) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                connection.rollback()
                raise JournalError(f"{self._path}: can't write the journal: {error}") from error

    def _bytes(self, connection: Connection) -> int:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def _checked(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Check; text that isn't UTF-8 any more is read in spite of that, so that its entry can be named."""
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            yield from super()._checked(progress)
        finally:
            self._connection.text_factory = str

    def _structure(self, connection: Connection) -> Iterator[Finding]:
        """Yield what SQLite finds wrong with its file, and where its schema isn't the one that it was made with."""
        for (text,) in connection.execute("PRAGMA integrity_check"):
            if text != "ok":
                yield Finding("the file", text)
        with closing(open_to_write(MEMORY)) as pristine:
            made, there = schema(pristine), schema(self._connection)
        for name in sorted({name for name in made | there if made.get(name) != there.get(name)}):
            yield Finding("the schema", f"{name!r} isn't as it was made")

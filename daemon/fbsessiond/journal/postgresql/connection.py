"""Connections to PostgreSQL that run the queries of all engines.

A value that is packed in the journal is packed and unpacked on the way, as SQLite does it by functions of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import psycopg
from psycopg.abc import Buffer
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper, TextBinaryLoader

from fbsessiond.journal.packing import Packing
from fbsessiond.journal.postgresql.queries import QUERIES, Query, in_postgresql
from fbsessiond.journal.sql.connection import Cursor, Parameters
from fbsessiond.journal.sql.dictionaries import dictionary

Row: TypeAlias = tuple[Any, ...]
Postgres: TypeAlias = psycopg.Connection[Row]

ENTRY_BYTES = 200
"""What an entry takes besides what is packed in it, about: its columns, and its place in two indexes."""

_NUL = chr(0x10FFFF)
"""Stands for U+0000, which no text in PostgreSQL can hold: a character that is none."""


class _Text(StrBinaryDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", _NUL))


class _TextLoader(TextBinaryLoader):
    def load(self, data: Buffer) -> bytes | str:
        text = super().load(data)
        return text.replace(_NUL, "\0") if isinstance(text, str) else text


def adapt(connection: Postgres) -> None:
    """Have numbers and text always be of the same types, so that each query is prepared once."""
    connection.prepare_threshold = 1
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.adapters.register_dumper(str, _Text)
    connection.adapters.register_loader("text", _TextLoader)


class _Packed(ABC):
    """What both kinds of connection have in common."""

    def __init__(self, connection: Postgres) -> None:
        self.connection = connection
        self.packed_bytes = 0
        """What it wrote that was packed, and what the entries take besides."""
        self._packing = Packing(partial(dictionary, self))
        self._number: int | None = None

    @abstractmethod
    def execute(self, query: str, parameters: Parameters = (), /) -> Cursor:
        """Run a query."""

    def executemany(self, query: str, rows: Iterable[Parameters], /) -> Cursor:
        """Run a query once for each row of values, all of them on their way at once."""
        found = _query(query)
        cursor = self.connection.cursor(binary=True)
        cursor.executemany(found.text, [self.packed(found, row) for row in rows])
        return _Result(cursor, self, None)

    def packed(self, query: Query, values: Parameters) -> Any:
        """Return values as they are stored."""
        if not query.packed or isinstance(values, Mapping):
            return values
        stored = [
            self._packing.pack(value, self._dictionary()) if place in query.packed and value is not None else value
            for place, value in enumerate(values)
        ]
        self.packed_bytes += ENTRY_BYTES + sum(len(stored[place] or b"") for place in query.packed)
        return stored

    def unpacking(self, cursor: psycopg.Cursor[Row] | psycopg.ServerCursor[Row]) -> Callable[[Row], Row]:
        """Return what makes a row of a cursor what it was before it was stored."""
        places = {place for place, column in enumerate(cursor.description or ()) if column.name == "packed"}
        if not places:
            return _as_it_is
        return lambda row: tuple(self._unpack(value) if place in places else value for place, value in enumerate(row))

    def renew(self) -> None:
        """Look by which dictionary new entries are packed, when there are any."""
        self._number = None

    def _unpack(self, packed: bytes | None) -> bytes | None:
        """Return what was packed. What is damaged stays as it is: it doesn't hinder what reads many."""
        try:
            return None if packed is None else self._packing.unpack(packed)
        except (LookupError, ValueError):
            return packed

    def _dictionary(self) -> int:
        if self._number is None:
            self._number = self.execute("SELECT max(number) FROM dictionaries").fetchone()[0]
        if self._number is None:
            raise LookupError("the journal's dictionaries are lost")
        return self._number


class Writing(_Packed):
    """A connection whose queries run at once, and whose results are waited for when somebody wants to see them."""

    def __init__(self, connection: Postgres) -> None:
        super().__init__(connection)
        self._pipeline: psycopg.Pipeline | None = None

    def execute(self, query: str, parameters: Parameters = (), /) -> Cursor:
        """Run a query."""
        found = _query(query)
        if found.renews:
            self.renew()
        cursor = self.connection.cursor(binary=True)
        cursor.execute(found.text, self.packed(found, parameters))
        return _Result(cursor, self, self._pipeline)

    @contextmanager
    def pipelined(self) -> Generator[None, None, None]:
        """Send queries without waiting for the ones before; on return all of them have run."""
        with self.connection.pipeline() as pipeline:
            self._pipeline = pipeline
            try:
                yield
                pipeline.sync()
            finally:
                self._pipeline = None


class Reading(_Packed):
    """A connection whose queries run when their results are looked at: one that is gone through is read in pieces."""

    def __init__(self, connection: Postgres) -> None:
        super().__init__(connection)
        self._streams = 0
        self._count = 0

    def execute(self, query: str, parameters: Parameters = (), /) -> Cursor:
        """Prepare to run a query."""
        return _Lookup(self, _query(query), parameters)

    @contextmanager
    def stream(self, query: Query, parameters: Parameters) -> Generator[Iterator[Row], None, None]:
        """Read what there is now, however much, in pieces; there can be several at a time, that end in any order."""
        if not self._streams:
            self.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
        self._streams += 1
        self._count += 1
        try:
            with self.connection.cursor(f"stream_{self._count}") as cursor:
                cursor.itersize = 1_000
                cursor.execute(query.text, parameters, binary=True)
                yield map(self.unpacking(cursor), cursor)
        finally:
            self._streams -= 1
            if not self._streams and not self.connection.closed:
                self.connection.execute("ROLLBACK")


class _Result:
    """What came of a query that was sent."""

    def __init__(self, cursor: psycopg.Cursor[Row], packed: _Packed, pipeline: psycopg.Pipeline | None) -> None:
        self._cursor = cursor
        self._packed = packed
        self._pipeline = pipeline

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        if self._pipeline is not None and self._cursor.statusmessage is None:
            self._pipeline.sync()
        return self._cursor.rowcount

    def fetchone(self) -> Any:
        """Return the first row."""
        row = self._cursor.fetchone()
        return None if row is None else self._packed.unpacking(self._cursor)(row)

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        rows = self._cursor.fetchall()
        return list(map(self._packed.unpacking(self._cursor), rows))

    def __iter__(self) -> Iterator[Any]:
        """Yield all rows."""
        return iter(self.fetchall())


class _Lookup:
    """A query that runs when its result is looked at."""

    def __init__(self, connection: Reading, query: Query, parameters: Parameters) -> None:
        self._connection = connection
        self._query = query
        self._parameters = parameters

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        return self._run().rowcount

    def fetchone(self) -> Any:
        """Return the first row."""
        return self._run().fetchone()

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        return self._run().fetchall()

    def __iter__(self) -> Iterator[Any]:
        """Yield rows as they are read."""
        with self._connection.stream(self._query, self._parameters) as rows:
            yield from rows

    def _run(self) -> _Result:
        cursor = self._connection.connection.cursor(binary=True)
        return _Result(cursor.execute(self._query.text, self._parameters), self._connection, None)


def _query(text: str) -> Query:
    return QUERIES.get(text) or in_postgresql(text)


def _as_it_is(row: Row) -> Row:
    return row

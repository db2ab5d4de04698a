"""What the queries need of a connection, whichever database it leads to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""Values for a query's question marks, or for its `:names`."""


class Cursor(Protocol):
    """What came of a query."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """Return the first row, a tuple; None where there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield rows as they are read."""
        ...


class Connection(Protocol):
    """What runs queries, as Python's own sqlite3 does."""

    def execute(self, query: str, parameters: Parameters = (), /) -> Cursor:
        """Run a query."""
        ...

    def executemany(self, query: str, rows: Iterable[Parameters], /) -> Cursor:
        """Run a query once for each row of values."""
        ...

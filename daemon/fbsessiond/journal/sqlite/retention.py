"""Forgetting what is old, in bites that hold up an append for milliseconds."""

import sqlite3
from datetime import datetime
from typing import Final

import msgspec

from fbsessiond.journal.documents import own_part
from fbsessiond.journal.sqlite import acts, deliveries, follow_ups, gaps, quarantine, waiting
from fbsessiond.journal.sqlite.file import read_queries
from fbsessiond.journal.sqlite.rows import checksum, to_microseconds

BITE_ENTRIES: Final = 200
"""How many entries, and messages of the quarantine, go at once. Measured: 2 ms, and 20 ms if they have 10 KB each."""

_SQL = read_queries("retention.sql")
_BITE_PAGES = 4 * BITE_ENTRIES
_END_OF_TIME = 2**63 - 1


def forget(connection: sqlite3.Connection, before: datetime, most_bytes: int | None) -> int:
    """Forget a bite of the oldest entries in the transaction that is open, and return how many there were."""
    oldest = to_microseconds(before)
    quarantine.forget(connection, oldest, BITE_ENTRIES)
    acts.forget(connection, oldest, BITE_ENTRIES)
    gaps.forget(connection, oldest)
    waiting.forget(connection, oldest)
    is_too_large = most_bytes is not None and _used_bytes(connection) > most_bytes
    parameters = {"before": _END_OF_TIME if is_too_large else oldest, "most": BITE_ENTRIES}
    first, stays = connection.execute(_SQL["range"], parameters).fetchone()
    if first is None or stays <= first:
        return 0
    connection.execute(_SQL["forget_finished"], (first, stays))
    _keep_documents(connection, first, stays)
    connection.execute(_SQL["forget_entries"], (stays,))
    deliveries.forget(connection, stays)
    follow_ups.forget(connection, stays)
    forgotten: int = stays - first
    return forgotten


def give_back(connection: sqlite3.Connection) -> None:
    """Give pages that are free back to the file system, in a transaction of its own.

    As a script, since `execute` stops after the statement's first step, which is one page.
    """
    connection.executescript(f"PRAGMA incremental_vacuum({_BITE_PAGES})")


def _keep_documents(connection: sqlite3.Connection, first: int, stays: int) -> None:
    """Keep what is known of the sessions that aren't finished beside them, since its entries go."""
    rows = connection.execute(_SQL["sessions_of_entries"], (first, stays)).fetchall()
    for agent, session, document, notification in rows:
        kept = document if document is not None else msgspec.json.encode(own_part(notification, session))
        connection.execute(_SQL["keep_document"], (kept, checksum((agent, session, kept)), agent, session))


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    used: int = (pages - free) * size
    return used

"""Forgetting what is old, in bites that hold up an append for milliseconds."""

from datetime import datetime
from typing import Final

import msgspec

from fbsessiond.journal.documents import own_part
from fbsessiond.journal.sql import acts, deliveries, follow_ups, gaps, quarantine, waiting
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import checksum, to_microseconds

BITE_ENTRIES: Final = 100
"""How many entries, and messages of the quarantine, go at once.

Measured, with three deliveries each, in a journal of a million: 2 ms, and 13 where the log is moved into the file then.
Twice as many take twice as long, and together no less.
"""

_SQL = read_queries("retention.sql")
_END_OF_TIME = 2**63 - 1


def forget(connection: Connection, before: datetime, *, is_too_large: bool) -> int:
    """Forget a bite of the oldest entries in the transaction that is open, and return how many there were.

    While the journal is too large, young ones go, too.
    """
    oldest = to_microseconds(before)
    quarantine.forget(connection, oldest, BITE_ENTRIES)
    acts.forget(connection, oldest, BITE_ENTRIES)
    gaps.forget(connection, oldest)
    waiting.forget(connection, oldest)
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


def _keep_documents(connection: Connection, first: int, stays: int) -> None:
    """Keep what is known of the sessions that aren't finished beside them, since its entries go."""
    rows = connection.execute(_SQL["sessions_of_entries"], (first, stays)).fetchall()
    for agent, session, document, notification in rows:
        kept = document if document is not None else msgspec.json.encode(own_part(notification, session))
        connection.execute(_SQL["keep_document"], (kept, checksum((agent, session, kept)), agent, session))

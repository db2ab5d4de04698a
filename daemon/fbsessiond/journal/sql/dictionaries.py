"""The dictionaries by which entries are packed."""

from collections.abc import Iterator
from typing import Final

from fbsessiond.finding import Finding
from fbsessiond.journal.learning import SAMPLE_BYTES, SAMPLES, better_dictionary, is_learned
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import CHANGED, checksum

LOOK_EVERY: Final = 10_000
"""After so many entries it is looked whether another dictionary packs them better."""

_SQL = read_queries("dictionaries.sql")


def dictionary(connection: Connection, number: int) -> bytes:
    """Return the dictionary of a number. Raises `LookupError` or `ValueError` where it is lost or was changed."""
    row = connection.execute(_SQL["read"], (number,)).fetchone()
    if row is None:
        raise LookupError(f"the journal's dictionary {number} is lost")
    if checksum(row[:-1]) != row[-1]:
        raise ValueError(f"dictionary {number}: {CHANGED}")
    content: bytes = row[2]
    return content


def renew(connection: Connection, last_seq: int, looked_at: int) -> int:
    """Forget dictionaries by which nothing is packed, and have new entries packed by a better one, if there is one.

    One is looked for where much has come since that was done, at an entry's number, or where all that the present one
    was learned from is forgotten. Return at which number it was done last.
    """
    connection.execute(_SQL["forget"])
    if (row := connection.execute(_SQL["present"]).fetchone()) is None:
        raise LookupError("the journal's dictionaries are lost")
    number, seq, first = row
    present = dictionary(connection, number)
    is_outlived = first is not None and first >= seq and is_learned(present)
    if last_seq < looked_at + LOOK_EVERY and not is_outlived:
        return looked_at
    samples = _samples(connection, max(first or 1, last_seq - LOOK_EVERY + 1), last_seq)
    better = better_dictionary(present, number + 1, samples, is_outlived=is_outlived)
    if better is not None:
        new = (number + 1, last_seq + 1, better)
        connection.execute(_SQL["append"], (*new, checksum(new)))
    return last_seq


def check(connection: Connection) -> Iterator[Finding]:
    """Yield those that were changed, and those that are missing: they are forgotten from the old end only."""
    expected = 0
    for row in connection.execute(_SQL["check"]):
        if checksum(row[:-1]) != row[-1]:
            yield Finding(f"dictionary {row[0]}", CHANGED)
        elif row[0] != (expected or row[0]):
            yield Finding(f"dictionary {row[0]}", f"follows dictionary {expected - 1}: those between them are missing")
        expected = row[0] + 1
    if not expected:
        yield Finding("the dictionaries", "are missing")


def _samples(connection: Connection, first: int, last: int) -> list[bytes]:
    """Return notifications of different sessions, from all over the entries from one number to another."""
    found: dict[str, bytes] = {}
    for seq in range(last, first - 1, -max(1, (last - first) // (2 * SAMPLES))):
        row = connection.execute(_SQL["sample"], (seq,)).fetchone()
        if row is not None and len(row[1]) <= SAMPLE_BYTES:
            found[row[0]] = row[1]
        if len(found) == SAMPLES:
            break
    return list(found.values())

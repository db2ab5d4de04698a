"""Between the journal's records and its rows."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from zlib import crc32

from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Draft, Entry, Misfit, Quarantined, Wait
from fbsessiond.message import Batch, Origin
from fbsessiond.transition import Kind

Row: TypeAlias = tuple[Any, ...]

CHANGED = "its checksum doesn't fit: it was changed after it was written"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_microseconds(at: datetime) -> int:
    """Return microseconds since 1970, UTC."""
    return (at - _EPOCH) // MICROSECOND


def from_microseconds(number: int) -> datetime:
    """Return the point in time that `to_microseconds` made a number of."""
    return _EPOCH + timedelta(microseconds=number)


def entry_row(seq: int, batch: Batch, received_at: int, draft: Draft) -> Row:
    """Return an entry's row, its checksum last."""
    change = draft.change
    row = (
        seq,
        received_at,
        batch.origin.value,
        batch.agent,
        draft.message.channel,
        change.session,
        change.kind.value,
        change.before,
        change.after,
        draft.message.data or b"",
        draft.document,
    )
    return (*row, checksum(row))


def quarantine_row(seq: int, batch: Batch, received_at: int, misfit: Misfit) -> Row:
    """Return a quarantined message's row, its checksum last."""
    row = (seq, received_at, batch.origin.value, batch.agent, misfit.message.channel, misfit.error, misfit.message.raw)
    return (*row, checksum(quarantine_sum(row)))


def quarantine_sum(row: Row) -> Row:
    """Return what a quarantined message's checksum covers: all but the error, which trying again replaces."""
    return (*row[:5], row[6])


def checksum(row: Row) -> int:
    """Return the CRC-32 of a row's values: the long ones as they are, the short ones as Python writes them.

    `ascii`, since `repr` escapes what isn't printable, and versions of Python differ on what that is.
    """
    result = crc32(ascii([value for value in row if not isinstance(value, bytes)]).encode())
    for value in row:
        if isinstance(value, bytes):
            result = crc32(value, result)
    return result


def to_entry(row: Row) -> Entry:
    """Read an entry from its columns, in the order of the schema."""
    seq, received_at, origin, agent, channel, session, kind, before, after, notification, document = row[:11]
    return Entry(
        seq,
        from_microseconds(received_at),
        Origin(origin),
        agent,
        channel,
        session,
        Kind(kind),
        before,
        after,
        notification,
        document,
    )


def to_quarantined(row: Row) -> Quarantined:
    """Read a quarantined message from its columns, in the order of the schema."""
    seq, received_at, origin, agent, channel, error, raw = row
    return Quarantined(seq, from_microseconds(received_at), Origin(origin), agent, channel, error, raw)


def to_delivery(row: Row) -> DeliveryRecord:
    """Read a delivery from the columns of a reader's query."""
    seq, handler, agent, session, after, state, attempts, because, at, wait = row
    return DeliveryRecord(
        seq,
        handler,
        agent,
        session,
        after,
        DeliveryState(state),
        attempts,
        because,
        from_microseconds(at),
        None if wait is None else Wait(wait),
    )

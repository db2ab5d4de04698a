from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Wait
from fbsessiond.journal.sql.rows import (
    Row,
    checksum,
    entry_row,
    from_microseconds,
    quarantine_row,
    quarantine_sum,
    to_delivery,
    to_entry,
    to_microseconds,
    to_quarantined,
)
from fbsessiond.message import Batch, Origin
from fbsessiond.transition import Kind
from journal_parts import CHANNEL, NOW, draft, misfit

BATCH = Batch("agent1", Origin.SNAPSHOT, NOW, ())
ROW: Row = (7, 1_750_000_000_000_000, "live", "agent1", None, "S1", "transition", "Invited", "Chatting", b"{}", b"{1}")


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds(at: datetime) -> None:
    """A point in time goes through the journal without losing a microsecond, from the year 1 to 9999."""
    assert from_microseconds(to_microseconds(at)) == at


def test_microseconds_of_another_zone() -> None:
    """Points in time are kept in UTC, whatever zone they come in."""
    at = datetime(1970, 1, 1, 2, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert to_microseconds(at) == 5
    assert from_microseconds(5) == datetime(1970, 1, 1, 0, 0, 0, 5, tzinfo=UTC)


def test_entry() -> None:
    """An entry is read as it was written."""
    one = draft("S1", "Chatting", before="Invited", merged={"id": "S1", "state": "Chatting"})
    entry = to_entry(entry_row(7, BATCH, to_microseconds(NOW), one))
    assert (entry.seq, entry.received_at, entry.origin, entry.agent) == (7, NOW, Origin.SNAPSHOT, "agent1")
    assert (entry.channel, entry.session, entry.kind) == (CHANNEL, "S1", Kind.TRANSITION)
    assert (entry.before, entry.after) == ("Invited", "Chatting")
    assert (entry.notification, entry.document) == (one.message.data, one.document)


def test_quarantined() -> None:
    """A quarantined message is read as it was written."""
    quarantined = to_quarantined(quarantine_row(3, BATCH, to_microseconds(NOW), misfit(b"\xff", "why"))[:-1])
    assert (quarantined.seq, quarantined.received_at, quarantined.origin) == (3, NOW, Origin.SNAPSHOT)
    assert (quarantined.agent, quarantined.channel) == ("agent1", CHANNEL)
    assert (quarantined.error, quarantined.raw) == ("why", b"\xff")


def test_delivery() -> None:
    """A delivery is read from a reader's columns."""
    row = (1, "log", "agent1", "S1", "Chatting", "dead", 3, "broke", to_microseconds(NOW))
    expected = DeliveryRecord(1, "log", "agent1", "S1", "Chatting", DeliveryState.DEAD, 3, "broke", NOW)
    assert to_delivery((*row, None)) == expected
    assert to_delivery((*row, "for")) == replace(expected, wait=Wait.FOR)


@pytest.mark.parametrize("column", range(len(ROW)))
def test_checksum_of_each_column(column: int) -> None:
    """A change in any column, null included, changes the checksum."""
    value = ROW[column]
    others: list[object] = [None, b"{2}", "else", 8]
    sums = {checksum((*ROW[:column], other, *ROW[column + 1 :])) for other in others if other != value}
    assert checksum(ROW) not in sums


@given(st.data())
def test_checksum_of_each_bit(data: st.DataObject) -> None:
    """One flipped bit in what is kept word for word changes the checksum."""
    column = data.draw(st.sampled_from([9, 10]))
    value = bytearray(ROW[column])
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    value[bit // 8] ^= 1 << bit % 8
    assert checksum((*ROW[:column], bytes(value), *ROW[column + 1 :])) != checksum(ROW)


def test_checksum_everywhere() -> None:
    """A checksum is the same under each version of Python, though they differ on which characters are printable."""
    assert checksum((1, None, "caf\u00e9 \U0001fae9\ud7ff'\"", b"{}", 2**62)) == 230_800_799


def test_quarantine_checksum() -> None:
    """A quarantined message's checksum covers all but the error, which trying again replaces."""
    row = quarantine_row(3, BATCH, to_microseconds(NOW), misfit(b"raw", "why"))
    for column in range(7):
        changed = (*row[:column], b"else", *row[column + 1 : -1])
        assert (checksum(quarantine_sum(changed)) == row[-1]) is (column == 5)

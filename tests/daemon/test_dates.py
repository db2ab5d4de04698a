from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fbsessiond.dates import from_timestamp_seconds, iso, parse_date

AFTERNOON = datetime(2015, 9, 2, 12, 39, 22, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

# A day off either end of the calendar, so that an offset doesn't lead beyond it.
points_in_time = st.datetimes(
    min_value=EPOCH.replace(year=1000, day=2, tzinfo=None), max_value=EPOCH.replace(year=9999, tzinfo=None)
).map(lambda point: point.replace(microsecond=point.microsecond // 1000 * 1000))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "text",
    [
        "2015-09-02 15:39:22.000+0300",
        "2015-09-0215:39:22.000+0300",
        "2015-09-02T15:39:22.000+0300",
        "2015-09-02T15:39:22.000+03:00",
        "2015-09-02T12:39:22.000Z",
        "2015-09-02t12:39:22z",
        "2015-09-02 15:39:22 +0300",
        "  2015-09-02 15:39:22.000+0300\n",
    ],
)
def test_spellings(text: str) -> None:
    """A date is read with a blank, with the blank lost, and in ISO 8601; its offset with a colon, without, or as Z."""
    assert parse_date(text) == AFTERNOON


@pytest.mark.parametrize("spelling", ["{day} {hours}{offset}", "{day}{hours}{offset}", "{day}T{hours}{offset}"])
@given(point=points_in_time, offset=offsets)
def test_every_point_in_time(spelling: str, point: datetime, offset: timezone) -> None:
    """Any point in time is read back from each of its spellings, and comes in UTC."""
    expected = point.replace(tzinfo=offset)
    day, hours = point.isoformat(timespec="milliseconds").split("T")
    parsed = parse_date(spelling.format(day=day, hours=hours, offset=expected.strftime("%z")))
    assert parsed is not None
    assert (parsed, parsed.tzinfo) == (expected, UTC)


@pytest.mark.parametrize(
    ("fraction", "microseconds"),
    [("", 0), (".1", 100_000), (".035", 35_000), (".123456", 123_456), (".123456789", 123_456)],
)
def test_fractions(fraction: str, microseconds: int) -> None:
    """A fraction has any number of digits; what is finer than a microsecond is cut off."""
    assert parse_date(f"2015-09-02 15:39:22{fraction}+0300") == AFTERNOON.replace(microsecond=microseconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2015-09-02",
        "2015-09-02 15:39:22.000",
        "2015-02-31 10:00:00.000+0000",
        "2015-09-02 25:00:00.000+0000",
        "2015-09-02 15:39:22.000+9900",
        "0001-01-01 00:00:00.000+0300",
        "9999-12-31 23:59:59.000-0300",
        "2015-09-02 15:39:22.000+0300 or so",
        "2015-09-02 15:39:22.000\N{NO-BREAK SPACE}+0300",
        "٢٠١٥-09-02 15:39:22.000+0300",
    ],
)
def test_no_date(text: str) -> None:
    """What names no point in time of the calendar, or names one without an offset, is no date, and no error."""
    assert parse_date(text) is None


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[T ]?\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", fullmatch=True))
def test_any_text(text: str) -> None:
    """No text raises: it is a date in UTC, or none."""
    parsed = parse_date(text)
    assert parsed is None or parsed.tzinfo is UTC


def test_timestamp_seconds_in_milliseconds() -> None:
    """A `timestampSeconds` of version 2 is in milliseconds, and agrees with the `timestamp` beside it."""
    assert from_timestamp_seconds(1389261492035) == parse_date("2014-01-09 11:58:12.035+0200")


def test_timestamp_seconds_in_seconds() -> None:
    """A `timestampSeconds` of version 3 is in seconds."""
    assert from_timestamp_seconds(1526565585) == datetime(2018, 5, 17, 13, 59, 45, tzinfo=UTC)


@given(milliseconds=st.integers(10**11 + 1, 253_402_300_799_999))
def test_every_timestamp_in_milliseconds(milliseconds: int) -> None:
    """Any number of milliseconds from March 1973 to the end of the calendar is read to the millisecond."""
    parsed = from_timestamp_seconds(milliseconds)
    assert parsed is not None
    assert abs(parsed - (EPOCH + milliseconds * MILLISECOND)) < MILLISECOND


@pytest.mark.parametrize(
    "number", [-1, -1e300, 253_402_300_800_000, 1e300, 10**400, float("inf"), float("-inf"), float("nan")]
)
def test_timestamp_beyond_the_calendar(number: float) -> None:
    """A number before 1970 or beyond the year 9999, however large, names no point in time, and is no error."""
    assert from_timestamp_seconds(number) is None


@given(st.integers() | st.floats())
@example(253_402_300_799_999)
@example(0)
def test_any_timestamp(number: float) -> None:
    """No number raises: it is a point in time in UTC, or none."""
    parsed = from_timestamp_seconds(number)
    assert parsed is None or parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 1, 1, 10, 0, tzinfo=UTC), "2026-01-01T10:00:00.000000Z"),
        (datetime(2026, 1, 1, 10, 0, 0, 1, tzinfo=UTC), "2026-01-01T10:00:00.000001Z"),
        (None, None),
    ],
)
def test_iso(at: datetime | None, text: str | None) -> None:
    """A point in time is ISO 8601 in UTC, always to the microsecond."""
    assert iso(at) == text

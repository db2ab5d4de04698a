"""Points in time: as the platform spells them, and as we do."""

import re
from datetime import UTC, datetime, timedelta
from typing import overload

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)[T ]?(\d\d:\d\d:\d\d(?:\.\d+)?)\s?(Z|[+-]\d\d:?\d\d)", re.ASCII | re.IGNORECASE)
_MILLISECONDS_FROM = 1e11
_LATEST_MILLISECONDS = 253_402_300_799_999  # the end of the year 9999, where datetime ends


def parse_date(text: str) -> datetime | None:
    """Return the point in time that a text names, in UTC; None where it names none, or without an offset.

    Three spellings are known: `2015-07-16 10:22:05.000+0300` (a real capture), the same with its blank lost,
    `2015-09-0215:39:22.000+0300` (real captures too), and ISO 8601, `2014-01-02T14:23:18.000-0800`.
    [GWS 8.5.2, Facebook post message types, SendToAgents, Accept]
    """
    if not (match := _DATE.fullmatch(text.strip())):
        return None
    day, hours, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{hours}{offset.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):  # a 31st of February, or a day beyond the calendar
        return None


def from_timestamp_seconds(number: float) -> datetime | None:
    """Return the point in time that a `timestampSeconds` names, in UTC; None before 1970 or beyond the year 9999.

    Its name says seconds; version 2 of the platform sends milliseconds (1389261492035 stands beside
    `2014-01-09 11:58:12.035+0200`), version 3 seconds. [GWS 8.5.2, SendMessage]
    """
    if not 0 <= number <= _LATEST_MILLISECONDS:
        return None
    seconds = number / 1000 if number > _MILLISECONDS_FROM else number
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)


@overload
def iso(at: None) -> None: ...
@overload
def iso(at: datetime) -> str: ...
def iso(at: datetime | None) -> str | None:
    """Return a point in time as ISO 8601, UTC, to the microsecond."""
    return None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")

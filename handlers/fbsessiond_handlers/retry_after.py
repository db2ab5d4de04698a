"""When a server wants to be asked again: the field `Retry-After` [RFC 9110 §10.2.3]."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_PAUSE = timedelta(days=1)
"""A receiver that asks for more is asked again after this."""


def pause_of(field: str, now: datetime) -> timedelta | None:
    """Return the pause that `Retry-After` asks for, up to `LONGEST_PAUSE`; None where it says nothing that counts.

    `now` is the time in UTC that a date counts from: best the response's own `Date`, since clocks differ.
    """
    field = field.strip()
    if field.isascii() and field.isdigit():  # delay-seconds = 1*DIGIT
        return timedelta(seconds=min(float(field), LONGEST_PAUSE.total_seconds()))
    date = date_of(field)
    return None if date is None else min(max(date - now, timedelta(0)), LONGEST_PAUSE)


def date_of(field: str) -> datetime | None:
    """Return the time in UTC that an HTTP date names, in any of its three spellings, or None [RFC 9110 §5.6.7]."""
    try:
        date = parsedate_to_datetime(field)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None

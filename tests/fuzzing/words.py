"""Short texts that people and servers write: durations, points in time, conditions, `Retry-After`."""

from contextlib import suppress
from datetime import timedelta

import msgspec
from pydantic import ValidationError

from fbsessiond.conditions import Candidate, Condition, why_not
from fbsessiond.dates import from_timestamp_seconds, iso, parse_date
from fbsessiond.durations import LONGEST, format_duration, parse_duration
from fbsessiond.journal.sql.rows import from_microseconds, to_microseconds
from fbsessiond.message import Origin

MILLISECOND = timedelta(milliseconds=1)


def read_words(data: bytes) -> None:
    """Read a text as each of them: it is one, or it isn't, and what is one is written as it was read."""
    text = data.decode(errors="replace")
    with suppress(ValueError):
        duration = parse_duration(text)
        assert timedelta() <= duration <= LONGEST
        assert parse_duration(format_duration(duration)) == duration - duration % MILLISECOND
    if (date := parse_date(text)) is not None:
        assert parse_date(iso(date)) == date == from_microseconds(to_microseconds(date))
    with suppress(ValueError):
        from_timestamp_seconds(float(text))
    with suppress(ValidationError):
        condition = Condition.model_validate_json(data)
        words = why_not(condition, Candidate("agent1", "S1", None, text, Origin.LIVE, dict))
        assert words is None or ": was " in words or words.startswith("when: ")
        assert Condition.model_validate(condition.model_dump(by_alias=True)) == condition
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        number: object = msgspec.json.decode(data)
        if isinstance(number, int | float):
            from_timestamp_seconds(number)

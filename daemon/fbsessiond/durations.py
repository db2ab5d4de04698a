"""Durations as people write them: `90s`, `5m`, `2h`, `30d`."""

import re
from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

LONGEST = timedelta(days=10_000)
"""No duration of a configuration is longer; what is, is a slip of the keyboard."""

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
"""From the largest to the smallest."""

_DURATION = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,6}})?)\s*({'|'.join(_UNITS)})", re.ASCII)


def parse_duration(text: object) -> timedelta:
    """Return the duration that a text names. Raises `ValueError` for anything else, and for more than `LONGEST`."""
    if isinstance(text, timedelta):
        return text
    if isinstance(text, str) and (match := _DURATION.fullmatch(text.strip())):
        number, unit = float(match[1]), _UNITS[match[2]]
        if number <= LONGEST / unit:
            return number * unit
    raise ValueError("should be a duration, as '90s', '5m', '2h' or '30d'")


def format_duration(duration: timedelta) -> str:
    """Return a duration in its largest whole unit: the inverse of `parse_duration`, to the millisecond."""
    whole = duration - duration % _UNITS["ms"]
    unit = next((unit for unit, size in _UNITS.items() if whole and whole % size == timedelta(0)), "ms")
    return f"{whole // _UNITS[unit]}{unit}"


def in_words(duration: timedelta) -> str:
    """Return a duration in the two largest units that it fills, or in seconds, for a person."""
    seconds = duration.total_seconds()
    if seconds < 60:  # noqa: PLR2004  a minute
        return f"{seconds:.3g} s"
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86400
    if not hours:
        return f"{minutes} min {int(seconds) % 60} s"
    if not days:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": rf"^\s*[0-9]{{1,12}}(\.[0-9]{{1,6}})?\s*({'|'.join(_UNITS)})\s*$"}),
]
"""A duration in the configuration."""

"""Durations as people write them: `90s`, `5m`, `2h`, `30d`."""

import re
from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: object) -> timedelta:
    """Return the duration that a text names. Raises `ValueError` for anything else, longer than 10,000 days too."""
    if isinstance(text, timedelta):
        return text
    if isinstance(text, str) and (match := _DURATION.fullmatch(text.strip())):
        number, unit = match.groups()
        if len(number) <= 12 and (duration := timedelta(**{_UNITS[unit]: float(number)})) <= timedelta(days=10_000):  # noqa: PLR2004
            return duration
    raise ValueError("should be a duration, as '90s', '5m', '2h' or '30d'")


def format_duration(duration: timedelta) -> str:
    """Return a duration in its largest whole unit: the inverse of `parse_duration`, to the millisecond."""
    milliseconds = duration // timedelta(milliseconds=1)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration)]
"""A duration in the configuration."""

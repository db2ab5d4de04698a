from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fbsessiond.durations import LONGEST, Duration, format_duration, in_words, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("0s", timedelta(0)),
        ("1.5h", timedelta(minutes=90)),
        (" 5 m ", timedelta(minutes=5)),
        ("10000d", LONGEST),
        ("864000000000ms", LONGEST),
    ],
)
def test_parse(text: str, duration: timedelta) -> None:
    """A duration is a number and a unit."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "value",
    [
        "",
        "5",
        "s",
        "-5s",
        "+5s",
        "5 minutes",
        "5M",
        "1h30m",
        ".5s",
        "5.s",
        "1e3s",
        "\u0665s",
        "nan s",
        "10001d",
        "999999999999d",
        "9" * 400 + "s",
        5,
        5.0,
        True,
        None,
        [],
    ],
)
def test_no_duration(value: object) -> None:
    """Anything else is refused with words that show how one is written; so is what nobody can mean."""
    with pytest.raises(ValueError, match="should be a duration, as '90s', '5m', '2h' or '30d'"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0ms"),
        (timedelta(milliseconds=1), "1ms"),
        (timedelta(milliseconds=1_500), "1500ms"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=120), "2h"),
        (timedelta(days=30), "30d"),
        (timedelta(seconds=1, microseconds=1), "1s"),
    ],
)
def test_format(duration: timedelta, text: str) -> None:
    """A duration is written in the largest unit that it is a whole number of, to the millisecond."""
    assert format_duration(duration) == text


@given(st.integers(0, LONGEST // timedelta(milliseconds=1)))
def test_inverse(milliseconds: int) -> None:
    """What was written is read as the same duration."""
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


def test_in_the_configuration() -> None:
    """In the configuration a duration is read where it stands, and one that is there already stays."""
    adapter = TypeAdapter[timedelta](Duration)
    assert adapter.validate_python("5m") == timedelta(minutes=5)
    assert adapter.validate_python(timedelta(minutes=5)) == timedelta(minutes=5)
    with pytest.raises(ValidationError, match="should be a duration"):
        adapter.validate_python("soon")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.25 s"),
        (59.0, "59 s"),
        (61.9, "1 min 1 s"),
        (3_599.0, "59 min 59 s"),
        (3_661.0, "1 h 1 min"),
        (86_399.0, "23 h 59 min"),
        (90_000.0, "1 d 1 h"),
    ],
)
def test_in_words(seconds: float, words: str) -> None:
    """For a person a duration has the two largest units that it fills, or seconds."""
    assert in_words(timedelta(seconds=seconds)) == words

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbsessiond_handlers.retry_after import LONGEST_PAUSE, date_of, pause_of

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("007", 7),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("Sun, 06 Nov 2044 08:49:37 GMT", 86400),
    ],
)
def test_pause(field: str, seconds: int) -> None:
    """Seconds count from now, and so does a date in any of HTTP's spellings; a past one is now, a far one a day."""
    assert pause_of(field, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("field", ["", "soon", "-1", "1.5", "٣", "²", "Sun, 99 Nov 1994 08:49:37 GMT"])
def test_no_pause(field: str) -> None:
    """What is neither whole seconds nor a date says nothing."""
    assert pause_of(field, NOW) is None


def test_date() -> None:
    """A date is in UTC, also where it was said in another zone or in none; one after the last year isn't one."""
    assert date_of("Sun, 06 Nov 1994 08:49:37 GMT") == NOW
    assert date_of("Sun, 06 Nov 1994 10:49:37 +0200") == NOW
    assert date_of("Sun, 06 Nov 1994 08:49:37 -0000") == NOW
    assert date_of("Fri, 31 Dec 9999 23:00:00 -2300") is None


@given(st.text() | st.from_regex(r"\w{3}, \d{1,2} \w{3} \d{1,6} \d\d:\d\d:\d\d [+-]?\d{1,12}"))
def test_any_field(field: str) -> None:
    """Whatever a server says, the pause is between none and the longest, or there is none to be read."""
    pause = pause_of(field, NOW)
    assert pause is None or timedelta(0) <= pause <= LONGEST_PAUSE

from datetime import timedelta

import pytest

from fbsessiond.readiness import Check, details, is_ready, verdict
from fbsessiond.testing import EPOCH

CONNECTED = Check("connection agent1", True, "connected", EPOCH)
REFUSED = Check("connection agent2", False, "subscription of /v2/me/* refused: 403 denied", EPOCH)
JOURNAL = Check("journal", False, "the disk is full")
NOW = EPOCH + timedelta(seconds=12.9)


def test_ready() -> None:
    """Where all checks hold it is ready; so it is where there are none."""
    assert is_ready([CONNECTED])
    assert verdict([CONNECTED]) == "ready\n"
    assert details([CONNECTED], NOW) == "ok   connection agent1: connected (for 12 s)\nready\n"
    assert is_ready([])
    assert verdict([]) == details([], NOW) == "ready\n"


def test_not_ready() -> None:
    """Where a check doesn't hold it isn't ready: the line names all that fail, the details say how each one is."""
    checks = [CONNECTED, REFUSED, JOURNAL]
    assert not is_ready(checks)
    assert verdict(checks) == "not ready: connection agent2, journal\n"
    assert details(checks, NOW).splitlines() == [
        "ok   connection agent1: connected (for 12 s)",
        "FAIL connection agent2: subscription of /v2/me/* refused: 403 denied (for 12 s)",
        "FAIL journal: the disk is full",
        "not ready",
    ]


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=119.9), "119 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(minutes=119, seconds=59), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(days=2), "2 d"),
        (timedelta(days=400, hours=23), "400 d"),
        (timedelta(hours=-1), "0 s"),
    ],
)
def test_spans(span: timedelta, words: str) -> None:
    """A span is told in units of its size, rounded down; where the clock was stepped back there is none."""
    assert details([CONNECTED], EPOCH + span).startswith(f"ok   connection agent1: connected (for {words})\n")


def test_one_line_each() -> None:
    """Words with line ends and control characters in them stay on their check's line."""
    forged = Check("a\nb", False, "denied\r\nok   journal: fine\x1b[2J\u2028ready")
    assert verdict([forged]) == "not ready: a b\n"
    assert details([forged], EPOCH) == "FAIL a b: denied  ok   journal: fine [2J ready\nnot ready\n"

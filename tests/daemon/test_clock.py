from datetime import UTC, datetime, timedelta

import pytest

from fbsessiond import clock as clock_module
from fbsessiond.clock import Clock, SystemClock


def test_now() -> None:
    """The system's clock shows the machine's time of day, in UTC."""
    clock: Clock = SystemClock()
    shown = clock.now()
    assert shown.tzinfo is UTC
    assert abs(datetime.now(UTC) - shown) < timedelta(minutes=1)  # noqa: TID251  what it is compared with


def test_monotonic() -> None:
    """The system's monotonic time never goes back."""
    clock: Clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine's time is set, the clock runs on evenly until it is asked, and then follows, once."""
    by = timedelta()
    wall = vars(clock_module)["_wall"]
    monkeypatch.setattr(clock_module, "_wall", lambda: wall() + by)
    clock: Clock = SystemClock()
    assert clock.stepped() == timedelta()
    for by in (timedelta(hours=1), timedelta(hours=-2)):
        before = clock.now()
        assert abs(clock.now() - before) < timedelta(minutes=1)
        step = clock.stepped()
        assert abs(clock.now() - before - step) < timedelta(minutes=1)
        assert abs(clock.now() - wall() - by) < timedelta(minutes=1)
        assert clock.stepped() == timedelta()


def test_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a time server corrects bit by bit is no step."""
    clock: Clock = SystemClock()
    wall = vars(clock_module)["_wall"]
    monkeypatch.setattr(clock_module, "_wall", lambda: wall() + timedelta(milliseconds=500))
    assert clock.stepped() == timedelta()

from datetime import UTC, datetime, timedelta

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

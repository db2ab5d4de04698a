import pytest

from fbsessiond.events import AttemptOutcome
from fbsessiond.journal.records import Entry, Lease
from fbsessiond.message import Origin
from fbsessiond.page.figures import ATTEMPTS, LATELY_SECONDS, Figures, HandlerFigures
from fbsessiond.testing import EPOCH
from fbsessiond.transition import Kind
from page_parts import ended
from simulator_parts import HandClock

ENTRY = Entry(1, EPOCH, Origin.LIVE, "agent1", None, "S1", Kind.TRANSITION, None, "Invited", b"{}", None)


def leased(handler: str = "log") -> Lease:
    """Return a delivery that was handed out."""
    return Lease(1, handler, 0, EPOCH, ENTRY)


def test_nothing() -> None:
    """Of a handler that wasn't asked there are no figures, and nothing of one that isn't configured."""
    figures = Figures(["log"], HandClock())
    figures.observe(ended(leased(), None, AttemptOutcome.WITHDRAWN))
    figures.observe(ended(leased("gone")))
    figures.observe("another event")
    assert figures.handlers == ["log"]
    assert figures.of("log") == HandlerFigures("log")


def test_figures() -> None:
    """They say how often, how fast and how often in vain."""
    clock = HandClock()
    figures = Figures(["log"], clock)
    for number in range(1, 101):
        clock.seconds = number * 0.6
        outcome = {1: AttemptOutcome.FAILED, 2: AttemptOutcome.DEAD}.get(number, AttemptOutcome.DELIVERED)
        figures.observe(ended(leased(), number / 1_000, outcome))
    assert figures.of("log") == HandlerFigures("log", 100.0, 0.051, 0.096, 2)


def test_first_second() -> None:
    """In the first second a rate isn't made up from nearly nothing."""
    figures = Figures(["log"], HandClock())
    figures.observe(ended(leased()))
    assert figures.of("log") == HandlerFigures("log", 60.0, 0.1, 0.1, 0)


def test_lately() -> None:
    """What is long ago counts no more."""
    clock = HandClock()
    figures = Figures(["log"], clock)
    figures.observe(ended(leased(), 9.0))
    clock.seconds = LATELY_SECONDS - 1
    figures.observe(ended(leased(), 1.0))
    assert figures.of("log").percentile_95_seconds == 9.0
    clock.seconds += 1
    assert figures.of("log") == HandlerFigures("log", 60 / LATELY_SECONDS, 1.0, 1.0, 0)


def test_many() -> None:
    """Of a fast handler as many attempts are kept as fit, and the rate is of their time."""
    clock = HandClock()
    figures = Figures(["log"], clock)
    for number in range(ATTEMPTS * 2):
        clock.seconds = number / 100
        figures.observe(ended(leased()))
    assert figures.of("log").per_minute == pytest.approx(6_000, rel=0.001)

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbsessiond.gap import SNAPSHOT, Coverage, Gap, GapCause, Proof, coverage_of, read_gap, span
from journal_parts import NOW, after, gap, watched

NETWORK, LOST, STOPPED = GapCause.NETWORK, GapCause.SESSION_LOST, GapCause.STOPPED
WRITTEN: dict[str, Any] = {
    "from": "2026-01-01T00:00:01.000000Z",
    "to": "2026-01-01T00:00:02.000000Z",
    "cause": "network",
}


def covered(seconds: float, observed: float, agent: str = "agent1") -> Coverage:
    """Return a coverage, in seconds."""
    return Coverage(agent, observed=timedelta(seconds=observed), covered=timedelta(seconds=seconds))


def test_causes() -> None:
    """A cause is spelled in the journal, in exports and in metrics as outside readers know it."""
    assert {str(cause) for cause in GapCause} == {
        *("start", "stopped", "network", "session lost", "refused", "silent", "subscription")
    }
    assert SNAPSHOT == "snapshot"


def test_written() -> None:
    """A gap is written as JSON has it: when it began and ended, and why; one that goes on has no end."""
    assert gap(1, 2, NETWORK).written() == WRITTEN
    assert gap(1, None, NETWORK).written() == {**WRITTEN, "to": None}


points = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  bounds


@given(points, st.none() | points, st.sampled_from(GapCause))
def test_read(begin: datetime, end: datetime | None, cause: GapCause) -> None:
    """A gap is read as it was written, to the microsecond; who closed it isn't part of that."""
    one = Gap("agent1", begin, end, cause)
    assert read_gap("agent1", json.loads(json.dumps(one.written()))) == one


def test_read_another_zone() -> None:
    """The same point in time is the same gap, whatever zone it is written in."""
    elsewhere = timezone(timedelta(hours=2))
    moved = Gap("agent1", after(1).astimezone(elsewhere), after(2).astimezone(elsewhere), NETWORK)
    assert read_gap("agent1", moved.written()) == gap(1, 2, NETWORK)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ({"from": None}, TypeError),
        ({"from": "yesterday"}, ValueError),
        ({"to": 5}, TypeError),
        ({"to": "tomorrow"}, ValueError),
        ({"cause": "boredom"}, ValueError),
        ({"cause": None}, ValueError),
    ],
)
def test_read_anything(damage: dict[str, Any], error: type[Exception]) -> None:
    """What is no gap is an error, and nothing is guessed."""
    with pytest.raises(error):
        read_gap("agent1", {**WRITTEN, **damage})


@pytest.mark.parametrize("key", WRITTEN)
def test_read_half(key: str) -> None:
    """Where a key is missing that is an error, too."""
    with pytest.raises(LookupError):
        read_gap("agent1", {name: value for name, value in WRITTEN.items() if name != key})


def test_secrets() -> None:
    """A position, with which anybody could go on with a session, is in no log: it isn't shown."""
    assert "cookie" not in repr(Proof("chain", after(1), after(2), b"cookie"))
    assert "cookie" not in repr(replace(watched(9), position=b"cookie"))
    assert Proof("chain", after(1), after(2)).position is None


def test_span() -> None:
    """Several gaps are as one from the first one's beginning to the last one's end, with the first one's cause."""
    first, second = gap(1, 2, NETWORK), gap(5, 8, STOPPED)
    assert span([first]) == first
    assert span([first, second]) == gap(1, 8, NETWORK)
    assert span([first, second, gap(9, None, LOST)]) == gap(1, None, NETWORK)


def test_open_gap() -> None:
    """A gap goes on from the last proof while the chain is broken, and only then."""
    assert watched(9).open_gap is None
    assert watched(9, gap(1, 2, LOST), broken=NETWORK).open_gap == gap(9, None, NETWORK)


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([], covered(90, 90)),
        ([gap(0, 10, LOST, "snapshot")], covered(80, 90)),
        ([gap(0, 10, LOST), gap(20, 25, LOST, "snapshot"), gap(89, 90, LOST)], covered(74, 90)),
        ([gap(30, 30, LOST)], covered(90, 90)),
        ([gap(-20, 10, LOST)], covered(80, 90)),
        ([gap(-20, -10, LOST)], covered(90, 90)),
    ],
)
@pytest.mark.parametrize("now", [90, 95, 10_000, 0])
def test_coverage(gaps: list[Gap], expected: Coverage, now: float) -> None:
    """All gaps count, closed or not, as far as they are observed; the time since the last proof is neither."""
    assert coverage_of(watched(90), gaps, after(now)) == expected


def test_coverage_of_an_open_gap() -> None:
    """A gap that goes on counts up to now, given or not; if the clock was set back, up to the last proof."""
    broken = watched(90, broken=NETWORK)
    for gaps in ([gap(10, 20, LOST)], [gap(10, 20, LOST), gap(90, None, NETWORK)]):
        assert coverage_of(broken, gaps, after(100)) == covered(80, 100)
        assert coverage_of(broken, gaps, after(50)) == covered(80, 90)
    assert coverage_of(watched(5, since=10, broken=NETWORK), [], after(30)) == covered(0, 20)
    assert coverage_of(watched(5, since=10, broken=NETWORK), [], after(7)) == covered(0, 0)


def test_coverage_of_nothing() -> None:
    """Where nothing was observed yet nothing is missing: 1, not an error."""
    found = coverage_of(watched(0), [], NOW)
    assert (found, found.share) == (covered(0, 0), 1)
    assert coverage_of(watched(5, since=10), [gap(0, 5, LOST)], NOW) == covered(0, 0)


def test_coverage_of_gaps_that_overlap() -> None:
    """In a damaged ledger less than nothing isn't covered."""
    assert coverage_of(watched(10), [gap(0, 9, LOST), gap(1, 10, LOST)], NOW) == covered(0, 10)


def test_share() -> None:
    """The share is what part of the observed time is covered."""
    assert covered(81, 90).share == pytest.approx(0.9)
    assert covered(0, 90).share == 0
    assert covered(90, 90).share == 1

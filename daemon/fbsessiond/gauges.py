"""What is looked up when somebody asks for metrics: how the daemon stands, and what is still to be done."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from fbsessiond import limits
from fbsessiond.follow_up import FollowUpState
from fbsessiond.journal.records import Backlog, DeliveryState
from fbsessiond.readiness import Standing

PREFIX: Final = "fbsessiond"
"""Begins every name; a counter's ends in `_total`, which the library adds."""

PENDING: Final = (DeliveryState.WAITING, DeliveryState.DUE, DeliveryState.RUNNING)
UNSETTLED: Final = (
    *(state for state in FollowUpState if state.is_open),
    FollowUpState.PARKED,
    FollowUpState.FAILED,
)
"""The states of follow-ups that are counted: open, or left to a person."""

BUILD: Final = {"version": version("fbsessiond"), "python": platform.python_version()}


@dataclass(frozen=True, slots=True)
class Readings:
    """All that is looked up at a scrape."""

    is_ready: bool = False
    standings: Sequence[Standing] = (Standing(),)
    """How the agents stand, by group."""
    backlog: Backlog = field(default_factory=Backlog)
    is_intake_paused: bool = False
    free_bytes: int | None = None
    """What is free where the journal is kept; None: there is no limit that is known."""


class Gauges:
    """A collector of the library's that asks the daemon's parts at each scrape."""

    def __init__(self) -> None:
        self.read: Callable[[], Readings] = Readings
        """Looks it all up; set once the parts are there."""

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, as a registry's collector does."""
        readings = self.read()
        yield _gauge("build_info", "1, with the versions of what runs.", list(BUILD), {tuple(BUILD.values()): 1})
        yield _gauge("ready", "Whether the daemon is ready: 1 or 0.", value=readings.is_ready)
        yield from _standings(readings.standings)
        yield _gauge(
            "intake_paused", "Whether nothing is taken in for want of room: 1 or 0.", value=readings.is_intake_paused
        )
        yield _gauge("free_bytes", "Room on the journal's disk.", value=readings.free_bytes)
        yield _gauge("journal_bytes", "How large the journal is.", value=readings.backlog.bytes)
        yield from _deliveries(readings.backlog)
        yield from _follow_ups(readings.backlog)
        yield _gauge("quarantined", "Messages in the quarantine.", value=readings.backlog.quarantined)


def _standings(standings: Sequence[Standing]) -> Iterator[Metric]:
    def gauge(name: str, help_text: str, read: Callable[[Standing], float | None]) -> Metric:
        values = [(one.group, read(one)) for one in standings]
        known: dict[tuple[str, ...], float] = {(group,): value for group, value in values if value is not None}
        return _gauge(name, help_text, ["group"], known)

    yield gauge("agents", "Agents that are watched.", lambda one: one.agents)
    yield gauge("agents_connected", "Agents that are connected and subscribed.", lambda one: one.connected)
    yield gauge("agents_in_gap", "Agents of whom a notification may be missed now.", lambda one: one.in_gap)
    yield gauge("coverage_ratio", "Share of the observed time that no gap is in, 0 to 1.", lambda one: one.coverage)
    yield gauge(
        "poll_age_seconds",
        "Since the last connect that succeeded, of the agent for whom that is longest.",
        lambda one: None if one.silent_for is None else one.silent_for.total_seconds(),
    )


def _deliveries(backlog: Backlog) -> Iterator[Metric]:
    yield _gauge(
        "pending_deliveries",
        f"Deliveries that aren't settled, of each handler up to {limits.BACKLOG_COUNTED}.",
        ["handler", "state"],
        {(name, state): states.get(state, 0) for name, states in backlog.deliveries.items() for state in PENDING},
    )
    due: dict[tuple[str, ...], float] = {(name,): span.total_seconds() for name, span in backlog.due_for.items()}
    yield _gauge("oldest_due_seconds", "For how long a handler's oldest delivery has been due.", ["handler"], due)
    dead = dict.fromkeys(backlog.deliveries, 0) | dict(backlog.dead)
    yield _gauge("dead_letters", "Dead letters.", ["handler"], {(name,): count for name, count in dead.items()})


def _follow_ups(backlog: Backlog) -> Iterator[Metric]:
    yield _gauge(
        "unsettled_follow_ups",
        "Follow-ups that are open, or left to a person.",
        ["state"],
        {(state,): backlog.follow_ups.get(state, 0) for state in UNSETTLED},
    )
    yield _gauge(
        "oldest_due_follow_up_seconds",
        "For how long the oldest follow-up has been due.",
        value=backlog.follow_ups_due_for.total_seconds(),
    )


def _gauge(
    name: str,
    help_text: str,
    labels: Sequence[str] = (),
    values: Mapping[tuple[str, ...], float] | None = None,
    *,
    value: float | None = None,
) -> Metric:
    """Return a gauge: one value, left out where it isn't known, or one for each combination of labels' values."""
    gauge = GaugeMetricFamily(f"{PREFIX}_{name}", help_text, value, labels or None)
    for combination, number in (values or {}).items():
        gauge.add_metric(combination, number)
    return gauge

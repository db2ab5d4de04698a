"""What the daemon counts, for Prometheus. docs/metrics.md has them all.

No label names a session, an agent or a customer. What happens is told by events (`fbsessiond.events`), and counted
once a batch, an attempt or a request; what can be looked up is left to the scrape (`fbsessiond.gauges`). The library
takes 9 ms to import, and each counter 0.1 ms to make: only `fbsessiond run` imports this module.
"""

from collections import Counter as Counts
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from fbsessiond.clock import Clock
from fbsessiond.cometd.events import ConnectionEvent, Handshaken, Lost
from fbsessiond.cometd.rules import Cause
from fbsessiond.events import (
    AttemptEnded,
    AttemptOutcome,
    BatchTaken,
    Event,
    FollowUpPaused,
    GapFound,
    SilenceFound,
    SnapshotCompared,
    SnapshotOutcome,
)
from fbsessiond.follow_up import Webhook
from fbsessiond.gap import GapCause
from fbsessiond.gauges import PREFIX, Gauges
from fbsessiond.gws.requests import RequestEnded, RequestResult
from fbsessiond.operations import OPERATIONS
from fbsessiond.transition import Kind

UNKNOWN: Final = "unknown"
"""Stands for an operation that another version wrote down."""

_SHORT: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LONG: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper ends of histograms' buckets, in seconds: for steps on this machine, and for those that ask others."""


class Metrics:
    """Counters, and the gauges that are read when somebody asks; in a registry of their own."""

    def __init__(self, clock: Clock) -> None:
        """Make them, all with 0."""
        self._clock = clock
        self._registry = _Registry()
        self._make_notification_counters()
        self._make_handler_counters()
        self._make_gap_counters()
        self._loop_lag = self._histogram(
            "loop_lag_seconds", "How late the event loop was, each time that it was looked at."
        )
        self.gauges = Gauges()
        self._registry.register(self.gauges)
        ProcessCollector(registry=self._registry)

    def exposition(self) -> tuple[bytes, str]:
        """Return all values in the text format that every Prometheus reads, and its content type."""
        encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def expect(self, handlers: Sequence[str]) -> None:
        """Have the counters of some handlers begin with 0, so that their first increase is one."""
        for handler in handlers:
            self._handling.labels(handler)
            for outcome in AttemptOutcome:
                self._deliveries.labels(handler, outcome)

    def observe(self, event: Event | ConnectionEvent) -> None:
        """Count an event, if it is one to be counted."""
        match event:
            case BatchTaken():
                self._count_batch(event)
            case AttemptEnded(lease, outcome, _, seconds):
                self._deliveries.labels(lease.handler, outcome).inc()
                if seconds is not None:
                    self._handling.labels(lease.handler).observe(seconds)
            case FollowUpPaused(lease, progress):
                name = lease.operation.name
                known = name if name in OPERATIONS or name == Webhook.name else UNKNOWN
                self._follow_ups.labels(known, "again" if progress.state.is_open else progress.state).inc()
            case RequestEnded(result=result, seconds=seconds):
                self._requests.labels(result).inc()
                self._request_seconds.observe(seconds)
            case _:
                self._count_of_agent(event)

    def count_lag(self, seconds: float) -> None:
        """Count how late the event loop was."""
        self._loop_lag.observe(seconds)

    def timed(self, step: Literal["commit", "checkpoint"]) -> AbstractContextManager[None]:
        """Time a step of the journal."""
        return self._commits if step == "commit" else self._checkpoints

    def _count_of_agent(self, event: Event | ConnectionEvent) -> None:
        match event:
            case Handshaken():
                self._handshakes.inc()
            case Lost(cause=cause):
                self._losses.labels(cause).inc()
            case GapFound(gap):
                self._gaps.labels(gap.cause).inc()
                self._gap_seconds.labels(gap.cause).inc(((gap.end or gap.begin) - gap.begin).total_seconds())
            case SnapshotCompared(outcome, kinds):
                self._snapshots.labels(outcome).inc()
                for kind in kinds:
                    self._differences.labels(kind).inc()
            case SilenceFound():
                self._silences.inc()
            case _:
                pass

    def _count_batch(self, taken: BatchTaken) -> None:
        if taken.batch.messages:
            self._batches.inc()
            waited = self._clock.now() - taken.batch.received_at
            self._durable.observe(max(0.0, waited.total_seconds()))  # the time of day can be stepped back
        for kind, count in Counts([draft.change.kind for draft in taken.drafts]).items():
            self._notifications.labels(kind).inc(count)
        if taken.quarantined:
            self._quarantined.inc(taken.quarantined)

    def _make_notification_counters(self) -> None:
        self._notifications = self._counter(
            "notifications", "Notifications that are on disk, by what they changed.", ["kind"], Kind
        )
        self._quarantined = self._counter("quarantined_messages", "Messages that didn't validate.")
        self._batches = self._counter("batches", "Batches of messages that are on disk.")
        self._durable = self._histogram("durable_seconds", "From when a batch was received to when it is on disk.")
        self._commits = _Stopwatch(
            self._histogram("commit_seconds", "How long a commit of the journal takes, its sync included."),
            self._clock,
        )
        self._checkpoints = _Stopwatch(
            self._histogram("checkpoint_seconds", "How long moving the journal's log into its file takes."),
            self._clock,
        )
        self._handshakes = self._counter("handshakes", "CometD sessions that began.")
        self._losses = self._counter("lost_exchanges", "Exchanges over CometD that came to nothing.", ["cause"], Cause)

    def _make_handler_counters(self) -> None:
        self._deliveries = self._counter(
            "deliveries", "Attempts at deliveries, by how they ended.", ["handler", "outcome"]
        )
        self._handling = self._histogram("handling_seconds", "How long a handler takes.", ["handler"], _LONG)
        self._follow_ups = self._counter(
            "follow_ups", "Times that a follow-up was carried on, by where it was then.", ["operation", "state"]
        )
        self._requests = self._counter(
            "requests", "Requests to GWS's REST API, by what became of them.", ["result"], RequestResult
        )
        self._request_seconds = self._histogram("request_seconds", "How long these requests take.", buckets=_LONG)

    def _make_gap_counters(self) -> None:
        self._gaps = self._counter(
            "gaps",
            "Spans of time in which a notification may have been missed, once they have ended.",
            ["cause"],
            GapCause,
        )
        self._gap_seconds = self._counter("gap_seconds", "How long these gaps were.", ["cause"], GapCause)
        self._silences = self._counter("silences", "Changes that no notification told, though all looked well.")
        self._snapshots = self._counter(
            "snapshots", "Times that an agent's sessions were read.", ["outcome"], SnapshotOutcome
        )
        self._differences = self._counter("snapshot_differences", "What such a reading showed anew.", ["kind"])

    def _counter(self, name: str, help_text: str, labels: Sequence[str] = (), values: Iterable[str] = ()) -> Counter:
        """Make a counter; what is known to be counted begins with 0, so that its first increase is one."""
        counter = Counter(name, help_text, labels, namespace=PREFIX, registry=self._registry)
        for value in values:
            counter.labels(value)
        return counter

    def _histogram(
        self, name: str, help_text: str, labels: Sequence[str] = (), buckets: Sequence[float] = _SHORT
    ) -> Histogram:
        return Histogram(name, help_text, labels, namespace=PREFIX, registry=self._registry, buckets=buckets)


class _Stopwatch(AbstractContextManager[None]):
    """Times one step after the other."""

    def __init__(self, histogram: Histogram, clock: Clock) -> None:
        self._histogram = histogram
        self._clock = clock
        self._began_at = 0.0

    def __enter__(self) -> None:
        self._began_at = self._clock.monotonic()

    def __exit__(self, *_: object) -> None:
        self._histogram.observe(self._clock.monotonic() - self._began_at)


class _Registry(CollectorRegistry):
    """A registry without the library's gauges `…_created`: the time of day in them isn't of the daemon's clock."""

    def collect(self) -> Iterable[Metric]:
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family

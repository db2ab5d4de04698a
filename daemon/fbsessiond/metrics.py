"""What the daemon counts, for Prometheus. docs/metrics.md has them all.

No label names a session, an agent or a customer. The library takes 9 ms to import, and each counter 0.1 ms to make:
only `fbsessiond run` imports this module.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from fbsessiond.gap import GapCause
from fbsessiond.readiness import Standing

PREFIX: Final = "fbsessiond"
"""Begins every name; a counter's ends in `_total`, which the library adds."""

OUTCOMES: Final = ("agreed", "differed", "unavailable")
"""How reading an agent's sessions can end."""


class Metrics:
    """Counters to count with, and gauges that are read when somebody asks; in a registry of their own."""

    def __init__(self, standing: Callable[[], Standing] = Standing) -> None:
        """Make them; `standing` is asked at each scrape, and can be set later, too."""
        self.standing = standing
        self._registry = _Registry()
        self.gaps = self._counter(
            "gaps",
            "Spans of time in which a notification may have been missed, once they have ended.",
            "cause",
            GapCause,
        )
        self.gap_seconds = self._counter("gap_seconds", "How long these gaps were.", "cause", GapCause)
        self.silences = self._counter("silences", "Changes that no notification told, though all looked well.")
        self.snapshots = self._counter("snapshots", "Times that an agent's sessions were read.", "outcome", OUTCOMES)
        self.differences = self._counter("snapshot_differences", "What such a reading showed anew.", "kind")
        self._registry.register(self)

    def exposition(self) -> tuple[bytes, str]:
        """Return all values in the text format that every Prometheus reads, and its content type."""
        encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, as a registry's collector does."""
        standing = self.standing()
        yield _gauge("agents", "Agents that are watched.", standing.agents)
        yield _gauge("agents_connected", "Agents that are connected and subscribed.", standing.connected)
        yield _gauge("agents_in_gap", "Agents of whom a notification may be missed now.", standing.in_gap)
        yield _gauge("coverage_ratio", "Share of the observed time that no gap is in, 0 to 1.", standing.coverage)

    def _counter(self, name: str, help_text: str, label: str | None = None, values: Iterable[str] = ()) -> Counter:
        """Make a counter; what is known to be counted begins with 0, so that its first increase is one."""
        labels = [label] if label else []
        counter = Counter(name, help_text, labels, namespace=PREFIX, registry=self._registry)
        for value in values:
            counter.labels(value)
        return counter


class _Registry(CollectorRegistry):
    """A registry without the library's gauges `…_created`: the time of day in them isn't of the daemon's clock."""

    def collect(self) -> Iterable[Metric]:
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def _gauge(name: str, help_text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", help_text, value)

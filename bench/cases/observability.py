"""What it costs to watch the daemon: all metrics and the log, beside neither."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import structlog

from cases.path import one_process_ours
from fbsessiond.events import Event
from fbsessiond.logs import configure_logs
from fbsessiond.metrics import Metrics
from fbsessiond.page.figures import Figures
from measure import Comparison, Side, Work
from work import CLOCK, COUNT, HANDLERS, bursts, messages, opened, pipeline_to, settle


@contextmanager
def _on(folder: Path) -> Generator[Work]:
    metrics, figures = Metrics(CLOCK), Figures(HANDLERS, CLOCK)

    def observe(event: Event) -> None:
        metrics.observe(event)
        figures.observe(event)

    batches = bursts(messages())
    with (folder / "stderr").open("w") as file, redirect_stderr(file), opened(folder) as journal:
        configure_logs(CLOCK, "info")
        journal.time_with(metrics.timed)
        way, _ = pipeline_to(journal, observe)
        yield Work(lambda: asyncio.run(settle(way, batches)), COUNT)


@contextmanager
def _off(folder: Path) -> Generator[Work]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    with one_process_ours(folder) as work:
        yield work


OBSERVABILITY = Comparison(
    "observability",
    "As `path`, with all metrics counted and the log written, beside the same without.",
    Side("metrics and log", _on, "as the daemon has them, at level info"),
    [Side("neither", _off, "no metrics, nothing logged", at_least=0.95)],
)

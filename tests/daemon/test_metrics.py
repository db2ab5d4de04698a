import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from fbsessiond.cometd.events import Closed, Handshaken, Lost
from fbsessiond.cometd.rules import Cause
from fbsessiond.events import (
    AttemptBegan,
    AttemptEnded,
    AttemptOutcome,
    BatchTaken,
    FollowUpPaused,
    GapFound,
    SilenceFound,
    SnapshotCompared,
    SnapshotOutcome,
)
from fbsessiond.follow_up import FollowUp, FollowUpState, Progress, Webhook
from fbsessiond.gap import Gap, GapCause
from fbsessiond.gauges import PENDING, UNSETTLED, Readings
from fbsessiond.gws.requests import RequestEnded, RequestResult
from fbsessiond.journal.records import Backlog, Draft, Entry, FollowUpLease, Lease
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.metrics import Metrics
from fbsessiond.operations import Operation
from fbsessiond.readiness import Standing
from fbsessiond.transition import Kind
from journal_parts import NOW, after, draft, message, repeat

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


class Hands:
    """A clock that shows what a test says."""

    seconds = 0.0

    def now(self) -> Any:
        """Return the time of day."""
        return after(self.seconds)

    def monotonic(self) -> float:
        """Return the time since it began."""
        return self.seconds

    def stepped(self) -> timedelta:
        """Nobody sets it."""
        return timedelta()


def make(hands: Hands | None = None) -> Metrics:
    """Return metrics that count from 0."""
    return Metrics(hands or Hands())


def values(metrics: Metrics) -> dict[str, float]:
    """Return all of the daemon's own that is exposed, each by its name and the values of its labels."""
    body, _ = metrics.exposition()
    return {
        " ".join([sample.name.removeprefix("fbsessiond_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if family.name.startswith("fbsessiond_")
    }


def counted(metrics: Metrics) -> dict[str, float]:
    """Return what isn't 0, buckets and what runs left out."""
    found = {name: value for name, value in values(metrics).items() if value}
    return {name: value for name, value in found.items() if not re.search("_bucket|^build_info", name)}


def taken(drafts: Sequence[Draft], *, quarantined: int = 0, messages: Sequence[Message] | None = None) -> BatchTaken:
    """Return a batch that was received at `NOW`."""
    batch = Batch(
        "agent1", Origin.LIVE, NOW, tuple(each.message for each in drafts) if messages is None else (*messages,)
    )
    return BatchTaken(batch, 0.1, 1, drafts, quarantined)


def lease() -> Lease:
    """Return a delivery that was handed out."""
    entry = Entry(7, NOW, Origin.LIVE, "agent1", None, "S1", Kind.TRANSITION, None, "Invited", b"{}", None)
    return Lease(1, "log", 0, NOW, entry)


def paused(operation: FollowUp, state: FollowUpState) -> FollowUpPaused:
    """Return a follow-up that was carried on."""
    progress = Progress(state)
    return FollowUpPaused(FollowUpLease(1, 7, "wrap-up", 1, "agent1", operation, progress), progress, 1.0)


def test_from_zero() -> None:
    """Each counter is there from the start with 0, for each value of its label that is known."""
    metrics = make()
    metrics.expect(["log"])
    shown = values(metrics)
    assert counted(metrics) == {}
    assert {name for name in shown if "_total" in name} == {
        *(f"notifications_total {kind}" for kind in Kind),
        "quarantined_messages_total",
        "batches_total",
        "handshakes_total",
        *(f"lost_exchanges_total {cause}" for cause in Cause),
        *(f"deliveries_total log {outcome}" for outcome in AttemptOutcome),
        *(f"requests_total {result}" for result in RequestResult),
        *(f"gaps_total {cause}" for cause in GapCause),
        *(f"gap_seconds_total {cause}" for cause in GapCause),
        "silences_total",
        *(f"snapshots_total {outcome}" for outcome in SnapshotOutcome),
    }
    assert shown["handling_seconds_count log"] == 0


def test_batches() -> None:
    """A batch counts once, its notifications by what they changed, and how long it took until it was on disk."""
    hands = Hands()
    metrics = make(hands)
    hands.seconds = 0.25
    metrics.observe(taken([draft(), draft(state="Chatting"), repeat()], quarantined=2))
    assert counted(metrics) == {
        "notifications_total transition": 2,
        "notifications_total repeat": 1,
        "quarantined_messages_total": 2,
        "batches_total": 1,
        "durable_seconds_count": 1,
        "durable_seconds_sum": 0.25,
    }
    assert values(metrics)["durable_seconds_bucket 0.25"] == 1
    assert values(metrics)["durable_seconds_bucket 0.1"] == 0


def test_empty_batch() -> None:
    """A batch that only proves something isn't counted: there is one with each poll."""
    metrics = make()
    metrics.observe(taken([]))
    assert counted(metrics) == {}


def test_stepped_back() -> None:
    """A clock that was stepped back since a batch was received counts as no time."""
    hands = Hands()
    metrics = make(hands)
    hands.seconds = -3600
    metrics.observe(taken([], messages=[message()]))
    assert counted(metrics) == {"batches_total": 1, "durable_seconds_count": 1}


def test_attempts() -> None:
    """Attempts count by handler and outcome; how long a handler takes, only where it was asked."""
    metrics = make()
    metrics.observe(AttemptBegan(lease()))
    for outcome in AttemptOutcome:
        metrics.observe(AttemptEnded(lease(), outcome, NOW, None if outcome is AttemptOutcome.WITHDRAWN else 0.5))
    assert counted(metrics) == {
        **{f"deliveries_total log {outcome}": 1 for outcome in AttemptOutcome},
        "handling_seconds_count log": 4,
        "handling_seconds_sum log": 2.0,
    }


def test_follow_ups() -> None:
    """Follow-ups count by operation and state; those that go on later, as such; unknown operations, as one."""
    metrics = make()
    for operation, state in (
        (Operation.leave("S1"), FollowUpState.CONFIRMED),
        (Operation.leave("S1"), FollowUpState.SENT),
        (Operation.leave("S1"), FollowUpState.INTENDED),
        (Webhook("crm", "S1"), FollowUpState.FAILED),
        (Operation.unchecked("Sing", "S1", {}), FollowUpState.PARKED),
        (Operation.unchecked("Dance", "S1", {}), FollowUpState.PARKED),
    ):
        metrics.observe(paused(operation, state))
    assert counted(metrics) == {
        "follow_ups_total Leave confirmed": 1,
        "follow_ups_total Leave again": 2,
        "follow_ups_total Webhook failed": 1,
        "follow_ups_total unknown parked": 2,
    }


def test_requests() -> None:
    """Requests count by what became of them, and how long they took."""
    metrics = make()
    metrics.observe(RequestEnded("GET", None, RequestResult.PASSED_ON, 200, 0.25))
    metrics.observe(RequestEnded("POST", "Leave", RequestResult.NO_ANSWER, None, 20.0))
    assert counted(metrics) == {
        "requests_total passed on": 1,
        "requests_total no answer": 1,
        "request_seconds_count": 2,
        "request_seconds_sum": 20.25,
    }


def test_connection() -> None:
    """New sessions count, and exchanges that came to nothing, by cause; other events of the connection don't."""
    metrics = make()
    metrics.observe(Handshaken(NOW, "long-polling", acknowledged=True))
    metrics.observe(Lost(NOW, Cause.CUT, "cut", session=True))
    metrics.observe(Closed(NOW, farewell=True))
    assert counted(metrics) == {"handshakes_total": 1, "lost_exchanges_total cut": 1}


def test_gaps() -> None:
    """Gaps count with their length, and what comparing shows."""
    metrics = make()
    metrics.observe(GapFound(Gap("agent1", NOW, after(1.5), GapCause.NETWORK)))
    metrics.observe(GapFound(Gap("agent1", NOW, None, GapCause.SESSION_LOST)))
    metrics.observe(SilenceFound())
    metrics.observe(SnapshotCompared(SnapshotOutcome.AGREED))
    metrics.observe(SnapshotCompared(SnapshotOutcome.DIFFERED, [Kind.TRANSITION, Kind.TRANSITION]))
    assert counted(metrics) == {
        "gaps_total network": 1,
        "gaps_total session lost": 1,
        "gap_seconds_total network": 1.5,
        "silences_total": 1,
        "snapshots_total agreed": 1,
        "snapshots_total differed": 1,
        "snapshot_differences_total transition": 2,
    }
    body, content_type = metrics.exposition()
    assert b'fbsessiond_gaps_total{cause="session lost"} 1.0\n' in body
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"


def test_journal() -> None:
    """Commits and checkpoints are timed, those that fail too."""
    hands = Hands()
    metrics = make(hands)
    with metrics.timed("commit"):
        hands.seconds += 0.25
    failing = metrics.timed("commit")
    failing.__enter__()
    hands.seconds += 0.5
    failing.__exit__(OSError, OSError(), None)
    with metrics.timed("checkpoint"):
        hands.seconds += 2.0
    assert counted(metrics) == {
        "commit_seconds_count": 2,
        "commit_seconds_sum": 0.75,
        "checkpoint_seconds_count": 1,
        "checkpoint_seconds_sum": 2.0,
    }


def test_loop() -> None:
    """How late the event loop was is counted."""
    metrics = make()
    metrics.count_lag(0.25)
    assert counted(metrics) == {"loop_lag_seconds_count": 1, "loop_lag_seconds_sum": 0.25}


def test_process() -> None:
    """The process's own memory, processor time and open files are there, under their usual names."""
    body, _ = make().exposition()
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds"} <= names


def test_own_registry() -> None:
    """Two daemons in one process count for themselves, and nothing is counted where other libraries do."""
    one, other = make(), make()
    one.observe(SilenceFound())
    assert values(one)["silences_total"] == 1
    assert values(other)["silences_total"] == 0
    assert not any(family.name.startswith("fbsessiond") for family in REGISTRY.collect())


KNOWN = {
    ("notifications_total", "kind"): Kind,
    ("lost_exchanges_total", "cause"): Cause,
    ("deliveries_total", "outcome"): AttemptOutcome,
    ("requests_total", "result"): RequestResult,
    ("gaps_total", "cause"): GapCause,
    ("snapshots_total", "outcome"): SnapshotOutcome,
    ("pending_deliveries", "state"): PENDING,
    ("unsettled_follow_ups", "state"): UNSETTLED,
}
"""The values of labels that are known."""


def exposed() -> str:
    """Return an exposition in which each metric has a value."""
    metrics = make()
    metrics.expect(["log"])
    metrics.observe(SnapshotCompared(SnapshotOutcome.DIFFERED, [Kind.TRANSITION]))
    metrics.observe(paused(Operation.leave("S1"), FollowUpState.CONFIRMED))
    backlog = Backlog({"log": {}}, {"log": timedelta()})
    standings = [Standing(coverage=1.0, silent_for=timedelta())]
    metrics.gauges.read = lambda: replace(Readings(backlog=backlog), standings=standings, free_bytes=1)
    body, _ = metrics.exposition()
    return body.decode()


def test_page() -> None:
    """The page on metrics has each one with its type, labels and meaning, and each label with its known values."""
    rows: list[str] = []
    for family in text_string_to_metric_families(exposed()):
        sample = family.samples[0]
        name = family.name if family.type == "histogram" else sample.name
        labels = "".join(f"`{label}` " for label in sample.labels if label != "le")
        rows.append(f"| `{name}` | {family.type} | {labels}| {family.documentation} |")
    assert re.findall(r"^\| `(?:fbsessiond|process)_\w+` \| (?:counter|gauge|histogram).*$", PAGE, re.MULTILINE) == rows
    for (name, label), known in KNOWN.items():
        shown = re.findall(rf"^\| `fbsessiond_{name}` \| `{label}` \| `(.*?)` \|", PAGE, re.MULTILINE)
        assert shown == [str(value) for value in known], name


def test_import() -> None:
    """The commands' own start doesn't pay for the library."""
    program = "import sys, fbsessiond.cli; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

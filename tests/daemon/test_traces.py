"""fbsessiond.traces: spans, as a collector gets them by OTLP over HTTP."""

import asyncio
import json
import logging
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from pydantic import PrivateAttr

from cometd_servers import LOOPBACK
from daemons import until
from fbsessiond import Delivery, Done, Handler, Operation, Outcome, traceparent
from fbsessiond.carrying import Patience
from fbsessiond.chance import SeededChance
from fbsessiond.clock import SystemClock
from fbsessiond.cometd.events import Connected
from fbsessiond.envelope import open_envelope
from fbsessiond.events import AttemptBegan, AttemptEnded, AttemptOutcome, BatchTaken, FollowUpPaused
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.follow_ups import FollowUpLane, FollowUpSettings
from fbsessiond.gws.access import Access, Basic
from fbsessiond.gws.requests import RequestEnded, RequestResult
from fbsessiond.gws.rest import Rest
from fbsessiond.intake import Intake
from fbsessiond.journal.records import Entry, FollowUpLease, Lease
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.message import Batch, Origin
from fbsessiond.route import Route
from fbsessiond.service import Pipeline
from fbsessiond.traces import CLOSE_SECONDS, Traces
from fbsessiond.transition import Kind
from journal_parts import NOW, draft, repeat
from trace_parts import Span, collecting

WRITTEN = "my number is 555-1234"
"""What a customer wrote."""


class Leaving(Handler):
    """Fails once, then asks for an operation."""

    _seen: list[str | None] = PrivateAttr(default_factory=list[str | None])

    @property
    def seen(self) -> list[str | None]:
        """Where in the trace each attempt was."""
        return self._seen

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note where in the trace it is."""
        self._seen.append(traceparent())
        if delivery.attempt == 1:
            raise LookupError(WRITTEN)
        return Done(Operation.add_comment(delivery.transition.session, WRITTEN))


async def test_way() -> None:
    """A notification's way is one trace: receipt, commit, each attempt, the follow-up, and the request to GWS."""
    clock, chance = SystemClock(), SeededChance(1)
    journal = SqliteJournal(MEMORY, clock.now())
    handler = Leaving()
    routes = [Route("leave", handler)]
    quick = Patience(timedelta(milliseconds=1), timedelta(milliseconds=1), 1)
    async with collecting() as collector, Access(Basic("agent1", "secret")) as access:
        traces = Traces(collector.url, journal.identity, clock)
        rest = Rest(collector.url, access, traces.observe)
        lane = FollowUpLane(journal, {"agent1": rest}, clock, chance, FollowUpSettings(quick), observe=traces.observe)
        intake = Intake(journal, routes, clock, observe=traces.observe)
        pipeline = Pipeline(journal, routes, clock, chance, lane, intake, traces.observe)
        data = {"messageType": "FacebooksessionStateChangeMessage", "notificationType": "StatusChange"}
        session = {"id": "S1", "state": "Invited", "userData": {"FirstName": WRITTEN}}
        raw = json.dumps({"channel": "/v2/me/facebooksession", "data": {**data, "facebooksession": session}})
        await intake.take(Batch("agent1", Origin.LIVE, clock.now(), (open_envelope(raw.encode()),)))
        running = asyncio.create_task(pipeline.dispatch.run())
        await until(lambda: any(not one.progress.state.is_open for one in journal.reader().follow_ups()))
        running.cancel()
        await asyncio.wait([running])
        await asyncio.to_thread(traces.close)
    root, delivery = collector["receive"], collector["deliver leave"]
    follow_up = collector["follow up AddComment"]
    attempts = [span for span in collector.spans if span.name == "handle leave"]
    assert {span.trace for span in collector.spans} == {root.trace}
    assert [root.parent, collector["journal"].parent, delivery.parent] == ["", root.id, root.id]
    assert {span.parent for span in [*attempts, follow_up]} == {delivery.id}
    assert sorted(span.failed for span in attempts) == [False, True]
    assert not delivery.failed
    assert collector["POST AddComment"].parent == follow_up.id
    assert collector["POST AddComment"].attributes["http.response.status_code"] == 200
    assert {f"00-{span.trace}-{span.id}-01" for span in attempts} == set(handler.seen)
    assert root.attributes["fbsessiond.session"] == "S1"
    assert delivery.attributes["fbsessiond.outcome"] == "delivered"
    assert all(0 <= span.seconds < 30 for span in collector.spans)
    assert collector.services == {"fbsessiond"}
    assert WRITTEN.encode() not in collector.raw
    journal.close()


def lease(seq: int = 7) -> Lease:
    """Return a delivery that was handed out."""
    entry = Entry(seq, NOW, Origin.LIVE, "agent1", None, "S1", Kind.TRANSITION, None, "Invited", b"{}", None)
    return Lease(1, "log", 0, NOW, entry)


async def sent(*events: Any, identity: str = "journal") -> Sequence[Span]:
    """Return the spans that are made of events."""
    async with collecting() as collector:
        traces = Traces(collector.url, identity, SystemClock())
        for event in events:
            traces.observe(event)
        await asyncio.to_thread(traces.close)
        return collector.spans


async def test_after_a_restart() -> None:
    """What another process does with an entry later is in the same trace, below the same spans."""
    batch = Batch("agent1", Origin.LIVE, NOW, ())
    (root, _) = await sent(BatchTaken(batch, 0.1, 7, [draft("S1", "Invited", "log")], 0))
    (delivery,) = await sent(AttemptEnded(lease(), AttemptOutcome.WITHDRAWN, NOW, None))
    assert (delivery.trace, delivery.parent) == (root.trace, root.id)
    (other,) = await sent(AttemptEnded(lease(), AttemptOutcome.WITHDRAWN, NOW, None), identity="another")
    assert other.trace != root.trace


async def test_left_out() -> None:
    """Nothing is made of what no handler wants, of requests for no follow-up, and of events that end nothing."""
    batch = Batch("agent1", Origin.LIVE, NOW, ())
    request = RequestEnded("GET", None, RequestResult.PASSED_ON, 200, 0.1)
    progress = Progress(FollowUpState.CONFIRMED)
    unbegun = FollowUpPaused(FollowUpLease(1, 7, "log", 1, "agent1", Operation.leave("S1"), progress), progress, 0.1)
    deferred = AttemptEnded(lease(), AttemptOutcome.DEFERRED, NOW, None)
    assert await sent(BatchTaken(batch, 0.1, 7, [repeat()], 0), request, unbegun, deferred, Connected(NOW)) == []


@pytest.mark.parametrize("path", ["", "/"])
async def test_collector_down(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that is down holds up nothing, neither what is traced nor the end; the log says that it is."""
    with socket.create_server((LOOPBACK, 0)) as closed:
        port = closed.getsockname()[1]
    clock = SystemClock()
    traces = Traces(f"http://{LOOPBACK}:{port}{path}", "journal", clock)
    began_at = clock.monotonic()
    with caplog.at_level(logging.WARNING):
        for seq in range(1_500):
            traces.observe(AttemptBegan(lease(seq)))
            traces.observe(AttemptEnded(lease(seq), AttemptOutcome.DELIVERED, NOW, 0.1))
        traced_at = clock.monotonic()
        traces.close()
    assert traced_at - began_at < 10  # with a processor that others use, too
    assert clock.monotonic() - traced_at < CLOSE_SECONDS + 1
    assert any(record.name.startswith("opentelemetry") for record in caplog.records)

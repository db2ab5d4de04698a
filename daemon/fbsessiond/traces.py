"""Traces for OpenTelemetry: a notification's way, as spans, to a collector by OTLP over HTTP.

    receive                     from its receipt until it is on disk
    ├── journal                 the commit
    └── deliver HANDLER         from when it was due until it was settled
        ├── handle HANDLER      an attempt
        └── follow up OPERATION each time that it is carried on
            └── POST OPERATION  a request to GWS

A span is made when what it is about has ended, from the event that tells it. It is sent by a thread of the library's,
from a queue that drops what doesn't fit: a collector that is slow or down holds up nothing. No customer data is in it.
Only traces import this module: its library takes most of a second.
"""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final, TypeAlias

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context

from fbsessiond.clock import Clock
from fbsessiond.cometd.events import ConnectionEvent
from fbsessiond.events import (
    AttemptBegan,
    AttemptEnded,
    AttemptOutcome,
    BatchTaken,
    Event,
    FollowUpBegan,
    FollowUpPaused,
)
from fbsessiond.follow_up import FollowUpState
from fbsessiond.gws.requests import RequestEnded, RequestResult
from fbsessiond.trace_context import TraceContext, current, span_id_of, trace_id_of

CLOSE_SECONDS: Final = 2.0
"""How long what is still in the queue may take to be sent when the daemon stops."""

EXPORT_SECONDS: Final = 10.0
"""How long sending one batch may take, repeats included."""

Attributes: TypeAlias = Mapping[str, str | int | None]
"""Of a span; what isn't known is left out."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Traces:
    """Makes spans of events, and sends them."""

    def __init__(self, endpoint: str, identity: str, clock: Clock) -> None:
        """Take the collector's base address, and the identity of the journal that numbers the entries.

        What else there is to say to the collector is in the library's own variables: OTEL_EXPORTER_OTLP_HEADERS,
        OTEL_RESOURCE_ATTRIBUTES, and so on.
        """
        self._identity = identity
        self._clock = clock
        self._ids = _Ids()
        self._requests = 0
        self._exporter: SpanExporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        resource = Resource.create({"service.name": "fbsessiond", "service.version": version("fbsessiond")})
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("fbsessiond")

    def close(self) -> None:
        """Send what is in the queue; what takes too long isn't waited for."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            self._exporter.shutdown()  # so that its thread doesn't try again any more

    def observe(self, event: Event | ConnectionEvent) -> None:
        """Make the spans of what an event ends, and note the span that one begins for the task that tells it."""
        match event:
            case BatchTaken():
                self._receive(event)
            case AttemptBegan(lease):
                self._begin(lease.entry.seq, lease.id)
            case AttemptEnded():
                self._deliver(event)
            case FollowUpBegan(lease):
                self._begin(lease.seq, lease.id)
            case FollowUpPaused():
                self._follow_up(event)
            case RequestEnded():
                self._request(event)
            case _:
                pass

    def _receive(self, taken: BatchTaken) -> None:
        """Trace the entries that handlers want: nothing follows from any other."""
        now, batch = self._clock.now(), taken.batch
        for seq, draft in enumerate(taken.drafts, taken.first_seq):
            if not draft.wanted:
                continue
            root = TraceContext(trace_id_of(self._identity, seq), self._span_id(str(seq)))
            attributes: Attributes = {
                "fbsessiond.seq": seq,
                "fbsessiond.agent": batch.agent,
                "fbsessiond.origin": batch.origin,
                "fbsessiond.session": draft.change.session,
                "fbsessiond.before": draft.change.before,
                "fbsessiond.after": draft.change.after,
            }
            self._span("receive", root, None, min(batch.received_at, now), now, attributes, kind=SpanKind.CONSUMER)
            written = TraceContext(root.trace_id, self._span_id(f"{seq}/journal"))
            self._span("journal", written, root.span_id, now - timedelta(seconds=taken.seconds), now, {})

    def _begin(self, seq: int, name: str) -> None:
        """Note the span of an attempt, which its time tells from others at the same thing."""
        at = _nanoseconds(self._clock.now())
        current.set(TraceContext(trace_id_of(self._identity, seq), self._span_id(f"{name}@{at}")))

    def _deliver(self, ended: AttemptEnded) -> None:
        lease, outcome = ended.lease, ended.outcome
        handler = lease.handler
        trace_id, delivery = trace_id_of(self._identity, lease.entry.seq), self._span_id(lease.id)
        attributes: Attributes = {
            "fbsessiond.handler": handler,
            "fbsessiond.session": lease.entry.session,
            "fbsessiond.outcome": outcome,
        }
        place, failed = current.get(), outcome in {AttemptOutcome.FAILED, AttemptOutcome.DEAD}
        if ended.seconds is not None and place is not None:
            began_at = ended.at - timedelta(seconds=ended.seconds)
            self._span(f"handle {handler}", place, delivery, began_at, ended.at, attributes, failed=failed)
        if outcome not in {AttemptOutcome.FAILED, AttemptOutcome.DEFERRED}:
            now, whole = self._clock.now(), TraceContext(trace_id, delivery)
            root = self._span_id(str(lease.entry.seq))
            self._span(f"deliver {handler}", whole, root, min(lease.due_at, now), now, attributes, failed=failed)

    def _follow_up(self, paused: FollowUpPaused) -> None:
        lease, progress, place = paused.lease, paused.progress, current.get()
        if place is None:
            return
        attributes: Attributes = {
            "fbsessiond.handler": lease.handler,
            "fbsessiond.session": lease.operation.session,
            "fbsessiond.operation": lease.operation.name,
            "fbsessiond.state": progress.state,
            "fbsessiond.attempts": progress.attempts,
        }
        parent = self._span_id(f"{lease.seq}/{lease.handler}")
        failed = progress.state in {FollowUpState.FAILED, FollowUpState.PARKED}
        now = self._clock.now()
        began_at = now - timedelta(seconds=paused.seconds)
        self._span(f"follow up {lease.operation.name}", place, parent, began_at, now, attributes, failed=failed)

    def _request(self, ended: RequestEnded) -> None:
        """Trace a request that is made for a follow-up; those that compare sessions belong to no notification."""
        if (place := current.get()) is None:
            return
        self._requests += 1
        now = self._clock.now()
        span_id = self._span_id(f"{place.span_id}/{self._requests}@{_nanoseconds(now)}")
        attributes: Attributes = {
            "http.request.method": ended.method,
            "http.response.status_code": ended.status,
            "fbsessiond.operation": ended.operation,
            "fbsessiond.result": ended.result,
        }
        self._span(
            f"{ended.method} {ended.operation or 'sessions'}",
            TraceContext(place.trace_id, span_id),
            place.span_id,
            now - timedelta(seconds=ended.seconds),
            now,
            attributes,
            kind=SpanKind.CLIENT,
            failed=ended.result is not RequestResult.PASSED_ON,
        )

    def _span_id(self, name: str) -> str:
        return span_id_of(self._identity, name)

    def _span(
        self,
        name: str,
        place: TraceContext,
        parent: str | None,
        began_at: datetime,
        ended_at: datetime,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        failed: bool = False,
    ) -> None:
        """Make a span that has ended."""
        self._ids.place = place
        span = self._tracer.start_span(
            name,
            Context() if parent is None else _within(place.trace_id, parent),
            kind=kind,
            attributes={key: value for key, value in attributes.items() if value is not None},
            start_time=_nanoseconds(began_at),
        )
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(_nanoseconds(ended_at))


class _Ids(IdGenerator):
    """Gives a span the ids that it is to have."""

    place = TraceContext("", "")

    def generate_span_id(self) -> int:
        return int(self.place.span_id, 16)

    def generate_trace_id(self) -> int:
        return int(self.place.trace_id, 16)


def _within(trace_id: str, span_id: str) -> Context:
    """Return the context of a parent that may have been made by a process before this one."""
    flags = TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000

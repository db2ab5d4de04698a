"""What becomes of deliveries, on virtual time, with a real journal in memory."""

import asyncio
import functools
import gc
import json
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from pydantic import PrivateAttr
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from fbsessiond import lane, limits
from fbsessiond.chance import SeededChance
from fbsessiond.conditions import Throttle
from fbsessiond.dispatch import LEASE_SLACK, LONGEST_DEFER, SHORTEST_DEFER, Dispatch
from fbsessiond.errors import DiskError, JournalError
from fbsessiond.events import AttemptBegan, AttemptEnded, Event
from fbsessiond.follow_up import FollowUpState
from fbsessiond.follow_ups import CapturingLane
from fbsessiond.gap import Gap, GapCause
from fbsessiond.handler import Defer, Delivery, Done, Handler, Outcome, Reject
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Draft, Lease, Wait
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.lane import CANCEL_SECONDS, FINISH_SECONDS, LONGEST_BACKOFF, POLL_SECONDS
from fbsessiond.message import Message, Origin
from fbsessiond.operations import Operation
from fbsessiond.route import DeliverySettings, Route
from fbsessiond.session import Session
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual
from fbsessiond.transition import Change, Kind
from journal_parts import NOW, after, append, draft, message, prove, retry

TIMEOUT = 30.0
GAP = Gap("agent1", after(-90), after(-30), GapCause.NETWORK)
GAP_THAT_GOES_ON = Gap("agent1", after(-90), None, GapCause.STOPPED)
WRITTEN = "my number is 555-1234"
"""What a customer wrote: it must not be logged."""


class Doing(Handler):
    """A handler that does what a test tells it to."""

    _act: Callable[[Delivery], Awaitable[Any]] = PrivateAttr()

    @classmethod
    def what(cls, act: Callable[[Delivery], Awaitable[Any]]) -> Self:
        """Return a handler that does this."""
        handler = cls()
        handler._act = act
        return handler

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do it."""
        outcome: Outcome = await self._act(delivery)
        return outcome


class Widest:
    """A chance that always falls on the most, and remembers between what it was to fall."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []

    def between(self, least: float, most: float) -> float:
        """Return the most."""
        self.asked.append((least, most))
        return most


class Recorder:
    """What a handler was given, when, and how many ran at a time."""

    def __init__(self, act: Callable[[Delivery], Awaitable[Any]] | None = None, *, seconds: float = 0.0) -> None:
        self.begun: list[tuple[float, str]] = []
        self.deliveries: list[Delivery] = []
        self.running: list[str] = []
        self.most_running = 0
        self.act = act
        self._seconds = seconds
        self.handler = Doing.what(self._handle)

    @property
    def times(self) -> list[float]:
        """When each attempt began."""
        return [at for at, _ in self.begun]

    async def _handle(self, delivery: Delivery) -> Any:
        session = delivery.transition.session.id
        assert session not in self.running, "one at a time"
        self.begun.append((now(), f"{session} {delivery.transition.after}"))
        self.deliveries.append(delivery)
        self.running.append(session)
        self.most_running = max(self.most_running, len(self.running))
        try:
            if self.act is not None:
                return await self.act(delivery)
            await asyncio.sleep(self._seconds)
            return Done()
        finally:
            self.running.remove(session)


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let a test run on virtual time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        run_virtual(test(*arguments, **named))

    return run


def now() -> float:
    """Return the seconds since the test began."""
    return asyncio.get_running_loop().time()


def route(recorder: Recorder | Handler, name: str = "log", **delivery: Any) -> Route:
    """Return a handler's route."""
    handler = recorder.handler if isinstance(recorder, Recorder) else recorder
    given: dict[str, Any] = {"timeout": timedelta(seconds=TIMEOUT)} | delivery
    return Route(name, handler, (), DeliverySettings(**given))


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    """Open a journal in memory."""
    journal = SqliteJournal(MEMORY, NOW)
    yield journal
    journal.close()


@asynccontextmanager
async def dispatching_to(
    journal: Journal, *routes: Route, chance: Any = None
) -> AsyncGenerator[asyncio.Task[None], None]:
    """Run a dispatch, and stop it at the end as the daemon does."""
    dispatch = Dispatch(journal, routes, VirtualClock(), chance or Widest())
    task = asyncio.create_task(dispatch.run())
    try:
        yield task
    finally:
        await stop(task)


async def stop(task: asyncio.Task[None]) -> float:
    """Stop a dispatch, unless it ended; return how many seconds it took."""
    begun = now()
    task.cancel()
    await asyncio.wait([task])
    return now() - begun


def records(journal: SqliteJournal) -> list[DeliveryRecord]:
    """Return all deliveries."""
    return list(journal.reader().deliveries())


def only(journal: SqliteJournal) -> DeliveryRecord:
    """Return the one delivery."""
    (record,) = records(journal)
    return record


def outcome(journal: SqliteJournal) -> tuple[str, int, str | None]:
    """Return how the one delivery stands: its state, its attempts, and why."""
    record = only(journal)
    return record.state.value, record.attempts, record.because


def only_of(journal: SqliteJournal, seq: int) -> DeliveryRecord:
    """Return an entry's one delivery."""
    (record,) = journal.reader().deliveries(seq=seq)
    return record


def outcome_of(journal: SqliteJournal, seq: int) -> tuple[str, str | None]:
    """Return how an entry's one delivery stands: its state, and why."""
    record = only_of(journal, seq)
    return record.state.value, record.because


async def raising(error: BaseException) -> Any:
    """Raise an error."""
    raise error


# What a handler gets.


@virtual
async def test_what_a_handler_gets(journal: SqliteJournal) -> None:
    """A delivery holds the transition, the session as it is then known, and the notification as it was."""
    recorder = Recorder()
    merged = {"id": "S1", "state": "Chatting", "comment": "kept", "userData": {"A": 1}}
    await append(journal, draft("S1", "Invited"), origin=Origin.REPLAY, at=after(-5))
    await append(journal, draft("S1", "Chatting", "log", before="Invited", merged=merged), at=after(-5))
    async with dispatching_to(journal, route(recorder)):
        await asyncio.sleep(10)
    (delivery,) = recorder.deliveries
    assert (delivery.id, delivery.key, delivery.handler) == ("2/log", f"{journal.identity}/2/log", "log")
    assert (delivery.attempt, delivery.due_at, delivery.late) == (1, NOW, timedelta())
    transition = delivery.transition
    assert (transition.seq, transition.at, transition.origin, transition.agent) == (2, after(-5), Origin.LIVE, "agent1")
    assert (transition.before, transition.after) == ("Invited", "Chatting")
    assert transition.session == Session(id="S1", agent="agent1", state="Chatting", comment="kept", user_data={"A": 1})
    assert transition.notification["facebooksession"] == {"id": "S1", "state": "Chatting"}
    assert outcome(journal) == ("delivered", 1, None)


@virtual
async def test_what_a_handler_logs(journal: SqliteJournal) -> None:
    """What a handler logs says which handler, delivery and session it is about; nothing else does."""
    found: dict[str, object] = {}

    async def look(_: Delivery) -> Outcome:
        await asyncio.sleep(1)
        found.update(get_contextvars())
        return Done()

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(look))):
        await asyncio.sleep(10)
    assert found == {"handler": "log", "delivery": "1/log", "session": "S1"}
    assert get_contextvars() == {}


@virtual
async def test_damaged_entry(journal: SqliteJournal) -> None:
    """A delivery whose entry can't be read ends as a dead letter, and holds nothing else up."""
    recorder = Recorder()
    damaged = draft("S1", "Invited", "log")
    await append(journal, Draft(message(), Change(Kind.TRANSITION, "S1", None, "Invited", {}), None, damaged.wanted))
    await append(journal, draft("S2", "Invited", "log"))
    async with dispatching_to(journal, route(recorder, attempts=2)):
        await asyncio.sleep(10)
    first, second = records(journal)
    assert (first.state, first.attempts) == (DeliveryState.DEAD, 2)
    assert (first.because or "").startswith("LookupError at ")
    assert second.state is DeliveryState.DELIVERED


@virtual
async def test_follow_ups(journal: SqliteJournal) -> None:
    """What a handler asks for is written down with the delivery's end, and carried out in a lane of its own."""

    async def act(delivery: Delivery) -> Outcome:
        session = delivery.transition.session
        return Done(Operation.set_disposition(session, "resolved"), Operation.complete(session))

    follow_ups = CapturingLane(journal, VirtualClock(), Widest())
    dispatch = Dispatch(journal, [route(Doing.what(act))], VirtualClock(), Widest(), follow_ups)
    running = asyncio.create_task(dispatch.run())
    await append(journal, draft("S1", "LeftChat", "log"))
    await asyncio.sleep(1)
    await stop(running)
    assert outcome(journal)[:2] == ("delivered", 1)
    found = [(one.id, one.operation.name, one.progress.state) for one in journal.reader().follow_ups()]
    captured = FollowUpState.CAPTURED
    assert found == [("1/log/1", "SetDisposition", captured), ("1/log/2", "Complete", captured)]


class Observing(Doing):
    """A handler that says that it asks for nothing."""

    only_observes: ClassVar[bool] = True


@virtual
async def test_observer(journal: SqliteJournal) -> None:
    """A handler that only observes is delivered to like any; but what asks for follow-ups all the same fails."""

    async def act(delivery: Delivery) -> Outcome:
        session = delivery.transition.session
        return Done(*([Operation.complete(session)] if session.state == "LeftChat" else []))

    await append(journal, draft("S1", "Chatting", "log"), draft("S1", "LeftChat", "log", before="Chatting"))
    async with dispatching_to(journal, Route("log", Observing.what(act), (), DeliverySettings(attempts=1))):
        await asyncio.sleep(1)
    first, second = journal.reader().deliveries()
    assert first.state is DeliveryState.DELIVERED
    because = "asked for follow-ups, though its class says only_observes = True"
    assert (second.state, second.because) == (DeliveryState.DEAD, because)
    assert list(journal.reader().follow_ups()) == []


@virtual
async def test_follow_up_on_another_session(journal: SqliteJournal) -> None:
    """A handler may ask for something on another session than the one that it was told of."""

    async def act(_: Delivery) -> Outcome:
        return Done(Operation.leave("S2"))

    await append(journal, draft("S1", "LeftChat", "log"))
    async with dispatching_to(journal, route(Doing.what(act))):
        await asyncio.sleep(1)
    assert outcome(journal)[:2] == ("delivered", 1)
    (asked,) = journal.reader().follow_ups(session="S2")
    assert (asked.id, asked.progress.state) == ("1/log/1", FollowUpState.INTENDED)


@virtual
async def test_half_a_follow_up(journal: SqliteJournal) -> None:
    """One value that is no follow-up makes the whole outcome a failed attempt: nothing of it is asked for."""

    async def act(_: Delivery) -> object:
        return Done(Operation.leave("S1"), "Complete")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    await append(journal, draft("S1", "LeftChat", "log"))
    async with dispatching_to(journal, route(Recorder(act), attempts=1)):
        await asyncio.sleep(1)
    assert (outcome(journal)[2] or "").startswith("handle() returned Done with what is no follow-up; ")
    assert list(journal.reader().follow_ups()) == []


# What a snapshot found.


def found(session: str, state: str, *handlers: str, before: str | None = None, gap: object = GAP.written()) -> Draft:
    """Return a transition that a snapshot found in a gap."""
    one = draft(session, state, *handlers, before=before)
    data = {"facebooksession": one.change.document, "snapshot": {"read_at": str(NOW), "gap": gap, "remark": "found"}}
    text = json.dumps(data).encode()
    return replace(one, message=Message(text, None, text))


@virtual
async def test_gap(journal: SqliteJournal) -> None:
    """A handler is told in which gap a change happened that a snapshot found, and of any other that there was none."""
    recorder = Recorder()
    await append(journal, found("S1", "LeftChat", "log"), origin=Origin.SNAPSHOT)
    await append(journal, found("S2", "LeftChat", "log", gap=GAP_THAT_GOES_ON.written()), origin=Origin.SNAPSHOT)
    await append(journal, found("S3", "LeftChat", "log"), origin=Origin.LIVE)
    await append(journal, found("S4", "LeftChat", "log"), origin=Origin.REPLAY)
    async with dispatching_to(journal, route(recorder)):
        await asyncio.sleep(1)
    transitions = [delivery.transition for delivery in recorder.deliveries]
    assert [(one.session.id, one.origin, one.gap) for one in transitions] == [
        ("S1", Origin.SNAPSHOT, GAP),
        ("S2", Origin.SNAPSHOT, GAP_THAT_GOES_ON),
        ("S3", Origin.LIVE, None),
        ("S4", Origin.REPLAY, None),
    ]
    assert transitions[0].notification["snapshot"]["remark"] == "found"


@virtual
@pytest.mark.parametrize("gap", [None, {}, {**GAP.written(), "from": "yesterday"}, {**GAP.written(), "cause": "?"}])
async def test_damaged_gap(journal: SqliteJournal, gap: object) -> None:
    """An entry of a snapshot that doesn't say its gap can't be delivered: nothing is guessed."""
    recorder = Recorder()
    await append(journal, found("S1", "LeftChat", "log", gap=gap), origin=Origin.SNAPSHOT)
    async with dispatching_to(journal, route(recorder, attempts=2)):
        await asyncio.sleep(10)
    assert outcome(journal)[:2] == ("dead", 2)
    assert recorder.deliveries == []


async def changed(journal: SqliteJournal, setting: str, *drafts: Draft, origin: Origin = Origin.SNAPSHOT) -> Recorder:
    """Let a snapshot, or something else, find that S1 left, and other changes follow; then dispatch the first."""
    recorder = Recorder()
    await append(journal, found("S1", "LeftChat", "log", before="Chatting"), origin=origin)
    await append(journal, *drafts)
    async with dispatching_to(journal, route(recorder, snapshot=setting)):
        await asyncio.sleep(1)
    return recorder


@virtual
@pytest.mark.parametrize("setting", ["run", "run-if-still-true"])
async def test_still_true(journal: SqliteJournal, setting: str) -> None:
    """What a snapshot found is delivered while it is so, whatever else has changed."""
    others = draft("S2", "Completed"), draft("S1", " LeftChat ", comment="new")
    recorder = await changed(journal, setting, *others)
    assert len(recorder.deliveries) == 1
    assert outcome(journal) == ("delivered", 1, None)


@virtual
async def test_no_longer_true(journal: SqliteJournal) -> None:
    """What a snapshot found and isn't so any more is withdrawn, without an attempt, where the handler wants that."""
    follows = draft("S1", "Completed", "log", before="LeftChat")
    with capture_logs() as logged:
        recorder = await changed(journal, "run-if-still-true", follows)
    (told,) = [line for line in logged if line["event"] == "delivery.withdrawn"]
    assert (told["session"], told["handler"]) == ("S1", "log")
    assert [delivery.transition.after for delivery in recorder.deliveries] == ["Completed"]
    first, second = records(journal)
    assert (first.state, first.attempts) == (DeliveryState.WITHDRAWN, 0)
    assert first.because == "found by a snapshot, and no longer true: the session is Completed, not LeftChat"
    assert second.state is DeliveryState.DELIVERED


@virtual
async def test_no_longer_known(journal: SqliteJournal) -> None:
    """Where nothing is known of the session any more, nothing is true of it."""
    await append(journal, found("S1", "LeftChat", "log"), origin=Origin.SNAPSHOT)
    journal.connection.execute("DELETE FROM sessions")
    recorder = Recorder()
    async with dispatching_to(journal, route(recorder, snapshot="run-if-still-true")):
        await asyncio.sleep(1)
    assert recorder.deliveries == []
    assert outcome(journal)[0] == "withdrawn"


@virtual
@pytest.mark.parametrize(
    ("setting", "origin"),
    [("run", Origin.SNAPSHOT), ("run-if-still-true", Origin.LIVE), ("run-if-still-true", Origin.REPLAY)],
)
async def test_true_once(journal: SqliteJournal, setting: str, origin: Origin) -> None:
    """What was notified, and what any snapshot found where that is wanted, is delivered however old it is."""
    recorder = await changed(journal, setting, draft("S1", "Completed", before="LeftChat"), origin=origin)
    assert len(recorder.deliveries) == 1
    assert outcome(journal)[0] == "delivered"


@virtual
async def test_no_longer_true_at_the_second_attempt(journal: SqliteJournal) -> None:
    """Whether it is still so is asked before each attempt; those that were made count."""
    recorder = Recorder(lambda _: raising(LookupError("not there")))
    await append(journal, found("S1", "LeftChat", "log"), origin=Origin.SNAPSHOT)
    async with dispatching_to(journal, route(recorder, snapshot="run-if-still-true", backoff=timedelta(seconds=9))):
        await asyncio.sleep(5)
        await append(journal, draft("S1", "Completed", before="LeftChat"))
        await asyncio.sleep(10)
    assert len(recorder.deliveries) == 1
    assert outcome(journal)[:2] == ("withdrawn", 1)


@virtual
async def test_unreadable_session(journal: SqliteJournal) -> None:
    """A session that can't be read isn't taken for one that has changed: the dispatch ends."""
    await append(journal, found("S1", "LeftChat", "log"), origin=Origin.SNAPSHOT)
    journal.connection.execute("UPDATE entries SET notification = x'7b7d'")
    async with dispatching_to(journal, route(Recorder(), snapshot="run-if-still-true")) as dispatch:
        await asyncio.wait([dispatch])
        assert isinstance(dispatch.exception(), JournalError)


# Order and concurrency.


@virtual
async def test_order(journal: SqliteJournal) -> None:
    """One session's deliveries run in order, one at a time, however long each takes and however often it fails."""
    left = {"Chatting": 2}

    async def act(delivery: Delivery) -> Outcome:
        state = delivery.transition.after
        await asyncio.sleep({"Invited": 20, "Chatting": 7}.get(state, 1))
        if left.get(state, 0) > 0:
            left[state] -= 1
            raise LookupError(state)
        return Done()

    recorder = Recorder(act)
    async with dispatching_to(journal, route(recorder)):
        for state in ("Invited", "Chatting", "LeftChat"):
            await append(journal, draft("S1", state, "log"))
        await append(journal, draft("S1", "Completed", "log"))
        await asyncio.sleep(100)
    states = [what for _, what in recorder.begun]
    assert states == ["S1 Invited", "S1 Chatting", "S1 Chatting", "S1 Chatting", "S1 LeftChat", "S1 Completed"]
    assert [record.state for record in records(journal)] == [DeliveryState.DELIVERED] * 4


@virtual
async def test_agents(journal: SqliteJournal) -> None:
    """Sessions of the same id but of two agents are two sessions."""
    both = asyncio.Barrier(2)

    async def act(_: Delivery) -> Outcome:
        await both.wait()
        return Done()

    async with dispatching_to(journal, route(Doing.what(act))):
        await append(journal, draft("S1", "Invited", "log"), agent="agent1")
        await append(journal, draft("S1", "Invited", "log"), agent="agent2")
        await asyncio.sleep(1)
    assert [record.state for record in records(journal)] == [DeliveryState.DELIVERED] * 2


@virtual
async def test_concurrency(journal: SqliteJournal) -> None:
    """Sessions run side by side, as many as the handler's concurrency allows, and the next as soon as one ends."""
    recorder = Recorder(seconds=10)
    async with dispatching_to(journal, route(recorder, concurrency=3)):
        await append(journal, *[draft(f"S{number}", "Invited", "log") for number in range(7)])
        await asyncio.sleep(100)
    assert recorder.most_running == 3
    assert [round(at) for at in recorder.times] == [0, 0, 0, 10, 10, 10, 20]


@virtual
async def test_handlers_apart(journal: SqliteJournal) -> None:
    """A handler that hangs holds up neither another handler nor, up to its concurrency, another session."""
    slow, fast = Recorder(seconds=29), Recorder()
    async with dispatching_to(journal, route(slow, "slow", concurrency=2), route(fast, "fast")):
        await append(journal, *[draft(f"S{number}", "Invited", "slow", "fast") for number in range(3)])
        await asyncio.sleep(20)
        assert fast.times == [0, 0, 0]
        assert slow.times == [0, 0]


# Attempts.


@virtual
async def test_back_off(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure comes a pause of full jitter: anything from nothing to a limit that doubles, up to an hour."""
    chance = Widest()
    recorder = Recorder(lambda _: raising(LookupError("not there")))
    await append(journal, draft("S1", "Invited", "log"))
    monkeypatch.setattr(lane, "POLL_SECONDS", 60)
    async with dispatching_to(journal, route(recorder, attempts=20, backoff=timedelta(seconds=2)), chance=chance):
        await asyncio.sleep(timedelta(days=1).total_seconds())
    limit = LONGEST_BACKOFF.total_seconds()
    assert chance.asked == [(0, min(limit, 2.0**failures)) for failures in range(1, 20)]
    pauses = [later - earlier for earlier, later in zip(recorder.times, recorder.times[1:], strict=False)]
    assert [round(pause) for pause in pauses] == [round(most) for _, most in chance.asked]
    assert [delivery.attempt for delivery in recorder.deliveries] == list(range(1, 21))


@virtual
async def test_jitter(journal: SqliteJournal) -> None:
    """Pauses differ, so that what failed together isn't tried again together."""
    recorder = Recorder(lambda _: raising(LookupError("not there")))
    await append(journal, *[draft(f"S{number}", "Invited", "log") for number in range(50)])
    settings = route(recorder, attempts=2, concurrency=50, backoff=timedelta(seconds=60))
    async with dispatching_to(journal, settings, chance=SeededChance(1)):
        await asyncio.sleep(100)
    again = recorder.times[50:]
    assert len(set(again)) == 50
    assert 0 < min(again) < 6
    assert 54 < max(again) <= 60


@virtual
async def test_dead_letter(journal: SqliteJournal) -> None:
    """After its last attempt a delivery is a dead letter, with the reason, and its session's next one follows."""
    recorder = Recorder(lambda _: raising(LookupError("not there")))
    await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    with capture_logs() as logged:
        async with dispatching_to(journal, route(recorder, attempts=3)):
            await asyncio.sleep(100)
    first, second = records(journal)
    assert (first.state, first.attempts) == (DeliveryState.DEAD, 3)
    assert (first.because or "").splitlines()[1] == "not there"
    assert second.state is DeliveryState.DEAD
    assert [line["event"] for line in logged[:3]] == ["delivery.failed", "delivery.failed", "delivery.dead"]
    assert logged[0]["again_at"] == str(after(1))
    assert (logged[2]["delivery"], logged[2]["session"], logged[2]["attempts"]) == ("1/log", "S1", 3)


@virtual
async def test_time_out(journal: SqliteJournal) -> None:
    """An attempt that takes too long is cancelled, and counts."""
    stopped: list[float] = []

    async def act(_: Delivery) -> Outcome:
        try:
            await asyncio.sleep(1000)
        finally:
            stopped.append(now())
        return Done()

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act), attempts=2, timeout=timedelta(seconds=5))):
        await asyncio.sleep(100)
    assert [round(at) for at in stopped] == [5, 11]
    assert outcome(journal) == ("dead", 2, "took longer than delivery.timeout, 5 s")


@virtual
async def test_defer(journal: SqliteJournal) -> None:
    """A handler that defers gets the delivery again after its pause, at no attempt's cost, however often."""
    recorder = Recorder()

    async def act(delivery: Delivery) -> Outcome:
        return (
            Defer(timedelta(minutes=5)) if len(recorder.begun) < 4 else Done() if delivery.attempt == 1 else Reject("")
        )

    recorder.act = act
    await append(journal, draft("S1", "Invited", "log"))
    with capture_logs() as logged:
        async with dispatching_to(journal, route(recorder, attempts=1)):
            await asyncio.sleep(10)
            assert outcome(journal) == ("due", 0, "deferred by the handler")
            await asyncio.sleep(2000)
    assert [round(at) for at in recorder.times] == [0, 300, 600, 900]
    assert outcome(journal)[:2] == ("delivered", 1)
    assert logged == []


@pytest.mark.parametrize(
    ("pause", "honoured"),
    [
        (timedelta(0), SHORTEST_DEFER),
        (timedelta(seconds=-5), SHORTEST_DEFER),
        (timedelta.max, LONGEST_DEFER),
    ],
)
@virtual
async def test_strange_pauses(journal: SqliteJournal, pause: timedelta, honoured: timedelta) -> None:
    """A pause of nothing, or of less, doesn't keep the daemon busy; one of ages ends before the calendar does."""
    recorder = Recorder()

    async def act(_: Delivery) -> Outcome:
        return Defer(pause)

    recorder.act = act
    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(recorder)):
        await asyncio.sleep(0.05)
        assert only(journal).at == EPOCH + honoured


@virtual
async def test_reject(journal: SqliteJournal) -> None:
    """A rejected delivery is a dead letter at once, with the handler's reason in the journal alone."""

    async def act(_: Delivery) -> Outcome:
        return Reject(WRITTEN)

    await append(journal, draft("S1", "Invited", "log"))
    with capture_logs() as logged:
        async with dispatching_to(journal, route(Recorder(act))):
            await asyncio.sleep(1)
    assert outcome(journal) == ("dead", 1, f"rejected by the handler\n{WRITTEN}")
    assert logged[0]["because"] == "rejected by the handler"
    assert WRITTEN not in repr(logged)


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (None, "NoneType"),
        ("done", "str"),
        (Done, "type"),
        (ValueError(WRITTEN), "ValueError"),
        (Done("Leave"), "Done with what is no follow-up"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Defer(5), "Defer without a timedelta"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ],
)
@virtual
async def test_wrong_outcome(journal: SqliteJournal, returned: object, named: str) -> None:
    """Anything else that a handler returns is a failed attempt, and the reason lists what it may return."""

    async def act(_: Delivery) -> object:
        return returned

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act), attempts=1)) as running:
        await asyncio.sleep(1)
        assert not running.done()
    assert outcome(journal) == (
        "dead",
        1,
        f"handle() returned {named}; it returns Done(…), Defer(…) or Reject(…)",
    )


# Handlers that misbehave.


class Own(BaseException):
    """An error of a handler's own that isn't even an `Exception`."""


class UnspeakableError(Exception):
    """An error that can't say what is wrong."""

    def __str__(self) -> str:
        raise LookupError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError(WRITTEN), WRITTEN),
        (SystemExit(3), "3"),
        (KeyboardInterrupt(), ""),
        (Own(WRITTEN), WRITTEN),
        (UnspeakableError(), "(no text: LookupError)"),
        (
            ExceptionGroup("two", [ValueError(WRITTEN), ExceptionGroup("", [KeyError("k")])]),
            f"ValueError: {WRITTEN}\nKeyError: 'k'",
        ),
    ],
)
@virtual
async def test_errors(journal: SqliteJournal, error: BaseException, text: str) -> None:
    """Whatever a handler raises is a failed attempt: type and place for the log, and for the journal the text too."""
    await append(journal, draft("S1", "Invited", "log"))
    with capture_logs() as logged:
        async with dispatching_to(journal, route(Recorder(lambda _: raising(error)), attempts=1)) as running:
            await asyncio.sleep(1)
            assert not running.done()
    state, attempts, because = outcome(journal)
    first, _, rest = (because or "").partition("\n")
    line = raising.__code__.co_firstlineno + 2
    assert (state, attempts, first, rest) == ("dead", 1, f"{type(error).__name__} at test_dispatch.py:{line}", text)
    assert logged[0]["because"] == first
    assert WRITTEN not in repr(logged)


@virtual
async def test_long_error(journal: SqliteJournal) -> None:
    """Of a long error's text the journal keeps the beginning."""
    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(lambda _: raising(ValueError("x" * 10**6))), attempts=1)):
        await asyncio.sleep(1)
    assert len(only(journal).because or "") == limits.PROBLEM_CHARACTERS


@virtual
async def test_sys_exit(journal: SqliteJournal) -> None:
    """A handler that calls sys.exit() ends nothing but its attempt."""

    async def act(delivery: Delivery) -> Outcome:
        return sys.exit(0) if delivery.attempt == 1 else Done()

    await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act))):
        await asyncio.sleep(10)
    assert [(record.state, record.attempts) for record in records(journal)] == [(DeliveryState.DELIVERED, 2)] * 2


@virtual
async def test_cancels_itself(journal: SqliteJournal) -> None:
    """A handler that cancels its own task has failed, and nothing else is cancelled."""

    async def act(_: Delivery) -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return Done()

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act), attempts=1)) as running:
        await asyncio.sleep(1)
        assert not running.done()
    assert outcome(journal) == ("dead", 1, "the handler cancelled itself")


async def stubborn(seconds: float) -> None:
    """Take some time, and don't let anybody stop that."""
    until = now() + seconds
    while now() < until:
        try:
            await asyncio.sleep(until - now())
        except asyncio.CancelledError:
            continue


@virtual
async def test_slow_to_stop(journal: SqliteJournal) -> None:
    """A handler that takes long to stop is named in the log, and its session's next delivery waits until it has."""

    async def act(delivery: Delivery) -> Outcome:
        await stubborn(25 if delivery.transition.after == "Invited" and delivery.attempt == 1 else 0)
        return Done()

    recorder = Recorder(act)
    await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    with capture_logs() as logged:
        async with dispatching_to(journal, route(recorder, timeout=timedelta(seconds=8))):
            await asyncio.sleep(100)
    assert [(round(at), what) for at, what in recorder.begun] == [
        (0, "S1 Invited"),
        (26, "S1 Invited"),
        (26, "S1 Chatting"),
    ]
    said = [line for line in logged if line["event"] == "handler.does_not_stop"]
    assert len(said) == 2
    assert (said[0]["handler"], said[0]["delivery"]) == ("log", "1/log")
    assert [record.attempts for record in records(journal)] == [2, 1]


@virtual
async def test_never_stops(journal: SqliteJournal) -> None:
    """A handler that never stops never gets the same delivery, or its session's next one, beside it; others go on."""

    async def act(delivery: Delivery) -> Outcome:
        await stubborn(3590 if delivery.transition.session.id == "S1" else 0)
        return Done()

    recorder = Recorder(act)
    await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    async with dispatching_to(journal, route(recorder, attempts=1, concurrency=2)):
        await asyncio.sleep(1800)
        await append(journal, draft("S2", "Invited", "log"))
        await asyncio.sleep(3600)
        states = [(record.state.value, record.attempts) for record in records(journal)]
    assert states == [("dead", 1), ("running", 0), ("delivered", 1)]
    assert [(round(at), what) for at, what in recorder.begun] == [
        (0, "S1 Invited"),
        (1800, "S2 Invited"),
        (3590, "S1 Chatting"),
    ]


@virtual
async def test_error_after_time_out(journal: SqliteJournal, caplog: pytest.LogCaptureFixture) -> None:
    """What a handler raises when it is cancelled goes into no log."""

    async def act(_: Delivery) -> Outcome:
        try:
            await asyncio.sleep(1000)
        finally:
            await raising(ValueError(WRITTEN))
        return Done()

    await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "log", due_at=after(20)))
    with capture_logs() as logged, caplog.at_level(logging.DEBUG):
        async with dispatching_to(journal, route(Recorder(act), attempts=1, timeout=timedelta(seconds=10))):
            await asyncio.sleep(22)
        gc.collect()
    first, second = records(journal)
    assert (first.state, first.because) == (DeliveryState.DEAD, "took longer than delivery.timeout, 10 s")
    assert (second.state, second.attempts) == (DeliveryState.DUE, 0)
    assert caplog.records == []
    assert WRITTEN not in repr(logged)


@virtual
async def test_clock_set_forward(journal: SqliteJournal) -> None:
    """When the clock is set forward, what runs runs on, once, and is settled."""
    recorder = Recorder(seconds=20)
    clock = VirtualClock()
    await append(journal, draft("S1", "Invited", "log"))
    running = asyncio.create_task(Dispatch(journal, [route(recorder)], clock, Widest()).run())
    await asyncio.sleep(1)
    clock.step(timedelta(days=1))
    clock.stepped()
    await asyncio.sleep(30)
    await stop(running)
    assert recorder.times == [0]
    assert outcome(journal) == ("delivered", 1, None)


# Stopping.


@virtual
async def test_interruption(journal: SqliteJournal) -> None:
    """What still runs when the daemon has waited long enough is cancelled, and due at once without an attempt more."""
    recorder = Recorder(seconds=1000)
    await append(journal, *[draft(f"S{number}", "Invited", "log") for number in range(5)])
    with capture_logs() as logged:
        async with dispatching_to(journal, route(recorder, concurrency=3, timeout=timedelta(minutes=10))) as running:
            await asyncio.sleep(1)
            assert await stop(running) == FINISH_SECONDS
            assert running.cancelled()
    assert {(record.state, record.attempts) for record in records(journal)} == {(DeliveryState.DUE, 0)}
    assert await journal.next_due("log") == NOW
    assert max(record.at for record in records(journal)) == after(1 + FINISH_SECONDS)
    assert recorder.running == []
    assert [(line["event"], line["count"]) for line in logged] == [("deliveries.handed_back", 3)]


@virtual
async def test_finishing(journal: SqliteJournal) -> None:
    """What finishes within the grace is settled, nothing new begins meanwhile, and the stop lasts no longer."""
    recorder = Recorder(seconds=3)
    await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    async with dispatching_to(journal, route(recorder)) as running:
        await asyncio.sleep(1)
        assert await stop(running) == 2
    assert [(record.state.value, record.attempts) for record in records(journal)] == [("delivered", 1), ("due", 0)]
    assert recorder.times == [0]


@virtual
async def test_stopped_twice(journal: SqliteJournal) -> None:
    """Being cancelled once more, as Python 3.13 does where an error and a cancellation meet, cuts no stop short."""
    recorder = Recorder(seconds=3)
    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(recorder)) as running:
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.sleep(1)
        assert await stop(running) == 1
    assert [(record.state.value, record.attempts) for record in records(journal)] == [("delivered", 1)]


@virtual
async def test_stop_when_idle(journal: SqliteJournal) -> None:
    """Where nothing runs, the stop takes no time."""
    async with dispatching_to(journal, route(Recorder()), route(Recorder(), "other")) as running:
        await asyncio.sleep(10)
        assert await stop(running) == 0


@virtual
async def test_done_when_cancelled(journal: SqliteJournal) -> None:
    """A handler that has done it when it is cancelled may say so."""

    async def act(_: Delivery) -> Outcome:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            return Done()
        return Reject("never")

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act), timeout=timedelta(minutes=10))):
        await asyncio.sleep(1)
    assert outcome(journal) == ("delivered", 1, None)


@virtual
async def test_failed_when_cancelled(journal: SqliteJournal) -> None:
    """A handler that fails because it was cancelled was interrupted, and has no attempt more."""

    async def act(_: Delivery) -> Outcome:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise LookupError("connection lost") from None
        return Done()

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act), timeout=timedelta(minutes=10))):
        await asyncio.sleep(1)
    assert outcome(journal) == ("due", 0, None)


@virtual
async def test_stop_without_handler_stopping(journal: SqliteJournal) -> None:
    """The daemon doesn't wait for ever for a handler that doesn't stop: it names it, and hands the delivery back."""

    async def act(_: Delivery) -> Outcome:
        await stubborn(100)
        return Done()

    await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"))
    with capture_logs() as logged:
        async with dispatching_to(journal, route(Doing.what(act), timeout=timedelta(minutes=10))) as running:
            await asyncio.sleep(1)
            assert await stop(running) == FINISH_SECONDS + CANCEL_SECONDS
            assert [record.state for record in records(journal)] == [DeliveryState.DUE] * 2
        await asyncio.sleep(100)
    assert [line["event"] for line in logged] == ["handler.does_not_stop"] * 2 + ["deliveries.handed_back"]


@virtual
async def test_no_handlers(journal: SqliteJournal) -> None:
    """Without handlers there is nothing to do, until cancelled."""
    async with dispatching_to(journal) as running:
        await asyncio.sleep(10)
        assert not running.done()
        assert await stop(running) == 0


class Slow(SqliteJournal):
    """A journal that takes its time."""

    def __init__(self) -> None:
        super().__init__(MEMORY, NOW)
        self.looked = 0
        self.leased = 0

    async def next_due(self, handler: str) -> datetime | None:
        """Look, and return what was there then."""
        self.looked += 1
        due_at = await super().next_due(handler)
        await asyncio.sleep(0.001)
        return due_at

    async def lease(self, handler: str, most: int, now: datetime, until: datetime) -> Sequence[Lease]:
        """Lease, and return it later."""
        self.leased += 1
        leases = await super().lease(handler, most, now, until)
        await asyncio.sleep(0.001)
        return leases


@pytest.fixture
def slow() -> Iterator[Slow]:
    """Open a slow journal."""
    slow = Slow()
    yield slow
    slow.close()


@virtual
async def test_stop_while_leasing(slow: Slow) -> None:
    """What was being handed out when the daemon stopped is due at once, not when its lease ends."""
    recorder = Recorder()
    await append(slow, draft("S1", "Invited", "log"))
    async with dispatching_to(slow, route(recorder)) as running:
        await asyncio.sleep(0.0015)
        assert slow.leased == 1
        assert await SqliteJournal.next_due(slow, "log") is None
        await stop(running)
    assert recorder.begun == []
    assert outcome(slow) == ("due", 0, None)


# Failures of the disk.


@pytest.mark.parametrize(
    "error",
    [DiskError("no sync"), ExceptionGroup("two", [ValueError(), ExceptionGroup("", [DiskError("no sync")])])],
    ids=["alone", "in a group"],
)
@virtual
async def test_disk_error(journal: SqliteJournal, error: Exception) -> None:
    """A handler's `DiskError` stops the daemon, as that error; what else runs is handed back, or settled if it ends."""

    async def act(delivery: Delivery) -> Outcome:
        seconds = {"S1": 1, "S2": 4}.get(delivery.transition.session.id, 100)
        await asyncio.sleep(seconds)
        return await raising(error) if seconds == 1 else Done()

    await append(journal, *[draft(f"S{number}", "Invited", "log", "other") for number in (1, 2, 3)])
    other = Recorder(seconds=100)
    async with dispatching_to(
        journal, route(Recorder(act), timeout=timedelta(minutes=10)), route(other, "other")
    ) as running:
        with pytest.raises(DiskError, match="no sync"):
            await running
        assert now() == 1 + FINISH_SECONDS
    states = {(record.seq, record.handler): (record.state.value, record.attempts) for record in records(journal)}
    assert states == {
        (1, "log"): ("due", 0),
        (2, "log"): ("delivered", 1),
        (3, "log"): ("due", 0),
        (1, "other"): ("due", 0),
        (2, "other"): ("due", 0),
        (3, "other"): ("due", 0),
    }


@virtual
async def test_told_at_once(journal: SqliteJournal) -> None:
    """That a handler's disk failed can be asked before everything that runs has ended."""

    async def act(delivery: Delivery) -> Outcome:
        if delivery.transition.session.id == "S1":
            return await raising(DiskError("no sync"))
        await asyncio.sleep(100)
        return Done()

    await append(journal, *[draft(f"S{number}", "Invited", "log") for number in (1, 2)])
    dispatch = Dispatch(journal, [route(Recorder(act)), route(Recorder(), "other")], VirtualClock(), Widest())
    assert not dispatch.has_failed
    running = asyncio.create_task(dispatch.run())
    await asyncio.sleep(1)
    assert dispatch.has_failed
    assert not running.done()
    with pytest.raises(DiskError):
        await running


@virtual
async def test_disk_error_while_stopping(journal: SqliteJournal) -> None:
    """A `DiskError` that comes while the daemon stops isn't lost."""

    async def act(_: Delivery) -> Outcome:
        await asyncio.sleep(3)
        raise DiskError("no sync")

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act))) as running:
        await asyncio.sleep(1)
        await stop(running)
        with pytest.raises(DiskError, match="no sync"):
            await running
    assert outcome(journal) == ("due", 0, None)


@pytest.mark.parametrize("stops", [True, False], ids=["stop", "time-out"])
@virtual
async def test_disk_error_when_cancelled(journal: SqliteJournal, stops: bool) -> None:
    """A `DiskError` in a handler's clean-up isn't lost, either."""

    async def act(_: Delivery) -> Outcome:
        try:
            await asyncio.sleep(1000)
        finally:
            await raising(DiskError("no sync"))
        return Done()

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act), timeout=timedelta(seconds=20))) as running:
        await asyncio.sleep(1)
        if stops:
            await stop(running)
        with pytest.raises(DiskError, match="no sync"):
            await running
    assert outcome(journal) == ("due", 0, None)


def break_disk(journal: SqliteJournal) -> None:
    """Let every write fail from now on."""
    journal.connection.execute("PRAGMA query_only = ON")


@virtual
async def test_journal_fails_at_a_settlement(journal: SqliteJournal) -> None:
    """An outcome that can't be written ends everything with `JournalError`."""
    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(seconds=10)), route(Recorder(), "other")) as running:
        await asyncio.sleep(1)
        break_disk(journal)
        with pytest.raises(JournalError, match="the journal failed"):
            await running


@virtual
async def test_journal_fails_at_a_lease(journal: SqliteJournal) -> None:
    """A clock's lease that can't be written ends everything with `JournalError`, and no handler runs."""
    recorder = Recorder()
    await append(journal, draft("S1", "Invited", "log", wait=Wait.FOR))
    break_disk(journal)
    async with dispatching_to(journal, route(recorder)) as running:
        with pytest.raises(JournalError):
            await running
    assert recorder.begun == []


@virtual
async def test_journal_fails_at_a_look(journal: SqliteJournal) -> None:
    """Where it can't even be seen what is due, that ends everything with `JournalError`, too."""
    async with dispatching_to(journal, route(Recorder())) as running:
        await asyncio.sleep(1)
        journal.close()
        with pytest.raises(JournalError, match="the journal is closed"):
            await running


@virtual
async def test_journal_fails_while_stopping(journal: SqliteJournal) -> None:
    """Deliveries that can't be handed back are a `JournalError`, too."""
    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(seconds=25))) as running:
        await asyncio.sleep(1)
        break_disk(journal)
        await stop(running)
        with pytest.raises(JournalError):
            await running


@pytest.mark.parametrize("stops", [True, False], ids=["stop", "run"])
@virtual
async def test_first_failure(journal: SqliteJournal, stops: bool) -> None:
    """Of several failures the first is raised: what follows from it would hide it."""

    async def act(_: Delivery) -> Outcome:
        await asyncio.sleep(2)
        break_disk(journal)
        raise DiskError("no sync")

    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(act))) as running:
        await asyncio.sleep(1)
        if stops:
            await stop(running)
        with pytest.raises(DiskError, match="no sync"):
            await running


@virtual
async def test_lost_lease(journal: SqliteJournal) -> None:
    """An outcome that comes after its lease was given to another has no effect, and no harm."""
    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(Recorder(seconds=10))) as running:
        await asyncio.sleep(1)
        later = after(TIMEOUT + LEASE_SLACK.total_seconds() + 1)
        (taken,) = await journal.lease("log", 1, later, later + timedelta(hours=1))
        await asyncio.sleep(15)
        assert not running.done()
        assert outcome(journal) == ("running", 0, None)
        await journal.release([taken], later)
    assert outcome(journal)[0] == "due"


# What nobody announces, and restarts.


@virtual
async def test_announcement(journal: SqliteJournal) -> None:
    """What becomes due is carried out at once, not at the next poll."""
    recorder = Recorder()
    async with dispatching_to(journal, route(recorder)):
        await asyncio.sleep(0.3)
        await append(journal, draft("S1", "Invited", "log"))
        await asyncio.sleep(0.3)
    assert recorder.times == [0.3]


@virtual
async def test_announcement_while_looking(slow: Slow) -> None:
    """What becomes due while the worker looks for it isn't overlooked until the next poll."""
    recorder = Recorder()
    async with dispatching_to(slow, route(recorder)):
        await asyncio.sleep(0.0005)
        await append(slow, draft("S1", "Invited", "log"))
        await asyncio.sleep(0.1)
    assert recorder.times[0] < 0.01


@virtual
async def test_clock(journal: SqliteJournal) -> None:
    """What is due later is carried out then, to the millisecond, while other things go on."""
    recorder = Recorder()
    await append(
        journal, draft("S1", "Invited", "log", due_at=after(3.25)), draft("S2", "Invited", "log", due_at=after(90))
    )
    async with dispatching_to(journal, route(recorder)):
        await asyncio.sleep(100)
    assert recorder.times == [pytest.approx(3.25, abs=1e-3), pytest.approx(90, abs=1e-3)]


@virtual
async def test_retry_by_a_person(tmp_path: Path) -> None:
    """A dead letter that a person retries in another process is carried out within the poll, with all its attempts."""
    journal = SqliteJournal(tmp_path / "journal.db", NOW)
    recorder = Recorder(lambda _: raising(LookupError()))
    await append(journal, draft("S1", "Invited", "log"))
    async with dispatching_to(journal, route(recorder, attempts=2)):
        await asyncio.sleep(10.5)
        reader = journal.reader()
        (dead,) = reader.dead()
        assert retry(reader, dead, after(10.5))
        reader.close()
        await asyncio.sleep(POLL_SECONDS)
        assert [delivery.attempt for delivery in recorder.deliveries] == [1, 2, 1]
        assert 10.5 < recorder.times[-1] <= 10.5 + POLL_SECONDS
    journal.close()


@virtual
async def test_late(journal: SqliteJournal) -> None:
    """A delivery says how long after its time it runs: because of failures, deferrals, a queue or a stopped daemon."""
    recorder = Recorder()

    async def act(delivery: Delivery) -> Outcome:
        return Defer(timedelta(seconds=7)) if delivery.late < timedelta(seconds=100) else Done()

    recorder.act = act
    await append(journal, draft("S1", "Invited", "log", due_at=after(-95)))
    async with dispatching_to(journal, route(recorder)):
        await asyncio.sleep(60)
    assert [round(delivery.late.total_seconds()) for delivery in recorder.deliveries] == [95, 102]
    assert {delivery.due_at for delivery in recorder.deliveries} == {after(-95)}


@virtual
async def test_clocks(journal: SqliteJournal) -> None:
    """A clock fires once, at its time, and says how late it is; where late ones aren't wanted, it is withdrawn."""
    recorder = Recorder()
    await append(journal, draft("S1", "LeftChat", "log", "strict", due_at=after(-90), wait=Wait.FOR))
    await append(journal, draft("S2", "LeftChat", "log", "strict", due_at=after(30), wait=Wait.FOR))
    await append(journal, draft("S3", "LeftChat", "strict", due_at=after(-90)))
    await append(journal, draft("S4", "LeftChat", "strict", due_at=after(-60), wait=Wait.FOR))
    strict = Recorder()
    routes = route(recorder), route(strict, "strict", late="skip", max_late="1m")
    async with dispatching_to(journal, *routes):
        await asyncio.sleep(60)
    assert recorder.begun == [(0, "S1 LeftChat"), (30, "S2 LeftChat")]
    assert [delivery.late for delivery in recorder.deliveries] == [timedelta(seconds=90), timedelta()]
    assert strict.begun == [(0, "S3 LeftChat"), (0, "S4 LeftChat"), (30, "S2 LeftChat")]
    (withdrawn,) = [one for one in records(journal) if one.state is DeliveryState.WITHDRAWN]
    assert (withdrawn.id, withdrawn.because) == (
        "1/strict",
        "late by 1 min 30 s, more than delivery.max_late, 1 min 0 s",
    )


@virtual
async def test_late_attempts(journal: SqliteJournal) -> None:
    """A clock that fired in time and failed is tried again, however late that is."""
    recorder = Recorder(lambda _: raising(LookupError()))
    await append(journal, draft("S1", "LeftChat", "log", due_at=NOW, wait=Wait.FOR))
    async with dispatching_to(journal, route(recorder, late="skip", max_late="1s", backoff="1m", attempts=2)):
        await asyncio.sleep(90)
    assert [round(at) for at in recorder.times] == [0, 60]
    assert only(journal).state is DeliveryState.DEAD


@virtual
async def test_clocks_in_doubt(journal: SqliteJournal) -> None:
    """A clock is held back while a gap is open, or isn't closed: its session may have left the state in it."""
    recorder = Recorder()
    paused = Throttle("1/agent/agent1", timedelta(seconds=1), is_last=True)
    await append(journal, draft("S1", "LeftChat", "log", due_at=NOW, wait=Wait.FOR))
    await append(journal, draft("S2", "LeftChat", "log", throttle=paused))
    await journal.watch("agent1", NOW)
    async with dispatching_to(journal, route(recorder, backoff="1h")):
        await asyncio.sleep(10)
        assert outcome_of(journal, 1) == (
            "waiting",
            "waits for the agent's sessions to be compared: there is a gap in which this one may have changed",
        )
        await prove(journal, "one", 10, 11)
        await asyncio.sleep(9.5)
        assert recorder.begun == [(1, "S2 LeftChat")]
        await journal.agree("agent1", after(12))
        await asyncio.sleep(2)
    assert [(round(at), name) for at, name in recorder.begun[1:]] == [(20, "S1 LeftChat")]
    assert only_of(journal, 1).attempts == 1


@virtual
async def test_clock_set_back(journal: SqliteJournal) -> None:
    """After the clock was set back a delivery is never early: it is late by nothing."""
    recorder = Recorder()
    await append(journal, draft("S1", "Invited", "log", due_at=after(5)))
    clock = VirtualClock(after(10))
    (leased,) = await journal.lease("log", 1, after(10), after(20))
    clock.step(timedelta(seconds=-10))
    clock.stepped()
    await journal.release([leased], after(0))
    running = asyncio.create_task(Dispatch(journal, [route(recorder)], clock, Widest()).run())
    await asyncio.sleep(1)
    await stop(running)
    assert [delivery.late for delivery in recorder.deliveries] == [timedelta()]


@virtual
async def test_key(tmp_path: Path) -> None:
    """The idempotency key is the same at every attempt, after a restart too, and no other delivery's anywhere."""
    keys: list[list[str]] = []
    for name in ("one.db", "one.db", "two.db"):
        recorder = Recorder(lambda _: raising(LookupError()))
        journal = SqliteJournal(tmp_path / name, NOW)
        if journal.reader().statistics().entries == 0:
            await append(journal, draft("S1", "Invited", "log", "other"))
        async with dispatching_to(journal, route(recorder), route(recorder, "other")):
            await asyncio.sleep(60)
        journal.close()
        assert len(recorder.deliveries) >= 2
        keys.append(sorted({delivery.key for delivery in recorder.deliveries}))
    assert keys[0] == keys[1]
    assert [len(each) for each in keys] == [2, 2, 2]
    assert not set(keys[0]) & set(keys[2])


@virtual
async def test_restart(tmp_path: Path) -> None:
    """What ran when a daemon died is due at once in the next one, and the interruption was no attempt."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, NOW)
    await append(journal, draft("S1", "Invited", "log"))
    assert len(await journal.lease("log", 1, NOW, after(3600))) == 1
    journal.close()
    journal = SqliteJournal(path, NOW)
    recorder = Recorder()
    async with dispatching_to(journal, route(recorder)):
        await asyncio.sleep(1)
    assert [(at, delivery.attempt) for at, delivery in zip(recorder.times, recorder.deliveries, strict=True)] == [
        (0, 1)
    ]
    journal.close()


# Idleness.


@virtual
async def test_idle(slow: Slow) -> None:
    """A worker with nothing to do looks once a second, and leases nothing."""
    await append(slow, draft("S1", "Invited", "log", due_at=after(3600)))
    async with dispatching_to(slow, route(Recorder())):
        await asyncio.sleep(100)
    assert 90 <= slow.looked <= 101
    assert slow.leased == 0


@virtual
async def test_busy(slow: Slow) -> None:
    """A worker with no room for what is due looks once a second, too."""
    await append(slow, *[draft(f"S{number}", "Invited", "log") for number in range(10)])
    async with dispatching_to(slow, route(Recorder(seconds=1000), concurrency=2, timeout=timedelta(minutes=30))):
        await asyncio.sleep(100)
        assert 90 <= slow.looked <= 102
        assert slow.leased == 1


@virtual
async def test_nothing_to_be_had(slow: Slow) -> None:
    """In a damaged journal, where what is due isn't to be had, a worker looks once a second, not all the time."""
    await append(slow, draft("S1", "Invited", "log"))
    slow.connection.execute("UPDATE pending SET seq = 2")
    async with dispatching_to(slow, route(Recorder())):
        await asyncio.sleep(100)
    assert 90 <= slow.leased <= 101


@virtual
async def test_turns(journal: SqliteJournal) -> None:
    """An hour of idleness costs some turns of the event loop a second."""
    loop = asyncio.get_running_loop()
    turns = 0
    count = loop._run_once  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

    def counting() -> None:
        nonlocal turns
        turns += 1
        count()

    loop._run_once = counting  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    async with dispatching_to(journal, route(Recorder()), route(Recorder(), "other")):
        await asyncio.sleep(3600)
    assert turns < 2 * 3600 * 6


# Draining.


@virtual
async def test_drain(journal: SqliteJournal) -> None:
    """Draining ends when nothing is due any more and nothing runs, in any handler."""
    recorder, other = Recorder(seconds=10), Recorder(seconds=1)
    dispatch = Dispatch(journal, [route(other, "other"), route(recorder, concurrency=2)], VirtualClock(), Widest())
    running = asyncio.create_task(dispatch.run())
    await dispatch.drain()
    assert now() == 0
    await append(journal, *[draft(f"S{number}", "Invited", "log", "other") for number in range(5)])
    await dispatch.drain()
    assert now() == 30
    assert {record.state for record in records(journal)} == {DeliveryState.DELIVERED}
    await stop(running)


@virtual
async def test_drain_of_what_comes_later(journal: SqliteJournal) -> None:
    """Draining doesn't wait for what is due later: clocks, deferrals and back-off."""
    recorder = Recorder(lambda _: raising(LookupError()))
    dispatch = Dispatch(journal, [route(recorder, backoff=timedelta(minutes=1))], VirtualClock(), Widest())
    running = asyncio.create_task(dispatch.run())
    await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "log", due_at=after(3600)))
    await dispatch.drain()
    assert now() == 0
    assert [record.state for record in records(journal)] == [DeliveryState.DUE] * 2
    assert recorder.times == [0]
    await stop(running)


@virtual
async def test_drain_while_leasing(slow: Slow) -> None:
    """Draining waits for what is just being handed out, and doesn't keep the loop busy."""
    recorder = Recorder(seconds=60)
    dispatch = Dispatch(slow, [route(recorder, timeout=timedelta(minutes=2))], VirtualClock(), Widest())
    running = asyncio.create_task(dispatch.run())
    await append(slow, draft("S1", "Invited", "log"))
    await asyncio.sleep(0.0015)
    await dispatch.drain()
    assert now() == pytest.approx(60, abs=0.1)
    assert slow.looked < 150
    await stop(running)


def test_limits() -> None:
    """A lease outlives its attempt, and the clean-up after it."""
    assert timedelta(seconds=CANCEL_SECONDS) < LEASE_SLACK


# What is told of attempts.


@virtual
async def test_told(journal: SqliteJournal) -> None:
    """Each attempt is told, in its context, when it begins, and how it ended once that is on disk."""
    answers: dict[str, list[Any]] = {
        "S1": [Defer(timedelta(seconds=5)), LookupError(), Done()],
        "S2": [Reject("no")],
        "S3": [LookupError(), LookupError()],
    }

    async def act(delivery: Delivery) -> Outcome:
        answer = answers[delivery.transition.session.id].pop(0)
        await asyncio.sleep(2)
        if isinstance(answer, Exception):
            raise answer
        outcome: Outcome = answer
        return outcome

    told: list[tuple[str, str]] = []
    place: ContextVar[str] = ContextVar("place", default="")

    def observe(event: Event) -> None:
        assert isinstance(event, AttemptBegan | AttemptEnded)
        session = event.lease.entry.session or ""
        assert place.get() == ("" if isinstance(event, AttemptBegan) else session)
        if isinstance(event, AttemptBegan):
            told.append((session, "began"))
            place.set(session)
        else:
            told.append((session, event.outcome.value))
            assert event.seconds == 2
            assert event.at == journal_time()

    def journal_time() -> datetime:
        return NOW + timedelta(seconds=now())

    await append(journal, *(draft(session, "Invited", "log") for session in answers))
    dispatch = Dispatch(journal, [route(Recorder(act), attempts=2)], VirtualClock(), Widest(), observe=observe)
    running = asyncio.create_task(dispatch.run())
    await asyncio.sleep(60)
    await stop(running)
    assert [how for session, how in told if session == "S1"] == [
        *("began", "deferred"),
        *("began", "failed"),
        *("began", "delivered"),
    ]
    assert [how for session, how in told if session == "S2"] == ["began", "dead"]
    assert [how for session, how in told if session == "S3"] == ["began", "failed", "began", "dead"]


@virtual
async def test_told_of_what_is_no_longer_true(journal: SqliteJournal) -> None:
    """A delivery that is withdrawn before the handler is asked is told as such."""
    told: list[Event] = []
    await append(journal, draft("S1", "Invited", "log"), origin=Origin.SNAPSHOT)
    await append(journal, draft("S1", "Chatting", before="Invited"))
    chosen = route(Recorder(), snapshot="run-if-still-true")
    dispatch = Dispatch(journal, [chosen], VirtualClock(), Widest(), observe=told.append)
    running = asyncio.create_task(dispatch.run())
    await asyncio.sleep(10)
    await stop(running)
    assert [each.outcome for each in told if isinstance(each, AttemptEnded)] == ["withdrawn"]


@virtual
async def test_forgotten_session(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many entries only the last ones' sessions are kept; the others are made again."""
    monkeypatch.setattr("fbsessiond.dispatch.SESSIONS_KEPT", 1)
    recorder, other = Recorder(), Recorder()
    await append(journal, *[draft(f"S{number}", "Invited", "log", "other") for number in range(3)])
    async with dispatching_to(journal, route(recorder), route(other, "other")):
        await asyncio.sleep(1)
    assert [one.transition.session.id for one in other.deliveries] == ["S0", "S1", "S2"]
    assert [one.transition.session for one in other.deliveries] == [
        one.transition.session for one in recorder.deliveries
    ]

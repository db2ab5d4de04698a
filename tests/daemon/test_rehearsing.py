import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from pydantic import PrivateAttr

from fbsessiond.chance import SeededChance
from fbsessiond.conditions import Condition
from fbsessiond.confinement import ConfinedError
from fbsessiond.handler import Defer, Delivery, Done, Handler, Outcome
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryState, Draft
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.message import Origin
from fbsessiond.operations import Operation
from fbsessiond.rehearsing import CHUNK, RecalledClock, Rehearsal
from fbsessiond.route import DeliverySettings, Route
from fbsessiond.testing import run_virtual
from journal_parts import NOW, after, append, draft, other


class Asking(Handler):
    """Note what comes, and ask for what a test says."""

    seen: list[tuple[str, float]] = []  # noqa: RUF012  pydantic copies it
    _act: Callable[[Delivery], Outcome] = PrivateAttr()
    _begin: Callable[[], None] = PrivateAttr()

    @classmethod
    def with_(cls, act: Callable[[Delivery], Outcome] | None = None, begin: Callable[[], None] | None = None) -> Self:
        """Return a handler that does this, and does that when it begins to run."""
        made = cls()
        made._act = act or (lambda delivery: Done(Operation.complete(delivery.transition.session)))
        made._begin = begin or (lambda: None)
        return made

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Begin."""
        self._begin()
        yield

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note the delivery, with how late it is."""
        transition = delivery.transition
        self.seen.append((f"{transition.session.id} {transition.after}", delivery.late.total_seconds()))
        return self._act(delivery)


@pytest.fixture
def recorded() -> Iterator[SqliteJournal]:
    """Open the journal that is rehearsed."""
    journal = SqliteJournal(MEMORY, NOW)
    yield journal
    journal.close()


def route(handler: Handler, name: str = "ask", *, delivery: Any = None, **on: Any) -> Route:
    """Return a handler's route."""
    conditions = (Condition.model_validate(on),) if on else ()
    return Route(name, handler, conditions, DeliverySettings.model_validate(delivery or {}))


def rehearse(recorded: SqliteJournal, *routes: Route) -> tuple[Rehearsal, Reader, list[int]]:
    """Rehearse a journal; return the rehearsal, its own journal, and what progress was told."""
    journal = SqliteJournal(MEMORY, NOW)
    rehearsal = Rehearsal(journal, routes, SeededChance(1))
    told: list[int] = []
    run_virtual(rehearsal.run(recorded.reader().entries(), lambda entry: told.append(entry.seq)))
    return rehearsal, journal.reader(), told


def asked(rehearsal: Rehearsal, look: Reader) -> list[tuple[int, str]]:
    """Return what was asked for, with the entries of the journal that was rehearsed."""
    return [(rehearsal.places[one.seq - 1], one.operation.name) for one in look.follow_ups()]


def life(session: str, *at: float, origin: Origin = Origin.LIVE) -> list[tuple[Draft, float, Origin]]:
    """Return a session's life, which begins, is left and ends at so many seconds after `NOW`."""
    states = ["Chatting", "LeftChat", "Completed"]
    return [
        (draft(session, state, before=before), seconds, origin)
        for before, state, seconds in zip([None, *states], states, at, strict=False)
    ]


async def record(journal: SqliteJournal, *parts: tuple[Draft, float, Origin]) -> None:
    """Append what arrived, in the order in which it did."""
    for part, seconds, origin in sorted(parts, key=lambda one: one[1]):
        await append(journal, part, at=after(seconds), origin=origin)


def test_conditions(recorded: SqliteJournal) -> None:
    """Transitions go through the conditions as they are; what is no transition changes nothing."""
    asyncio.run(append(recorded, other()))
    asyncio.run(record(recorded, *life("S1", 0, 10, 20), *life("S2", 5, 15, 25)))
    asyncio.run(append(recorded, other()))
    handler = Asking.with_()
    rehearsal, look, told = rehearse(recorded, route(handler, to="LeftChat", when='session.id == "S2"'))
    assert asked(rehearsal, look) == [(5, "Complete")]
    assert told == [8]
    assert look.statistics().entries == 1


def test_clocks(recorded: SqliteJournal) -> None:
    """A clock fires between the entries between which it would have fired, in time; one that still runs doesn't."""
    asyncio.run(record(recorded, *life("S1", 0, 10, 400), *life("S2", 0, 20, 50), *life("S3", 0, 390)))
    handler = Asking.with_()
    rehearsal, look, _ = rehearse(recorded, route(handler, to="LeftChat", **{"for": "5m"}))
    assert handler.seen == [("S1 LeftChat", 0)]
    assert asked(rehearsal, look) == [(4, "Complete")]
    states = [(one.session, one.state) for one in look.deliveries() if one.state is not DeliveryState.NOT_WANTED]
    assert states == [
        ("S1", DeliveryState.DELIVERED),
        ("S2", DeliveryState.WITHDRAWN),
        ("S3", DeliveryState.WAITING),
    ]


def test_clocks_of_a_step(recorded: SqliteJournal) -> None:
    """What is taken together stays apart: a clock that ended before its session went on has fired, and isn't late."""
    asyncio.run(record(recorded, *life("S1", 0, 10, 350), *life("S2", 305, 306, 340)))
    handler = Asking.with_()
    punctual = {"late": "skip", "max_late": "1s"}
    _, look, told = rehearse(recorded, route(handler, to="LeftChat", delivery=punctual, **{"for": "5m"}))
    assert told == [2, 6]
    assert handler.seen == [("S1 LeftChat", 0)]
    states = {one.session: one.state for one in look.deliveries()}
    assert states == {"S1": DeliveryState.DELIVERED, "S2": DeliveryState.WITHDRAWN}


def test_clocks_and_snapshots(recorded: SqliteJournal) -> None:
    """A clock that ended before a snapshot found that its session went on has fired by then."""
    gone = draft("S1", "Completed", before="LeftChat"), 350.0, Origin.SNAPSHOT
    asyncio.run(record(recorded, *life("S1", 0, 10), *life("S2", 305, 306), gone))
    handler = Asking.with_()
    _, _, told = rehearse(recorded, route(handler, to="LeftChat", **{"for": "5m"}))
    assert told == [2, 4, 5]
    assert handler.seen == [("S1 LeftChat", 0)]


def test_what_matters(recorded: SqliteJournal) -> None:
    """Only what is wanted, or ends a clock, is journaled once more."""
    asyncio.run(record(recorded, *life("S1", 0, 10, 20), *life("S2", 0, 10, 20)))
    rehearsal, _, _ = rehearse(recorded, route(Asking.with_(), when=S2_LEFT, **{"for": "5m"}))
    assert rehearsal.places == [4, 6]


S2_LEFT = 'session.id == "S2" && after == "LeftChat"'


def test_throttles(recorded: SqliteJournal) -> None:
    """Throttles count by the time at which things arrived."""
    asyncio.run(record(recorded, *(part for number in range(4) for part in life(f"S{number}", 0, number * 40))))
    first, last = Asking.with_(), Asking.with_()
    rehearse(
        recorded,
        route(first, "first", to="LeftChat", once_within="1m", once_per="agent"),
        route(last, "last", to="LeftChat", once_after="1m", once_per="agent"),
    )
    assert [name for name, _ in first.seen] == ["S0 LeftChat", "S2 LeftChat"]
    assert [name for name, _ in last.seen] == ["S1 LeftChat"]


def test_many(recorded: SqliteJournal) -> None:
    """However many entries there are, each transition is handled once, in its session's order."""
    sessions = 2 * CHUNK
    asyncio.run(append(recorded, *(draft(f"S{number}", "Chatting") for number in range(sessions))))
    asyncio.run(append(recorded, *(draft(f"S{number}", "LeftChat", before="Chatting") for number in range(sessions))))
    handler = Asking.with_()
    rehearsal, look, told = rehearse(recorded, route(handler))
    assert sorted(handler.seen) == sorted(
        (f"S{number} {state}", 0.0) for number in range(sessions) for state in ("Chatting", "LeftChat")
    )
    assert rehearsal.places == list(range(1, 2 * sessions + 1))
    assert told == [CHUNK * (number + 1) for number in range(4)]
    assert len(list(look.follow_ups())) == 2 * sessions


def test_snapshot(recorded: SqliteJournal) -> None:
    """What a snapshot found is wanted only while it is true, where a handler says so."""
    found = [(draft("S1", "LeftChat"), 10.0, Origin.SNAPSHOT), (draft("S2", "LeftChat"), 10.0, Origin.SNAPSHOT)]
    gone = draft("S1", "Completed", before="LeftChat"), 10.0, Origin.LIVE
    asyncio.run(record(recorded, *found, gone))
    handler = Asking.with_()
    rehearsal, look, _ = rehearse(recorded, route(handler, to="LeftChat", delivery={"snapshot": "run-if-still-true"}))
    outcomes = {one.session: one.state for one in look.deliveries() if one.after == "LeftChat"}
    assert outcomes["S1"] is DeliveryState.WITHDRAWN
    assert rehearsal.refused == {}


def test_refused(recorded: SqliteJournal) -> None:
    """A handler that tries what isn't allowed is told with its name, and left alone from then on; others go on."""
    asyncio.run(record(recorded, *life("S1", 0, 10, 20)))
    handled: list[str] = []

    def act(delivery: Delivery) -> Outcome:
        handled.append(delivery.id)
        rehearsal.note("socket.connect")
        raise ConfinedError("socket.connect isn't allowed here")

    def begin() -> None:
        rehearsal.note("writing a file")
        raise ConfinedError("writing a file isn't allowed here")

    handler = Asking.with_()
    journal = SqliteJournal(MEMORY, NOW)
    routes = route(Asking.with_(act), "acts", delivery={"concurrency": 1}), route(Asking.with_(None, begin), "begins")
    rehearsal = Rehearsal(journal, [*routes, route(handler)], SeededChance(1))
    run_virtual(rehearsal.run(recorded.reader().entries(), lambda _: None))
    assert rehearsal.refused == {"begins": "writing a file", "acts": "socket.connect"}
    assert len(handled) == 1
    assert len(handler.seen) == 3
    assert {one.handler for one in journal.reader().deliveries()} == {"acts", "ask"}


def test_attempts(recorded: SqliteJournal) -> None:
    """A delivery is attempted once; one that is deferred comes again at its time, if the journal goes on so long."""
    asyncio.run(record(recorded, *life("S1", 0, 10, 20)))
    attempts: list[int] = []

    def act(delivery: Delivery) -> Outcome:
        attempts.append(delivery.transition.seq)
        if delivery.transition.after == "LeftChat":
            raise LookupError
        return Defer(timedelta(seconds=15)) if delivery.late < timedelta(seconds=15) else Done()

    clocks = route(Asking.with_(), "clocks", to="Invited", **{"for": "1s"})  # so that time runs second by second
    _, look, _ = rehearse(recorded, route(Asking.with_(act)), clocks)
    assert attempts == [1, 1, 2, 3]  # in its order: the second waits for the first
    outcomes = [one.state for one in look.deliveries() if one.handler == "ask"]
    assert outcomes == [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.DUE]


def test_nothing(recorded: SqliteJournal) -> None:
    """An empty journal, and no handlers, are fine."""
    assert rehearse(recorded, route(Asking.with_()))[2] == []
    asyncio.run(record(recorded, *life("S1", 0, 10, 20)))
    assert rehearse(recorded)[0].places == []


def test_clock() -> None:
    """The clock shows what was reached, and isn't set by anybody."""
    clock = RecalledClock()
    assert clock.now() == datetime.min.replace(tzinfo=UTC)
    clock.pass_until(NOW)
    clock.pass_until(NOW - timedelta(seconds=1))
    assert clock.monotonic() == (NOW - datetime.min.replace(tzinfo=UTC)).total_seconds()
    assert clock.stepped() == timedelta()

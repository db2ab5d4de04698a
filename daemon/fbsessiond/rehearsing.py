"""A rehearsal: the journal through other routes and handlers, on virtual time, and nothing is sent.

The transitions that are in the journal go, as they are, through the same conditions, clocks, throttles, dispatch and
handlers as the daemon's, into a journal in memory. Time runs as it ran then, in steps of some hundred entries, none
longer than the shortest clock: in a step each session's transitions and clocks come in their order, and none is late.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import PrivateAttr

from fbsessiond.chance import Chance
from fbsessiond.confinement import ConfinedError
from fbsessiond.dispatch import Dispatch
from fbsessiond.handler import Defer, Delivery, Done, Handler, Outcome, Reject
from fbsessiond.journal.documents import candidate_of
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import Draft, Entry, Wait
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.route import Route
from fbsessiond.tasks import until_first
from fbsessiond.transition import Change, Kind
from fbsessiond.wanting import ask

CHUNK = 256
"""How many entries are journaled in one transaction at most."""

CONCURRENCY = 256
"""How many sessions at a time: nothing waits for anything outside."""

handler_name: ContextVar[str] = ContextVar("handler_name", default="")
"""Whose code runs."""


class Rehearsal:
    """Runs entries through routes; what handlers ask for is in the journal then, intended for ever."""

    def __init__(self, journal: Journal, routes: Sequence[Route], chance: Chance) -> None:
        """Take an empty journal. Handlers that act outside this machine aren't among the routes."""
        self.places: list[int] = []
        """The number of the entry that each entry of the rehearsal's journal is, in their order."""
        self.refused: dict[str, str] = {}
        """What handlers tried that isn't allowed, by their names."""
        self._journal = journal
        self._chance = chance
        self._clock = RecalledClock()
        self._routes = [_rehearsed(route, self.refused) for route in routes]
        self._longest_chunk = min((pause for route in routes for pause in _pauses(route)), default=timedelta.max)
        self._has_clocks = any(route.has_clocks for route in routes)
        self._waiting: set[tuple[str, str | None]] = set()
        """The agents' sessions with clocks that may run: what they do next ends them."""
        self._asks_what_is_known = any(route.delivery.snapshot == "run-if-still-true" for route in routes)

    def note(self, what: str) -> None:
        """Note what a handler tried: the confinement says so."""
        self.refused.setdefault(handler_name.get(), what)

    async def run(self, entries: Iterator[Entry], progress: Callable[[Entry], None]) -> None:
        """Run entries, in their order; those that bring no transition change nothing here.

        It needs an event loop whose own time passes at once, such as `run_virtual` has.
        """
        async with AsyncExitStack() as stack:
            self._routes = [route for route in self._routes if await self._enters(route, stack)]
            dispatch = Dispatch(self._journal, self._routes, self._clock, self._chance)
            await until_first(self._feed(entries, dispatch, progress), dispatch.run())

    async def _enters(self, route: Route, stack: AsyncExitStack) -> bool:
        token = handler_name.set(route.name)
        try:
            await stack.enter_async_context(route.handler.running())
        except ConfinedError:
            return False
        finally:
            handler_name.reset(token)
        return True

    async def _feed(self, entries: Iterator[Entry], dispatch: Dispatch, progress: Callable[[Entry], None]) -> None:
        left: Entry | None = next(entries, None)
        while left is not None:
            await self._reach(left.received_at, dispatch)
            chunk: list[Entry] = []
            while left is not None and (not chunk or self._goes_with(left, chunk)):
                chunk.append(left)
                left = next(entries, None)
            self._clock.pass_until(chunk[-1].received_at)
            appends = [self._append(entry) for entry in chunk if entry.kind is Kind.TRANSITION]
            await asyncio.gather(*filter(None, appends))
            await self._reach(chunk[-1].received_at, dispatch)
            progress(chunk[-1])

    def _goes_with(self, entry: Entry, chunk: Sequence[Entry]) -> bool:
        """Say whether an entry can be journaled together with some before it.

        One that ends a clock leaves it alone where the clock's own end came before; but one that a snapshot found
        doesn't, so that clocks have to fire before it is there.
        """
        is_soon = entry.received_at - chunk[0].received_at <= self._longest_chunk
        return is_soon and len(chunk) < CHUNK and not (self._has_clocks and entry.origin is Origin.SNAPSHOT)

    async def _reach(self, at: datetime, dispatch: Dispatch) -> None:
        """Let time pass up to a point; what is due until then is carried out."""
        self._clock.pass_until(at)
        for route in self._routes:
            self._journal.wakes(route.name).set()
        await dispatch.drain()

    def _append(self, entry: Entry) -> Coroutine[Any, Any, object] | None:
        """Return how to journal an entry, where that can matter."""
        candidate = candidate_of(entry)
        wanted, _ = ask(self._routes, candidate, entry.received_at, self._clock.now())
        session = (entry.agent, entry.session)
        if not wanted and session not in self._waiting and not self._asks_what_is_known:
            return None
        self._waiting.discard(session)
        if any(one.wait is Wait.FOR for one in wanted):
            self._waiting.add(session)
        message = Message(b"", entry.channel, entry.notification)
        document = candidate.document if self._asks_what_is_known else None
        change = Change(entry.kind, entry.session, entry.before, entry.after, document)
        self.places.append(entry.seq)  # appends are written in the order in which they are asked for
        batch = Batch(entry.agent, entry.origin, entry.received_at, (message,))
        return self._journal.append(batch, [Draft(message, change, entry.document, wanted)], ())


class RecalledClock:
    """A clock that shows the time of what is rehearsed."""

    at: datetime = datetime.min.replace(tzinfo=UTC)

    def pass_until(self, at: datetime) -> None:
        """Let time pass up to a point; it doesn't go back."""
        self.at = max(at, self.at)

    def now(self) -> datetime:
        """Return the time that was reached."""
        return self.at

    def monotonic(self) -> float:
        """Return it in seconds."""
        return (self.at - datetime.min.replace(tzinfo=UTC)).total_seconds()

    def stepped(self) -> timedelta:
        """Nobody sets it."""
        return timedelta()


class _Rehearsed(Handler):
    """A handler that is watched: what it tries against the rules is told with its name."""

    name: str
    handler: Handler
    _refused: Mapping[str, str] = PrivateAttr()
    _deferred: set[str] = PrivateAttr(default_factory=set[str])

    @classmethod
    def watched(cls, name: str, handler: Handler, refused: Mapping[str, str]) -> "_Rehearsed":
        """Watch a handler; `refused` has the names of those that are left alone."""
        made = cls(name=name, handler=handler)
        made._refused = refused
        return made

    async def handle(self, delivery: Delivery) -> Outcome:
        """Let it handle a delivery; what isn't allowed ends that, and all that come after it."""
        if self.name in self._refused:
            return Done()
        handler_name.set(self.name)  # this runs in a task of its own
        if delivery.id not in self._deferred:
            delivery = dataclasses.replace(delivery, late=timedelta(0))  # it is only taken together with others
        try:
            outcome = await self.handler.handle(delivery)
        except ConfinedError as error:
            return Reject(str(error))
        if isinstance(outcome, Defer):
            self._deferred.add(delivery.id)
        return outcome

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Hold what it needs."""
        async with self.handler.running():
            yield


def _rehearsed(route: Route, refused: Mapping[str, str]) -> Route:
    delivery = route.delivery.model_copy(update={"attempts": 1, "concurrency": CONCURRENCY, "late": "run"})
    handler = _Rehearsed.watched(route.name, route.handler, refused)
    return dataclasses.replace(route, handler=handler, delivery=delivery)


def _pauses(route: Route) -> Iterator[timedelta]:
    for condition in route.on:
        yield from filter(None, (condition.lasts, condition.once_after))

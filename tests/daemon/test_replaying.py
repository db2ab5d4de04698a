import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

import pytest
from pydantic import PrivateAttr

from fbsessiond.chance import SeededChance
from fbsessiond.envelope import open_envelope
from fbsessiond.errors import DiskError, JournalError
from fbsessiond.fixtures import Fixture
from fbsessiond.handler import Defer, Delivery, Done, Handler, Outcome
from fbsessiond.journal.records import DeliveryState
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.message import Origin
from fbsessiond.replaying import replay_fixtures
from fbsessiond.route import DeliverySettings, Route
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual


class Noting(Handler):
    """Note what happens, and then do what a test tells."""

    happened: list[str] = []  # noqa: RUF012  pydantic copies it
    _then: Callable[[Delivery], Outcome] = PrivateAttr(default_factory=lambda: lambda _: Done())

    @classmethod
    def then(cls, do: Callable[[Delivery], Outcome]) -> Self:
        """Return a handler that does this."""
        handler = cls()
        handler._then = do
        return handler

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Note when it begins, and when it ends."""
        self.happened.append("begun")
        try:
            yield
        finally:
            self.happened.append("ended")

    async def handle(self, delivery: Delivery) -> Outcome:
        """Note the session and its state."""
        self.happened.append(f"{delivery.transition.session.id} {delivery.transition.after}")
        return self._then(delivery)


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    """Open a journal in memory."""
    journal = SqliteJournal(MEMORY, EPOCH)
    yield journal
    journal.close()


def fixture(session: str, state: str, *, seconds: float | None = None) -> Fixture:
    """Return a fixture that says which state a session is in, perhaps with when that was received."""
    data = {"messageType": "FacebooksessionStateChangeMessage", "facebooksession": {"id": session, "state": state}}
    message = open_envelope(json.dumps({"channel": "/v2/me/facebooksession", "data": data}).encode())
    return Fixture(message, received_at=None if seconds is None else EPOCH + timedelta(seconds=seconds))


LIFE = [fixture("S1", "Invited"), fixture("S1", "Chatting"), fixture("S2", "Invited"), fixture("S1", "LeftChat")]


def replay(
    journal: SqliteJournal, handler: Handler, *fixtures: Fixture, speed: float | None = None, **delivery: Any
) -> float:
    """Replay, and return how many seconds that took."""
    routes = [Route("noting", handler, (), DeliverySettings(**delivery))]

    async def main() -> float:
        await replay_fixtures(fixtures, journal, routes, clock=VirtualClock(), chance=SeededChance(1), speed=speed)
        return asyncio.get_running_loop().time()

    return run_virtual(main())


def test_life(journal: SqliteJournal) -> None:
    """All fixtures are journaled, and all they cause is carried out, in order, while the handler runs; then it ends."""
    handler = Noting()
    replay(journal, handler, *LIFE)
    assert (handler.happened[0], handler.happened[-1]) == ("begun", "ended")
    assert [what for what in handler.happened if what.startswith("S1")] == ["S1 Invited", "S1 Chatting", "S1 LeftChat"]
    assert {entry.origin for entry in journal.reader().entries()} == {Origin.REPLAY}
    assert [record.state for record in journal.reader().deliveries()] == [DeliveryState.DELIVERED] * 4


def test_nothing(journal: SqliteJournal) -> None:
    """A replay of nothing ends at once."""
    assert replay(journal, Noting()) == 0


def test_failure(journal: SqliteJournal) -> None:
    """What fails is a dead letter at once: nobody waits for a second attempt."""

    def fail(_: Delivery) -> Outcome:
        raise LookupError("not there")

    assert replay(journal, Noting.then(fail), *LIFE[:2], attempts=10) == 0
    assert [(one.state, one.attempts) for one in journal.reader().deliveries()] == [(DeliveryState.DEAD, 1)] * 2


def test_later(journal: SqliteJournal) -> None:
    """What a handler defers stays due; the replay doesn't wait for it."""
    assert replay(journal, Noting.then(lambda _: Defer(timedelta(hours=1))), *LIFE[:2]) == 0
    assert [one.state for one in journal.reader().deliveries()] == [DeliveryState.DUE, DeliveryState.WAITING]


def test_speed(journal: SqliteJournal) -> None:
    """With a speed the replay takes as long as the notifications did, divided by it."""
    fixtures = [fixture("S1", state, seconds=at) for state, at in (("Invited", 0), ("Chatting", 60), ("LeftChat", 600))]
    assert replay(journal, Noting(), *fixtures, speed=10) == pytest.approx(60, abs=0.2)


def test_settings_stay(journal: SqliteJournal) -> None:
    """Other settings of a delivery stay as they are: here, its time-out."""

    class Slow(Noting):
        async def handle(self, delivery: Delivery) -> Outcome:
            """Take long."""
            await asyncio.sleep(100)
            return await super().handle(delivery)

    assert replay(journal, Slow(), *LIFE[:1], timeout=timedelta(seconds=7)) == 7
    (record,) = journal.reader().deliveries()
    assert record.because == "took longer than delivery.timeout, 7 s"


def test_disk_error(journal: SqliteJournal) -> None:
    """A handler's `DiskError` ends the replay, as that error."""

    def fail(_: Delivery) -> Outcome:
        raise DiskError("no sync")

    with pytest.raises(DiskError, match="no sync"):
        replay(journal, Noting.then(fail), *LIFE)


def test_journal_error(journal: SqliteJournal) -> None:
    """A journal that can't be written ends the replay, and the handlers end properly."""
    journal.connection.execute("PRAGMA query_only = ON")
    handler = Noting()
    with pytest.raises(JournalError):
        replay(journal, handler, *LIFE)
    assert handler.happened == ["begun", "ended"]

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import PrivateAttr

from fbsessiond.handler import Defer, Delivery, Done, Handler, Outcome
from fbsessiond.message import Message, Origin
from fbsessiond.notification import read
from fbsessiond.session import Session, session_from
from fbsessiond.testing import (
    EPOCH,
    VirtualClock,
    make_delivery,
    make_participant,
    make_session,
    make_transition,
    outcome_of,
    outcomes_of,
    run_virtual,
)
from fbsessiond.transition import Kind, derive


def test_pause() -> None:
    """A pause of a century takes no time, and the clock shows that it passed."""

    async def main() -> datetime:
        await asyncio.sleep(timedelta(days=36_525).total_seconds())
        return VirtualClock().now()

    assert run_virtual(main()) == EPOCH + timedelta(days=36_525)


def test_start() -> None:
    """The clock starts where it is told to, and measures from zero."""
    noon = datetime(2015, 9, 2, 12, 0, tzinfo=UTC)

    async def main() -> tuple[datetime, float]:
        clock = VirtualClock(noon)
        await asyncio.sleep(1.5)
        return clock.now(), clock.monotonic()

    assert run_virtual(main()) == (noon + timedelta(seconds=1.5), 1.5)


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1)])
def test_step(by: timedelta) -> None:
    """A step sets the wall clock forward or back; the monotonic time doesn't notice."""

    async def main() -> tuple[datetime, float]:
        clock = VirtualClock()
        await asyncio.sleep(10)
        clock.step(by)
        assert clock.now() == EPOCH + timedelta(seconds=10)
        assert clock.stepped() == by
        assert clock.stepped() == timedelta()
        return clock.now(), clock.monotonic()

    assert run_virtual(main()) == (EPOCH + timedelta(seconds=10) + by, 10)


def test_order() -> None:
    """Timers run in the order of their times, each at its own, whatever order they were set in."""

    async def main() -> list[tuple[str, float]]:
        clock, seen = VirtualClock(), list[tuple[str, float]]()

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, clock.monotonic()))

        await asyncio.gather(wait("day", 86_400), wait("minute", 60), wait("hour", 3_600))
        return seen

    assert run_virtual(main()) == [("minute", 60), ("hour", 3_600), ("day", 86_400)]


def test_busy() -> None:
    """Time stands still while anything can run."""

    async def main() -> float:
        timer = asyncio.create_task(asyncio.sleep(0.001))
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not timer.done()
        await timer
        return VirtualClock().monotonic()

    assert run_virtual(main()) == 0.001


def test_timeout() -> None:
    """A time-out fires at its time on the virtual clock, and no later."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return VirtualClock().monotonic()

    assert run_virtual(main()) == 30


def test_ready() -> None:
    """What is there to be read is read before time moves."""

    async def main() -> tuple[bytes, float]:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            received = asyncio.create_task(asyncio.get_running_loop().sock_recv(here, 5))
            await asyncio.sleep(1)
            there.send(b"hello")
            async with asyncio.timeout(30):
                return await received, VirtualClock().monotonic()

    assert run_virtual(main()) == (b"hello", 1)


def test_deadlock() -> None:
    """Where everything waits for something that can't happen any more, that is said, and tasks are cleaned up."""
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("main")

    with pytest.raises(RuntimeError, match="nothing can happen any more"):
        run_virtual(main())
    assert cleaned == ["main"]


def test_failure() -> None:
    """An error comes out as it was raised."""

    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        run_virtual(main())


def test_session() -> None:
    """A session is made of a state, and of what a notification says in the platform's own keys."""
    session = make_session("LeftChat", userData={"DISP_KEY": "resolved"}, capabilities=["Complete"], uri="/x")
    assert (session.id, session.agent, session.state) == ("0002DaAVKJ0V0095", "agent1", "LeftChat")
    assert session.user_data == {"DISP_KEY": "resolved"}
    assert session.capabilities == {"Complete"}
    assert session.others == {"uri": "/x"}
    assert make_session(session="S1", agent="agent2") == Session(id="S1", agent="agent2", state="Chatting")


def test_transition() -> None:
    """A transition has a session, and a notification that the daemon would read the same from."""
    transition = make_transition("LeftChat", before="Chatting", session="S1", seq=7, comment="hm")
    (read_again,) = read(Message(b"", None, json.dumps(transition.notification).encode()))
    change = derive({"id": "S1", "state": "Chatting"}, read_again)
    assert (change.kind, change.before, change.after) == (Kind.TRANSITION, transition.before, transition.after)
    assert change.document is not None
    assert session_from(change.document, "agent1") == transition.session
    assert (transition.seq, transition.at, transition.origin) == (7, EPOCH, Origin.LIVE)
    assert make_transition().before is None


def test_delivery() -> None:
    """A delivery is on time and at its first attempt, unless told otherwise; its key stays the same over attempts."""
    transition = make_transition(seq=42)
    first = make_delivery(transition, handler="audit")
    assert (first.id, first.handler, first.attempt, first.late) == ("42/audit", "audit", 1, timedelta())
    assert (first.transition, first.due_at) == (transition, transition.at)
    again = make_delivery(transition, handler="audit", attempt=2, late=timedelta(minutes=5))
    assert (again.key, again.attempt, again.late) == (first.key, 2, timedelta(minutes=5))
    others = {make_delivery().key, make_delivery(transition).key, make_delivery(transition, journal="1").key}
    assert len(others | {first.key}) == 4


def test_participants_and_user_data() -> None:
    """What most handlers look at has names of its own; the notification spells it as the platform does."""
    ann, bo = make_participant(), make_participant("Agent", "Bo", id="p2", visibility="Agents")
    transition = make_transition(user_data={"LANGUAGE": "fr"}, participants=[ann, bo], capabilities=["Leave"])
    session = transition.session
    assert (session.user_data, session.capabilities) == ({"LANGUAGE": "fr"}, {"Leave"})
    assert [(each.type, each.nickname) for each in session.participants.values()] == [
        ("Customer", "Ann"),
        ("Agent", "Bo"),
    ]
    assert session.participants["p2"].visibility == "Agents"
    assert transition.notification["facebooksession"]["userData"] == {"LANGUAGE": "fr"}
    assert session == make_session(user_data={"LANGUAGE": "fr"}, participants=[ann, bo], capabilities=["Leave"])


class Patient(Handler):
    """Waits, and then does what the state says."""

    seconds: float = 0.0
    _clock: VirtualClock = PrivateAttr()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Hold a clock."""
        self._clock = VirtualClock()
        yield

    async def handle(self, delivery: Delivery) -> Outcome:
        """Wait first."""
        await asyncio.sleep(self.seconds)
        assert self._clock.monotonic() >= self.seconds
        match delivery.transition.after:
            case "Chatting":
                return Done()
            case "Invited":
                return Defer(timedelta(minutes=delivery.attempt))
            case "LeftChat":
                raise LookupError("not there")
            case _:
                return None  # type: ignore[return-value]


def test_outcome() -> None:
    """A handler's outcome is had in one line, from a transition or a delivery, and in no time."""
    assert outcome_of(Patient(seconds=29), make_transition("Chatting")) == Done()
    assert outcome_of(Patient(), make_delivery(make_transition("Invited"), attempt=5)) == Defer(timedelta(minutes=5))


def test_outcomes() -> None:
    """Several deliveries reach a handler that runs, one after the other."""
    handler = Patient(seconds=20)
    transitions = [make_transition(state) for state in ("Invited", "Chatting")]
    assert outcomes_of(handler, transitions) == [Defer(timedelta(minutes=1)), Done()]


def test_failed_attempts() -> None:
    """What would be a failed attempt is an error: what the handler raised, a time-out, or no outcome at all."""
    with pytest.raises(LookupError, match="not there"):
        outcome_of(Patient(), make_transition("LeftChat"))
    with pytest.raises(TimeoutError):
        outcome_of(Patient(seconds=31), make_transition("Chatting"))
    assert outcome_of(Patient(seconds=31), make_transition("Chatting"), timeout=timedelta(minutes=1)) == Done()
    with pytest.raises(
        TypeError, match=r"handle\(\) returned NoneType; it returns Done\(…\), Defer\(…\) or Reject\(…\)"
    ):
        outcome_of(Patient(), make_transition("Completed"))

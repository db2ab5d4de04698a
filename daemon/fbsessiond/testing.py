"""The kit for handler authors, and for the daemon's own tests: what a handler gets, and time that passes at once.

    def test_greeting() -> None:
        transition = make_transition("Chatting", before="Invited", user_data={"LANGUAGE": "fr"})
        assert outcome_of(Greet(), transition) == Done(Operation.send_message(transition.session, "bonjour"))

Whatever else is known of a session is given in the platform's own keys, as notifications spell them.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from fbsessiond.gap import Gap
from fbsessiond.handler import Delivery, Handler, Outcome, misfit
from fbsessiond.message import Origin
from fbsessiond.notification import Document
from fbsessiond.session import Session, session_from
from fbsessiond.transition import Transition

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""What a `VirtualClock` shows when a virtual loop starts."""


SESSION = "0002DaAVKJ0V0095"
AGENT = "agent1"
TIMEOUT = timedelta(seconds=30)
"""How long a delivery may take, unless the configuration says otherwise."""


def make_participant(type: str = "Customer", nickname: str = "Ann", *, id: str | None = None, **known: Any) -> Document:  # noqa: A002  the platform's words
    """Return somebody who takes part, for `participants`; the id is made from the nickname, unless it is given."""
    return {
        "participantId": id or f"id-of-{nickname}",
        "type": type,
        "nickname": nickname,
        "visibility": "All",
        **known,
    }


def make_session(
    state: str = "Chatting",
    *,
    session: str = SESSION,
    agent: str = AGENT,
    user_data: Mapping[str, Any] | None = None,
    participants: Sequence[Document] | None = None,
    capabilities: Sequence[str] | None = None,
    **known: Any,
) -> Session:
    """Return a session in a state; `known` is what else is said of it, e.g. `comment="…"`, in the platform's keys."""
    return session_from(_document(session, state, user_data, participants, capabilities, known), agent)


def make_transition(
    after: str = "Chatting",
    before: str | None = None,
    *,
    session: str = SESSION,
    agent: str = AGENT,
    seq: int = 1,
    at: datetime = EPOCH,
    origin: Origin = Origin.LIVE,
    gap: Gap | None = None,
    user_data: Mapping[str, Any] | None = None,
    participants: Sequence[Document] | None = None,
    capabilities: Sequence[str] | None = None,
    **known: Any,
) -> Transition:
    """Return a session's transition to a state, with the notification that says so; without `before`, a first sight."""
    document = _document(session, after, user_data, participants, capabilities, known)
    return Transition(
        seq=seq,
        at=at,
        origin=origin,
        agent=agent,
        session=session_from(document, agent),
        before=before,
        after=after,
        raw=msgspec.json.encode(
            {
                "messageType": "FacebooksessionStateChangeMessage",
                "notificationType": "StatusChange",
                "facebooksession": document,
            }
        ),
        gap=gap,
    )


def make_delivery(
    transition: Transition | None = None,
    *,
    handler: str = "handler",
    attempt: int = 1,
    late: timedelta = timedelta(),
    journal: str = "0" * 32,
) -> Delivery:
    """Return a transition's delivery to a handler; deliveries of one transition and `journal` have the same key."""
    transition = transition or make_transition()
    name = f"{transition.seq}/{handler}"
    return Delivery(name, f"{journal}/{name}", handler, attempt, transition.at, late, transition)


def outcome_of(handler: Handler, delivery: Delivery | Transition, *, timeout: timedelta = TIMEOUT) -> Outcome:
    """Return what a handler makes of a delivery, as the daemon runs it: inside `running()`, and on virtual time.

    What the handler raises comes out as it is, `TimeoutError` where it takes too long, and `TypeError` where it returns
    something else than an outcome.
    """
    (outcome,) = outcomes_of(handler, [delivery], timeout=timeout)
    return outcome


def outcomes_of(
    handler: Handler, deliveries: Iterable[Delivery | Transition], *, timeout: timedelta = TIMEOUT
) -> list[Outcome]:
    """Return what a handler makes of several deliveries, one after the other, inside one `running()`."""
    return run_virtual(_handle(handler, deliveries, timeout.total_seconds()))


async def _handle(handler: Handler, deliveries: Iterable[Delivery | Transition], seconds: float) -> list[Outcome]:
    outcomes: list[Outcome] = []
    async with handler.running():
        for each in deliveries:
            delivery = make_delivery(each) if isinstance(each, Transition) else each
            async with asyncio.timeout(seconds):
                outcome = await handler.handle(delivery)
            if (wrong := misfit(outcome)) is not None:
                raise TypeError(wrong)
            outcomes.append(outcome)
    return outcomes


def _document(
    session: str,
    state: str,
    user_data: Mapping[str, Any] | None,
    participants: Sequence[Document] | None,
    capabilities: Sequence[str] | None,
    known: Document,
) -> Document:
    """Return a session as a notification shows it."""
    named = {"userData": user_data, "participants": participants, "capabilities": capabilities}
    return {"id": session, "state": state, **{key: each for key, each in named.items() if each is not None}, **known}


class VirtualClock:
    """A clock that shows the time of the running event loop: virtual under `run_virtual`."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start
        self._stepped = timedelta()

    def now(self) -> datetime:
        """Return the start's time plus the loop's, in UTC."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the running loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    def step(self, by: timedelta) -> None:
        """Set the machine's time forward, or back, as an administrator or NTP would; `stepped` tells it."""
        self._stepped += by

    def stepped(self) -> timedelta:
        """Return by how much it was set since this was last asked, and follow that from now on."""
        by, self._stepped = self._stepped, timedelta()
        self._start += by
        return by


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time: a pause of an hour takes no time, and nothing depends on the machine's speed.

    Raises `RuntimeError` when everything waits for something that can't happen any more. There is no real I/O.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything can run, and then jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        # asyncio's own, a nanosecond, is less than a float's step after 97 days: no timer would be due any more.
        self._clock_resolution = 1e-6
        self.virtual_time = 0.0

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self.virtual_time


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if ready := super().select(0):
            return ready
        if timeout is None:
            raise RuntimeError("nothing can happen any more: every task waits, and no timer runs")
        self._loop.virtual_time += timeout
        return []

"""The CometD source: GWS's notifications as batches, each asked for only after the one before is on disk."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NoReturn, Self

import structlog

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.cometd.client import SteppedClient
from fbsessiond.cometd.events import (
    NOTHING_TRIED,
    Closed,
    Connected,
    ConnectionEvent,
    ConnectionStatus,
    Handshaken,
    Lost,
    Refused,
    Resumed,
    SinkSlow,
    Subscribed,
    SubscriptionRefused,
)
from fbsessiond.cometd.handover import Handover
from fbsessiond.cometd.proving import read_position
from fbsessiond.cometd.reception import Reception
from fbsessiond.cometd.rules import SLOW_SINK_SECONDS
from fbsessiond.cometd.transport import Wire
from fbsessiond.gws.access import Access
from fbsessiond.message import Batch

log = structlog.get_logger()

LOGGED_AS = {
    Handshaken: ("info", "cometd.handshaken"),
    Resumed: ("info", "cometd.resumed"),
    Connected: ("debug", "cometd.connected"),
    Subscribed: ("info", "cometd.subscribed"),
    SubscriptionRefused: ("warning", "cometd.subscription.refused"),
    Lost: ("warning", "cometd.lost"),
    Refused: ("error", "cometd.refused"),
    SinkSlow: ("warning", "cometd.sink.slow"),
    Closed: ("info", "cometd.closed"),
}
"""Each event's level and name in the log."""


@dataclass(frozen=True, slots=True)
class CometdSettings:
    """Where one agent's notifications come from."""

    agent: str
    """The name that each batch carries."""
    url: str
    """The whole URL of the CometD endpoint, e.g. http://gws:8090/api/v2/notifications."""
    channels: tuple[str, ...] = ("/v2/me/*",)
    """What to subscribe to; wildcards as in Bayeux. One that is refused doesn't hinder the others."""
    transports: tuple[str, ...] = ("long-polling",)
    """In the order of preference: "long-polling", "websocket". GWS has long-polling only. [GWS 8.5.2, CometD]"""
    sign_in_url: str | None = None
    """What to GET before each handshake, so that cookies and CSRF token are there: GWS's own clients take /me."""
    keep: bool = False
    """Say with each proof where the next process can go on, and end without /meta/disconnect.

    The server keeps the session for its `maxInterval`, by default 10 s. [CometD 3, Server Configuration]
    """


class CometdSource:
    """An endless source of batches, which recovers from whatever happens to the server or the way there.

    Iterating raises `RefusedError` once the credentials are refused, freshly sent; nothing else ends it but `aclose` of
    the iterator. `observe` is called with each `ConnectionEvent`, in order; it must not block, nor raise.
    """

    def __init__(
        self,
        settings: CometdSettings,
        access: Access,
        *,
        clock: Clock,
        chance: Chance,
        position: bytes | None = None,
        observe: Callable[[ConnectionEvent], None] = lambda _: None,
        handshakes: asyncio.Semaphore | None = None,
    ) -> None:
        """Take what it needs, and the position of the process before, with which the first iterator goes on.

        Sources that share `handshakes` begin their sessions by turns: so many at a time.
        """
        self._handshakes = handshakes
        self._settings = settings
        self._log = log.bind(agent=settings.agent)
        self._access = access
        self._clock = clock
        self._chance = chance
        self._observe = observe
        self._position = read_position(
            position, settings.url, access.identity, transports=settings.transports, channels=settings.channels
        )
        self._reception: Reception | None = None
        self._status = NOTHING_TRIED

    @property
    def status(self) -> ConnectionStatus:
        """How the connection is now."""
        return self._status

    @property
    def is_moving(self) -> bool:
        """Whether it gets on: each of its steps has a time by which it is over, the commit before it included."""
        return self._reception is None or self._reception.is_moving

    def renew(self) -> None:
        """Begin a new session now: the one that there is says that all is well, and isn't."""
        if self._reception is not None:
            self._reception.renew()

    def __aiter__(self) -> "CometdBatches":
        """Begin with the first batch that is asked for, in a new session or the position's; one iterator at a time."""
        handover = Handover(self._settings.agent, self._clock)
        wire = Wire(self._access, handover)
        settings = self._settings
        client = SteppedClient(settings.url, settings.transports, wire, sign_in_url=settings.sign_in_url)
        self._reception = Reception(
            client,
            wire,
            settings.channels,
            clock=self._clock,
            chance=self._chance,
            announce=self._announce,
            handshakes=self._handshakes,
        )
        position, self._position = self._position, None
        conversation = partial(self._reception.run, position, keep=settings.keep)
        return CometdBatches(conversation, handover, slow=self._slow)

    def _slow(self) -> None:
        self._announce(SinkSlow(self._clock.now(), SLOW_SINK_SECONDS))

    def _announce(self, event: ConnectionEvent) -> None:
        self._status = self._status.after(event)
        level, name = LOGGED_AS[type(event)]
        if isinstance(event, SubscriptionRefused) and event.times & (event.times - 1):
            level = "debug"  # it is tried again every second: the 1st, 2nd, 4th, 8th … refusal is news
        said = {field.name: getattr(event, field.name) for field in fields(event) if field.name != "at"}
        getattr(self._log, level)(name, **said)
        self._observe(event)


class CometdBatches(AsyncIterator[Batch]):
    """The batches of one conversation. To ask for one says that the one before is committed.

    The conversation runs in a task of its own, so that cancelling `__anext__` takes nothing away: whatever was read
    comes with the next call.
    """

    def __init__(
        self,
        conversation: Callable[[], Coroutine[Any, Any, NoReturn]],
        handover: Handover,
        *,
        slow: Callable[[], None],
    ) -> None:
        self._conversation = conversation
        self._handover = handover
        self._slow = slow
        self._task: asyncio.Task[None] | None = None
        self._slow_timer: asyncio.TimerHandle | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """Wait for the next batch."""
        if self._task is None:
            self._task = asyncio.create_task(self._conversation())
            self._task.add_done_callback(self._ended)
        self._stop_timer()
        batch = await self._handover.take()
        self._slow_timer = asyncio.get_running_loop().call_later(SLOW_SINK_SECONDS, self._slow)
        return batch

    async def aclose(self) -> None:
        """End the conversation, and close all that it opened. What wasn't yielded wasn't acknowledged either."""
        self._stop_timer()
        self._handover.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _stop_timer(self) -> None:
        if self._slow_timer is not None:
            self._slow_timer.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._handover.end(None if task.cancelled() else task.exception())

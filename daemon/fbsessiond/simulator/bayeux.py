"""A CometD server's side of Bayeux: clients, subscriptions, queues and acknowledgements; no sockets.

It answers as the Java server does that GWS runs on: the first connect after a handshake at once, each later one when
there is something to send or after its hold; a client that isn't heard of for `maxInterval` is forgotten, and learns
`402::Unknown client`. With the acknowledgement extension each reply to a connect closes a batch, and carries whatever
no connect has acknowledged yet. [Bayeux 1.0; CometD 3, Server Configuration, Acknowledge Extension]
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from fbsessiond.chance import Chance, choose
from fbsessiond.clock import Clock
from fbsessiond.simulator.bayeux_client import Client, Json, Sent
from fbsessiond.simulator.faults import FaultKind, Faults
from fbsessiond.simulator.happening import Chronicle, What

HEXADECIMAL = "0123456789abcdef"
CLIENT_ID_DIGITS = 26

ACKNOWLEDGED_KEPT = 100_000
"""How many acknowledged notifications are remembered, unless told otherwise."""

GONE_KEPT = 10_000
"""How many clients are remembered that are no more."""

QUEUED_MESSAGES = 100_000
"""A client for which more than this waits is forgotten."""


MISLEADING: Final[Sequence[Json]] = (
    {"reconnect": "handshake", "interval": 0},
    {"reconnect": "none"},
    {"reconnect": "retry", "interval": 8_000},
    {"reconnect": "retry", "interval": -1, "timeout": 10_000},
    {"reconnect": "never heard of", "interval": "soon"},
)
"""Advice of which none is what the server means."""


class Superseded(Exception):  # noqa: N818  no fault: the same client asked again
    """A connect was held when the next one of the same client came; the held one is answered with HTTP status 408."""


@dataclass(frozen=True, slots=True)
class BayeuxSettings:
    """What CometD's configuration calls timeout, interval and maxInterval, with its own defaults."""

    hold_seconds: float = 30.0
    interval_seconds: float = 0.0
    max_interval_seconds: float = 10.0
    acknowledge: bool = True
    """Load the acknowledgement extension."""


class BayeuxServer:
    """All clients. Times run on the running event loop's clock; the clock says when something happened."""

    def __init__(
        self,
        settings: BayeuxSettings,
        clock: Clock,
        chance: Chance,
        chronicle: Chronicle,
        faults: Faults,
        *,
        keep: int = ACKNOWLEDGED_KEPT,
    ) -> None:
        self.settings = settings
        self.clients: dict[str, Client] = {}
        self.gone: deque[Client] = deque(maxlen=GONE_KEPT)
        """Clients that were forgotten, in that order."""
        self.acknowledged: deque[Sent] = deque(maxlen=keep)
        """What clients acknowledged, in that order: each of it must be on their disk."""
        self.published = 0
        self._clock = clock
        self._chance = chance
        self._chronicle = chronicle
        self._faults = faults
        self._answers: Mapping[str, Callable[[Client, Json, Json], Json]] = {
            "/meta/subscribe": self._subscribe,
            "/meta/unsubscribe": self._unsubscribe,
            "/meta/disconnect": self._disconnect,
        }

    async def answer(self, agent: str, messages: Sequence[Json]) -> list[Json]:
        """Answer the messages of one request: notifications first, then the replies.

        A connect is held if it is alone. Raises `Superseded` for one that another connect overtook.
        """
        answers: list[Json] = []
        for message in messages:
            answers += await self._answer_one(agent, message, may_hold=len(messages) == 1)
        return answers

    def publish(self, agent: str, channel: str, data: Json) -> int:
        """Queue a notification for each client of the agent that wants its channel, once; return how many do."""
        self.published += 1
        wanting = [client for client in self.clients.values() if client.agent == agent and client.wants(channel)]
        for client in wanting:
            client.offer(Sent(self.published, agent, client.id, {"channel": channel, "data": data}))
            if client.queued > QUEUED_MESSAGES:
                self.forget(client.id, "too many messages wait")
        return len(wanting)

    def forget(self, client_id: str, because: str = "forgotten") -> None:
        """Forget a client and its queue: its next message is answered with 402."""
        if client := self.clients.pop(client_id, None):
            client.gone_at = self._clock.now()
            self.gone.append(client)
            client.take()
            client.changed.set()
            client.keep()
            self._chronicle.tell(What.GONE, client.agent, because=because)

    def forget_all(self, because: str) -> None:
        """Forget all clients."""
        for client_id in list(self.clients):
            self.forget(client_id, because)

    async def _answer_one(self, agent: str, message: Json, *, may_hold: bool) -> list[Json]:
        channel = message.get("channel")
        reply: Json = {"channel": channel, "successful": True}
        if "id" in message:
            reply["id"] = message["id"]
        if channel == "/meta/handshake":
            return [self._handshake(agent, message, reply)]
        client = self.clients.get(str(message.get("clientId")))
        if client is None or client.agent != agent:
            return [_unknown(reply)]
        if channel == "/meta/connect":
            return await self._connect(client, message, reply, may_hold=may_hold)
        answer = self._answers.get(str(channel), _publish)(client, message, reply)
        # With the extension, nothing but a connect brings notifications; without it, any reply does.
        return [answer] if client.acknowledges else [*client.take(), answer]

    def _handshake(self, agent: str, message: Json, reply: Json) -> Json:
        acknowledges = self.settings.acknowledge and bool(_part(message.get("ext"), "ack"))
        client_id = "".join(choose(self._chance, HEXADECIMAL) for _ in range(CLIENT_ID_DIGITS))
        client = Client(client_id, agent, self._clock.now(), acknowledges=acknowledges)
        self.clients[client_id] = client
        self._await_next(client)
        self._chronicle.tell(What.HANDSHAKEN, agent, acknowledges=acknowledges)
        extension = {"ext": {"ack": True}} if acknowledges else {}
        return {
            **reply,
            "clientId": client_id,
            "version": "1.0",
            "supportedConnectionTypes": ["long-polling"],
            "advice": self._advice(),
            **extension,
        }

    async def _connect(self, client: Client, message: Json, reply: Json, *, may_hold: bool) -> list[Json]:
        if self._faults.strikes(FaultKind.UNKNOWN_CLIENT, agent=client.agent):
            self.forget(client.id, "a fault")
        elif client.subscriptions and self._faults.strikes(FaultKind.UNSUBSCRIBE, agent=client.agent):
            client.subscriptions.clear()
        client.keep()
        self.acknowledged += client.acknowledged(_part(message.get("ext"), "ack"))
        client.connects = number = client.connects + 1
        client.changed.set()  # wakes a connect that is held
        try:
            if may_hold and number > 1:
                await self._hold(client, number, _part(message.get("advice"), "timeout"))
        finally:
            if client.connects == number and not client.is_gone:
                self._await_next(client)
        if client.is_gone:
            return [_unknown(reply)]
        client.connected_at = self._clock.now()
        if "advice" in message:
            reply["advice"] = self._advice()
        if self._faults.strikes(FaultKind.ADVICE, agent=client.agent):
            reply["advice"] = choose(self._chance, MISLEADING)
        if not client.acknowledges:
            return [*client.take(), reply]
        batch, messages = client.close_batch()
        return [*messages, {**reply, "ext": {"ack": batch}}]

    async def _hold(self, client: Client, number: int, asked_ms: Any) -> None:
        """Wait until there is something to send, the time is up, or another connect of the client comes."""
        hold = self.settings.hold_seconds
        if isinstance(asked_ms, int | float):
            hold = min(asked_ms / 1000, hold)
        with suppress(TimeoutError):
            async with asyncio.timeout(hold):
                while not client.queued and not client.is_gone and client.connects == number:
                    client.changed.clear()
                    await client.changed.wait()
        if client.connects != number:
            raise Superseded

    def _subscribe(self, client: Client, message: Json, reply: Json) -> Json:
        channels = _channels(message)
        reply["subscription"] = message.get("subscription")
        if not channels:
            return _refused(reply, "403::subscription_missing")
        if not all(channel.startswith("/") and not channel.startswith("/meta/") for channel in channels):
            return _refused(reply, "403::subscribe_denied")
        if self._faults.strikes(FaultKind.REFUSE_SUBSCRIPTION, agent=client.agent):
            return _refused(reply, "403::subscribe_denied")
        client.subscriptions |= set(channels)
        client.subscribed_at = self._clock.now()
        self._chronicle.tell(What.SUBSCRIBED, client.agent, channels=channels)
        return reply

    def _unsubscribe(self, client: Client, message: Json, reply: Json) -> Json:
        client.subscriptions -= set(_channels(message))
        return {**reply, "subscription": message.get("subscription")}

    def _disconnect(self, client: Client, _: Json, reply: Json) -> Json:
        self.forget(client.id, "disconnected")
        return reply

    def _await_next(self, client: Client) -> None:
        """Forget the client unless its next connect comes within interval and maxInterval."""
        seconds = self.settings.interval_seconds + self.settings.max_interval_seconds
        client.keep()
        loop = asyncio.get_running_loop()
        client.expiry = loop.call_later(seconds, self.forget, client.id, "not heard of for maxInterval")

    def _advice(self) -> Json:
        return {
            "reconnect": "retry",
            "interval": round(self.settings.interval_seconds * 1000),
            "timeout": round(self.settings.hold_seconds * 1000),
        }


def _channels(message: Json) -> list[str]:
    """Return what a message subscribes to: a channel, or a list of channels [Bayeux 1.0 §4.3]."""
    given = message.get("subscription")
    return [str(channel) for channel in (given if isinstance(given, list) else [given]) if channel]


def _publish(_: Client, __: Json, reply: Json) -> Json:
    """Refuse what a client publishes itself."""
    return _refused(reply, "403::publish_denied")


def _unknown(reply: Json) -> Json:
    return {**_refused(reply, "402::Unknown client"), "advice": {"reconnect": "handshake", "interval": 0}}


def _refused(reply: Json, error: str) -> Json:
    return {**reply, "successful": False, "error": error}


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None

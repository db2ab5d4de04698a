"""One CometD client's session, as the server keeps it: subscriptions, and a queue in batches.

With the acknowledgement extension a message stays queued until a connect names its batch, or a later one; each reply
to a connect closes a batch, and brings whatever is queued. [CometD 3, Acknowledge Extension]
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """A message for one client, numbered through all that was ever published."""

    number: int
    agent: str
    client: str
    message: Json


class Client:
    """One client's session: its subscriptions, and what waits for it or for its acknowledgement."""

    def __init__(self, client_id: str, agent: str, handshaken_at: datetime, *, acknowledges: bool) -> None:
        self.id = client_id
        self.agent = agent
        self.acknowledges = acknowledges
        self.subscriptions: set[str] = set()
        self.connects = 0
        self.handshaken_at = handshaken_at
        self.subscribed_at: datetime | None = None
        """When the server last confirmed a subscription."""
        self.connected_at: datetime | None = None
        """When the server last answered a connect successfully, whether or not the answer arrived."""
        self.gone_at: datetime | None = None
        self.changed = asyncio.Event()
        self.expiry: asyncio.TimerHandle | None = None
        self._queue: deque[tuple[int, Sent]] = deque()
        self._batch = 1

    @property
    def is_gone(self) -> bool:
        """Whether the server has forgotten it."""
        return self.gone_at is not None

    @property
    def queued(self) -> int:
        """How many messages wait to be sent or acknowledged."""
        return len(self._queue)

    def wants(self, channel: str) -> bool:
        """Whether it subscribed to a channel, itself or by a wildcard [Bayeux 1.0 §2.2.1]."""
        segments = channel.split("/")
        parents = ("/".join(segments[:depth]) for depth in range(1, len(segments)))
        wanted = {channel, f"{channel.rpartition('/')[0]}/*", *(f"{parent}/**" for parent in parents)}
        return bool(wanted & self.subscriptions)

    def keep(self) -> None:
        """Stop waiting for its next connect."""
        if self.expiry is not None:
            self.expiry.cancel()

    def offer(self, sent: Sent) -> None:
        """Put a message into the open batch."""
        self._queue.append((self._batch, sent))
        self.changed.set()

    def acknowledged(self, number: object) -> list[Sent]:
        """Drop all batches up to this number, and return what they held; anything but a number acknowledges nothing."""
        dropped: list[Sent] = []
        while type(number) is int and self._queue and self._queue[0][0] <= number:
            dropped.append(self._queue.popleft()[1])
        return dropped

    def close_batch(self) -> tuple[int, list[Json]]:
        """Return the batch's number, and all that isn't acknowledged, older batches too."""
        number = self._batch
        self._batch += 1
        return number, [sent.message for _, sent in self._queue]

    def take(self) -> list[Json]:
        """Return what waits, and forget it: without the extension what is sent is gone."""
        messages = [sent.message for _, sent in self._queue]
        self._queue.clear()
        return messages

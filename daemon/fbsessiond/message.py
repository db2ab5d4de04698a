"""What a source yields: batches of messages, as they arrived."""

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from fbsessiond.gap import Break, Proof


class Origin(StrEnum):
    """Where a notification, and a transition derived from it, came from."""

    LIVE = "live"
    """A notification that GWS sent."""
    SNAPSHOT = "snapshot"
    """A difference found by reading the sessions after a gap."""
    REPLAY = "replay"
    """A fixture, replayed."""


@dataclass(frozen=True, slots=True)
class Message:
    """One Bayeux message, as it arrived."""

    raw: bytes
    """The whole message, word for word."""
    channel: str | None
    """Its channel; None for a fixture without the wrapper `{"channel": …, "data": …}`."""
    data: bytes | None
    """Its `data`, word for word: a copy, not a view that would pin the whole response. None: there was none."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that arrived together, and are journaled together."""

    agent: str
    origin: Origin
    received_at: datetime
    messages: tuple[Message, ...]
    proof: Proof | Break | None = None
    """What the source can prove with this batch, which may be empty but for it."""


class Batches(Protocol):
    """An iterator of batches that can be closed."""

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Return itself."""
        ...

    def __anext__(self) -> Awaitable[Batch]:
        """Return the next batch; asking for it says that the last one is on disk."""
        ...

    def aclose(self) -> Awaitable[None]:
        """End it, wherever it is, and free what it holds."""
        ...


class Source(Protocol):
    """Where batches come from. It is asked for its next batch only after the last one is on disk."""

    def __aiter__(self) -> Batches:
        """Begin."""
        ...

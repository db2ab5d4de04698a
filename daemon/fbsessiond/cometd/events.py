"""What becomes known about the connection: one dataclass an event, and the status that they add up to.

They are the seam for the log, for metrics and for readiness; what is proved goes with the batches (`proving`). None
holds customer data, credentials or a whole clientId.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from fbsessiond.cometd.rules import Cause


@dataclass(frozen=True, slots=True)
class Handshaken:
    """A new session began: notifications since the last `Connected` may be missing."""

    at: datetime
    transport: str
    acknowledged: bool
    """The server keeps each batch until it is acknowledged."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Another process's session is taken up; whether the server still knows it, the next connect shows."""

    at: datetime
    transport: str
    acknowledged: bool
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connected:
    """A connect succeeded. Everything that came with it is handed over before this is said."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The server confirmed a subscription."""

    at: datetime
    channel: str


@dataclass(frozen=True, slots=True)
class SubscriptionRefused:
    """The server refused a subscription; it is tried again every second."""

    at: datetime
    channel: str
    times: int
    words: str


@dataclass(frozen=True, slots=True)
class Lost:
    """An exchange came to nothing. The next one follows by itself."""

    at: datetime
    cause: Cause
    words: str
    session: bool
    """The session may still be there, and goes on if it is."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The credentials were refused, freshly sent: the source ends."""

    at: datetime
    words: str


@dataclass(frozen=True, slots=True)
class SinkSlow:
    """A batch isn't committed yet, after so many seconds; the server drops the session if this goes on."""

    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Closed:
    """This side ended the conversation. Without a farewell the server keeps the session for a while."""

    at: datetime
    farewell: bool


ConnectionEvent: TypeAlias = (
    Handshaken | Resumed | Connected | Subscribed | SubscriptionRefused | Lost | Refused | SinkSlow | Closed
)


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """How the connection is now."""

    connected: bool
    """The last exchange with the server succeeded."""
    since: datetime | None
    """Since when that is so, or isn't. None: nothing was tried yet."""
    session: bool
    """The server gave a clientId that it may still know."""
    acknowledged: tuple[str, ...]
    """Channels whose subscription the server confirmed in this session."""
    refused: tuple[str, ...]
    """Channels that it refused; each is tried again every second."""
    last_connect_at: datetime | None
    words: str
    """The same for a person."""

    @property
    def healthy(self) -> bool:
        """Whether notifications arrive, and no channel is refused."""
        return self.connected and bool(self.acknowledged) and not self.refused

    def after(self, event: ConnectionEvent) -> "ConnectionStatus":  # noqa: PLR0911  one return an event
        """Return the status that an event leads to."""
        match event:
            case Handshaken():
                return replace(self, session=True, acknowledged=(), words="a session began")
            case Resumed(channels=channels):
                return replace(self, session=True, acknowledged=channels, words="a session is taken up")
            case Connected(at):
                since = self.since if self.connected else at
                words = self.words if self.refused else "connected"
                return replace(self, connected=True, since=since, last_connect_at=at, words=words)
            case Subscribed(_, channel):
                others = tuple(other for other in self.refused if other != channel)
                words = self.words if others else "subscribed"
                return replace(self, acknowledged=(*self.acknowledged, channel), refused=others, words=words)
            case SubscriptionRefused(_, channel, _, words):
                others = tuple(other for other in self.refused if other != channel)
                return replace(
                    self, refused=(*others, channel), words=f"the subscription of {channel} is refused: {words}"
                )
            case Lost(at, cause, words, session):
                return replace(
                    self,
                    connected=False,
                    since=at if self.connected or self.since is None else self.since,
                    session=session,
                    acknowledged=self.acknowledged if session else (),
                    words=f"{cause}: {words}",
                )
            case Closed(at):
                return replace(self, connected=False, since=at, session=False, acknowledged=(), words="closed")
            case Refused(at, words):
                return replace(self, connected=False, since=at, session=False, acknowledged=(), words=words)
            case _:
                return self


NOTHING_TRIED = ConnectionStatus(
    connected=False, since=None, session=False, acknowledged=(), refused=(), last_connect_at=None, words="not tried yet"
)

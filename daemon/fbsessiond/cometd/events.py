"""What becomes known about the connection: one dataclass an event, and the status that they add up to.

They are the seam for the ledger of gaps, for metrics and for readiness. None holds customer data, credentials or a
whole clientId.

The chain of proof: while the session stays the same, each `Connected` proves that nothing sent since the last one is
missing, given `Handshaken.acknowledged`; without acknowledgements each `Lost` in between may have cost a response. A
new `Handshaken` always means a gap: from the last `Connected` to the first `Subscribed` of each channel.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from fbsessiond.cometd.rules import UNHEALTHY_REFUSALS, Cause


@dataclass(frozen=True, slots=True)
class Handshaken:
    """A new session began: notifications since the last `Connected` may be missing."""

    at: datetime
    transport: str
    acknowledged: bool
    """The server keeps each batch until it is acknowledged."""


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
    Handshaken | Connected | Subscribed | SubscriptionRefused | Lost | Refused | SinkSlow | Closed
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
    """Channels that it refused at least three times in a row."""
    last_connect_at: datetime | None
    words: str
    """The same for a person."""

    @property
    def healthy(self) -> bool:
        """Whether notifications arrive, and no channel is refused for good."""
        return self.connected and bool(self.acknowledged) and not self.refused

    def after(self, event: ConnectionEvent) -> "ConnectionStatus":  # noqa: PLR0911  one return an event
        """Return the status that an event leads to."""
        match event:
            case Handshaken():
                return replace(self, session=True, acknowledged=(), words="a session began")
            case Connected(at):
                since = self.since if self.connected else at
                return replace(self, connected=True, since=since, last_connect_at=at, words="connected")
            case Subscribed(_, channel):
                return replace(
                    self,
                    acknowledged=(*self.acknowledged, channel),
                    refused=tuple(other for other in self.refused if other != channel),
                )
            case SubscriptionRefused(_, channel, times) if times >= UNHEALTHY_REFUSALS and channel not in self.refused:
                return replace(self, refused=(*self.refused, channel))
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

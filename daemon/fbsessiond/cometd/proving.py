"""What one client's conversation proves, and where another process could take it up. No I/O, no clock.

The chain holds while the session is the same and all its subscriptions are confirmed. With acknowledgements a failed
exchange costs nothing: what it brought comes again. Without them a response may be lost with it, so that the chain ends
there; only where nothing was sent, since there was no connection, nothing can have been lost.

A server may make up its mind about a connect when it comes, and answer with success in the end though it dropped the
session meanwhile [seen in cometd-nodejs-server]. So where the very next connect finds the session gone, at once, the
one before proves nothing; nor does another process's, if that was too short ago for the session to have lapsed since.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from fbsessiond.cometd.rules import DEFAULT_HOLD_MS, Cause
from fbsessiond.gap import Break, GapCause, Proof

GAP_CAUSES: Final[Mapping[Cause, GapCause]] = {
    Cause.UNREACHABLE: GapCause.NETWORK,
    Cause.TIMED_OUT: GapCause.NETWORK,
    Cause.CUT: GapCause.NETWORK,
    Cause.STATUS: GapCause.NETWORK,
    Cause.NOT_BAYEUX: GapCause.NETWORK,
    Cause.UNSUCCESSFUL: GapCause.NETWORK,
    Cause.TOO_LONG: GapCause.SESSION_LOST,
    Cause.SESSION_GONE: GapCause.SESSION_LOST,
    Cause.REFUSED: GapCause.REFUSED,
    Cause.FORBIDDEN: GapCause.REFUSED,
    Cause.UNWANTED: GapCause.REFUSED,
}

AT_ONCE_SECONDS = 2.0
"""A server that answers later held the connect, and so knew its session when it came."""

LEAST_KEPT = timedelta(seconds=10)
"""A session of which nothing was heard for so long may have lapsed [CometD 3, maxInterval]."""


class Position(msgspec.Struct, frozen=True):
    """Where a conversation can be taken up by another process, within the time for which the server keeps it."""

    url: str
    whose: str
    """Stands for the credentials: nobody else goes on with this session."""
    client: str
    transport: str
    acknowledges: bool
    batch: int
    """The last batch of which everything is on disk."""
    channels: tuple[str, ...]
    chain: str
    since: datetime
    until: datetime
    """The last proof."""
    before: datetime | None
    """The one before it; None: it was the first."""
    access: bytes
    """Cookies and CSRF token."""
    hold_ms: int = DEFAULT_HOLD_MS
    """How long the server holds a connect: one that isn't answered by then is lost."""

    def encoded(self) -> bytes:
        """Return it as bytes for the journal. They hold secrets."""
        return _encode(self)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Position).decode


def read_position(
    encoded: bytes | None, url: str, whose: str, *, transports: Collection[str], channels: Collection[str]
) -> Position | None:
    """Read a position; None where there is none that this configuration can go on with, or none that can be read."""
    try:
        position = None if encoded is None else _decode(encoded)
    except msgspec.MsgspecError:
        return None
    if position is None or (position.url, position.whose) != (url, whose):
        return None
    is_wanted = position.transport in transports and set(position.channels) <= set(channels)
    return position if is_wanted else None


class Chain:
    """Since when nothing can be missing, told what happens to the conversation."""

    def __init__(self) -> None:
        self._name = ""
        self._since: datetime | None = None
        self._broken_by: GapCause | None = None
        self._last: datetime | None = None
        self._before: datetime | None = None
        self._breaks = 0
        self._acknowledges = False

    @property
    def name(self) -> str:
        """The chain's name: it goes on under it, in another process too."""
        return f"{self._name}/{self._breaks}"

    @property
    def since(self) -> datetime | None:
        """Since when nothing can be missing; None: nothing is proved."""
        return self._since

    @property
    def before(self) -> datetime | None:
        """The proof before the last one: what stands if the last one doesn't. None: the last one stands."""
        return self._before

    def begun(self, client: str, *, acknowledges: bool) -> None:
        """Note a new session: what was before is another chain."""
        self._name, self._acknowledges, self._breaks, self._since = client, acknowledges, 0, None
        self._last = self._before = None

    def resumed(self, position: Position, now: datetime, *, is_listening: bool) -> None:
        """Take up another process's session.

        Without acknowledgements its last response may be lost, and a channel that it hadn't subscribed is new.
        """
        client, _, breaks = position.chain.rpartition("/")
        self._name, self._acknowledges = client, position.acknowledges
        self._breaks = int(breaks) if breaks.isdecimal() else 0
        self._since, self._last = position.since, position.until
        self._before = position.before if now - position.until < LEAST_KEPT else None
        if not (self._acknowledges and is_listening):
            self._end()

    def listening(self, now: datetime) -> None:
        """Note that the server has confirmed every subscription: from here on it keeps what is to be sent."""
        self._since = self._since or now

    def connected(self, now: datetime, *, is_listening: bool) -> Proof | None:
        """Say what a connect that succeeded proves."""
        if not is_listening:
            return None
        self._since, self._broken_by = self._since or now, None
        self._before, self._last = self._last, now
        return Proof(self.name, self._since, now)

    def lost(self, cause: Cause, *, at_once: bool = False) -> Break | None:
        """Note an exchange that came to nothing, perhaps as soon as it was sent; say whether that is news."""
        since = self._before if at_once and cause is Cause.SESSION_GONE else None
        if not self._acknowledges and cause is not Cause.UNREACHABLE:
            self._end()
        return self._broken(GAP_CAUSES[cause], since)

    def refused(self) -> Break | None:
        """Note a subscription that the server refused; say whether that is news."""
        return self._broken(GapCause.SUBSCRIPTION)

    def _end(self) -> None:
        self._breaks, self._since, self._last = self._breaks + 1, None, None

    def _broken(self, cause: GapCause, since: datetime | None = None) -> Break | None:
        if self._broken_by is not None:
            return None
        self._broken_by = cause
        return Break(cause, since)

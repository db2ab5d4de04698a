"""What to do next: the rules of one client's conversation with a CometD server.

No I/O, no event loop, no clock: whoever carries the steps out says what came back, and when (`now`, in seconds on a
monotonic clock). Times from the server are in milliseconds, ours in seconds; names say which.

    Conversation ── Step(HANDSHAKE) ──► server
         ▲                                │ its reply, or what became of the request
         └──── handshaken, declined, connected, failed
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from fbsessiond.chance import Chance
from fbsessiond.cometd.replies import Reply, error_code, own_reconnect, succeeded, whole

FIRST_PAUSE_SECONDS = 0.1
STEADY_PAUSE_SECONDS = (0.5, 1.0)
STEADY_OUTAGE_SECONDS = 15.0
"""Pauses while the server may still keep the session: it does for 10 s, so that pauses of 1, 2, 3 … s lost messages
where these lost none."""

LONGEST_PAUSE_SECONDS = 30.0
OUTAGE_SHARE = 40.0
"""After that the longest pause is a fortieth of the outage so far: 1.5 s after a minute, 30 s after twenty."""

KEPT_SESSION_SECONDS = 60.0
"""An outage after which no server keeps a session: a handshake is tried, even if nothing asked for it."""

HANDSHAKE_SPACING_SECONDS = 5.0
"""A handshake that the server asks for waits until the last one is this old: no storm of handshakes."""

AUTHENTICATION_SPACING_SECONDS = 4.0
"""The least time between two attempts to authenticate afresh in mid-session."""

REFUSAL_SECONDS = 60.0
"""How long credentials that were good are tried again: a server refuses all while what checks them restarts."""

UNWANTED_PAUSE_SECONDS = 20.0
"""How long a server that says `reconnect: none` is left alone."""

CONNECT_SECONDS = 2.0
"""How long a connection may take to be there: a first packet that is lost is sent again after a second."""

ANSWER_SECONDS = 10.0
"""How long a server takes, at most, to answer a request that it doesn't hold."""

SLACK_SECONDS = 5.0
"""How much longer than it said a server may hold a request; and the longest silence within a response."""

FAREWELL_SECONDS = 2.0
"""How long to wait for the reply to /meta/disconnect: it changes nothing."""

DEFAULT_HOLD_MS = 60_000
LONGEST_HOLD_MS = 600_000
LONGEST_INTERVAL_MS = 60_000

SUBSCRIPTION_SPACING_SECONDS = 1.0
SLOW_SINK_SECONDS = 2.0
"""How long a batch takes to commit before a person should know: the session ends when it takes 10 s or so."""


class Cause(StrEnum):
    """Why an exchange with the server came to nothing."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"
    CUT = "cut"
    STATUS = "status"
    NOT_BAYEUX = "not-bayeux"
    TOO_LONG = "too-long"
    REFUSED = "refused"
    FORBIDDEN = "forbidden"
    SESSION_GONE = "session-gone"
    UNSUCCESSFUL = "unsuccessful"
    UNWANTED = "unwanted"


class Do(StrEnum):
    """What a step is."""

    HANDSHAKE = "handshake"
    CONNECT = "connect"
    GIVE_UP = "give-up"


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next, after how many seconds; `cause` is what went wrong before, if anything."""

    do: Do
    pause_seconds: float = 0.0
    cause: Cause | None = None
    afresh: bool = False
    """Forget cookies first."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The server's advice, in its milliseconds [Bayeux 1.0 §4.2]."""

    hold_ms: int = DEFAULT_HOLD_MS
    interval_ms: int = 0
    clamped: bool = False
    """The last advice was beyond what is followed."""
    shared: bool = False
    """The server sees several clients under one cookie, and slows each down."""

    def merged(self, reply: Reply) -> "Advice":
        """Return this advice with what the reply says instead; what it doesn't mention stays [Bayeux 1.0 §3.3]."""
        given = reply.get("advice")
        if not isinstance(given, dict):
            return self
        hold = whole(given.get("timeout"), self.hold_ms)
        interval = whole(given.get("interval"), self.interval_ms)
        followed_hold = min(max(hold, 0), LONGEST_HOLD_MS)
        followed_interval = min(max(interval, 0), LONGEST_INTERVAL_MS)
        return replace(
            self,
            hold_ms=followed_hold,
            interval_ms=followed_interval,
            clamped=(hold, interval) != (followed_hold, followed_interval),
            shared=given.get("multiple-clients") is True,
        )


class Conversation:
    """One client's place in its conversation: whether it has a session, since when the server is lost, and so on."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._session = False
        self._proven = False
        self._fresh = True
        self._was_good = False
        self._refused_at: float | None = None
        self._handshake_at = float("-inf")
        self._authentication_at = float("-inf")
        self._outage_at: float | None = None

    @property
    def session(self) -> bool:
        """Whether the server gave a clientId that it may still know."""
        return self._session

    @property
    def proven(self) -> bool:
        """Whether the last exchange succeeded; if not, the next connect asks for an answer at once."""
        return self._proven

    def handshaken(self, now: float) -> Step:
        """Say what follows a handshake that succeeded."""
        self._session, self._handshake_at = True, now
        return Step(Do.CONNECT)

    def resumed(self) -> Step:
        """Say what follows on another process's session: a connect, if the server still knows it."""
        self._session, self._fresh = True, False
        return Step(Do.CONNECT)

    def renewed(self) -> Step:
        """Say what follows the wish for a new session: a handshake, whatever the server thinks of the old one."""
        self._session = self._proven = False
        return Step(Do.HANDSHAKE)

    def declined(self, reply: Reply, advice: Advice, now: float) -> Step:
        """Say what follows a handshake whose reply is no success."""
        if error_code(reply) in (401, 403):
            return self.failed(Cause.REFUSED, now)
        return self._unsuccessful(reply, advice, now)

    def connected(self, reply: Reply, advice: Advice, now: float) -> Step:
        """Say what follows the reply to a connect."""
        if not succeeded(reply):
            return self._unsuccessful(reply, advice, now)
        self._outage_at, self._proven, self._fresh = None, True, False
        self._was_good, self._refused_at = True, None
        # A success that asks for something else is rare. Only what this very reply says counts: a client that
        # kept an old `handshake` shook hands two thousand times.
        if own_reconnect(reply) in ("handshake", "none"):
            return self._unsuccessful(reply, advice, now)
        return Step(Do.CONNECT, advice.interval_ms / 1000)

    def failed(self, cause: Cause, now: float) -> Step:
        """Say what follows an exchange without a reply that could be used."""
        self._proven = False
        if cause is Cause.REFUSED or (cause is Cause.FORBIDDEN and not self._fresh):
            return self._refused(now)
        pause = self._pause_seconds(now)
        if cause is Cause.TOO_LONG or now - self._outage_since(now) >= KEPT_SESSION_SECONDS:
            self._session = False  # with acknowledgements the same session would send the same again, for ever
        return Step(Do.CONNECT if self._session else Do.HANDSHAKE, pause, cause)

    def _unsuccessful(self, reply: Reply, advice: Advice, now: float) -> Step:
        """Follow the advice of this very reply, and only where there is none the error's number.

        Servers number an unknown client 402, 401 or 403; all of them advise a handshake.
        """
        self._proven = False
        reconnect, code = own_reconnect(reply), error_code(reply)
        if reconnect == "none":
            self._session = False
            return Step(Do.HANDSHAKE, UNWANTED_PAUSE_SECONDS, Cause.UNWANTED)
        if self._session and (reconnect == "handshake" or (reconnect is None and code == 402)):  # noqa: PLR2004  Bayeux's number
            self._session = False
            return Step(
                Do.HANDSHAKE, max(0.0, self._handshake_at + HANDSHAKE_SPACING_SECONDS - now), Cause.SESSION_GONE
            )
        if reconnect is None and code in (401, 403):
            return self._refused(now)
        step = self.failed(Cause.UNSUCCESSFUL, now)
        return replace(step, pause_seconds=max(step.pause_seconds, advice.interval_ms / 1000))

    def _refused(self, now: float) -> Step:
        """Authenticate afresh; what is refused even then stays refused: to go on could lock the account.

        Only credentials that this conversation was good with are tried again, for a while.
        """
        self._session = False
        if self._refused_at is None:
            self._refused_at = now
        if self._fresh and not (self._was_good and now - self._refused_at < REFUSAL_SECONDS):
            return Step(Do.GIVE_UP, cause=Cause.REFUSED)
        pause = max(0.0, self._authentication_at + AUTHENTICATION_SPACING_SECONDS - now)
        self._fresh, self._authentication_at = True, now + pause
        return Step(Do.HANDSHAKE, pause, Cause.REFUSED, afresh=True)

    def _pause_seconds(self, now: float) -> float:
        if self._outage_at is None:
            self._outage_at = now
            return FIRST_PAUSE_SECONDS
        outage = now - self._outage_at
        if outage < STEADY_OUTAGE_SECONDS:
            return self._chance.between(*STEADY_PAUSE_SECONDS)
        longest = min(max(outage / OUTAGE_SHARE, STEADY_PAUSE_SECONDS[1]), LONGEST_PAUSE_SECONDS)
        return longest * self._chance.between(0.5, 1.0)

    def _outage_since(self, now: float) -> float:
        return now if self._outage_at is None else self._outage_at


class Subscriptions:
    """What is wanted, what the server has acknowledged, and what it refused how often. A handshake voids all of it."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._refusals: dict[str, int] = {}
        self._acknowledged: set[str] = set()
        self._tried_at = float("-inf")

    @property
    def acknowledged(self) -> tuple[str, ...]:
        """The channels that the server has confirmed in this session, in the order in which they are wanted."""
        return tuple(channel for channel in self._wanted if channel in self._acknowledged)

    @property
    def missing(self) -> tuple[str, ...]:
        """The channels that the server hasn't confirmed in this session, in the order in which they are wanted."""
        return tuple(channel for channel in self._wanted if channel not in self._acknowledged)

    def due(self, now: float) -> tuple[str, ...]:
        """Return what to subscribe now: what is missing, but once a second at most."""
        if now - self._tried_at < SUBSCRIPTION_SPACING_SECONDS:
            return ()
        self._tried_at = now
        return self.missing

    def accepted(self, channel: str) -> None:
        """Note that the server confirmed a channel."""
        self._acknowledged.add(channel)
        self._refusals.pop(channel, None)

    def was_refused(self, channel: str) -> int:
        """Note a refusal, and return how many there were without a confirmation in between."""
        self._refusals[channel] = self._refusals.get(channel, 0) + 1
        return self._refusals[channel]

    def resumed(self, channels: Iterable[str]) -> None:
        """Take up what another process subscribed in this session."""
        self._acknowledged.update(channels)

    def lapsed(self) -> None:
        """Note that the session is a new one, which has no subscriptions [CometD 3, Subscribing]."""
        self._acknowledged.clear()
        self._tried_at = float("-inf")

    def hold_ms(self, advice: Advice, *, proven: bool) -> int | None:
        """Return what the next connect asks for: an answer at once, or in time for the next attempt to subscribe.

        None: what the server thinks best. Asking for 0 at first brings the proof that the conversation works at once
        instead of after the server's whole hold (10 to 60 s).
        """
        if not proven:
            return 0
        return min(round(SUBSCRIPTION_SPACING_SECONDS * 1000), advice.hold_ms) if self.missing else None


def limit_seconds(channel: str, hold_ms: int) -> float:
    """Return how long to wait for the reply on this channel, when the server may hold a connect for `hold_ms`."""
    if channel == "/meta/connect":
        return max(hold_ms / 1000 + SLACK_SECONDS, ANSWER_SECONDS)
    return FAREWELL_SECONDS if channel == "/meta/disconnect" else ANSWER_SECONDS


def step_seconds(hold_ms: int, channels: int) -> float:
    """Return how long a step takes at most: a connect after all subscriptions, or sign-in and handshake."""
    return limit_seconds("/meta/connect", hold_ms) + (channels + 2) * ANSWER_SECONDS

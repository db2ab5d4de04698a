"""Who may look at the daemon over HTTP, and who may change something there.

| listens            | to look      | to change                                                      |
| a loopback address | this machine | the token; without one nobody can                              |
| a Unix socket      | its owner    | its owner; where there is a token, that                        |
| anywhere else      | the token    | the token                                                      |

The token comes as a bearer's, or once, to sign in: then a cookie stands for it, which says until when, and is signed
with it. So nothing is kept here, and whoever changes the token ends all that. Any web page may lead a browser here:
who changes something has to come from the page itself.
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from fbsessiond.clock import Clock
from fbsessiond.listening import UNIX, host_of, is_loopback

COOKIE: Final = "fbsessiond"

SIGNED_IN: Final = timedelta(hours=12)

WRONG_TOKENS: Final = 5
WRONG_SECONDS: Final = 60.0
"""After so many wrong tokens in so many seconds, none of the same peer is looked at for as long."""

PEERS: Final = 1_000
"""Of so many peers it is known how often they were wrong."""


class Place(StrEnum):
    """Where the interface listens."""

    UNIX = "unix"
    LOOPBACK = "loopback"
    BEYOND = "beyond"


def place_of(listen: str) -> Place:
    """Return where an address is, written as `[http] listen` is."""
    if listen.startswith(UNIX):
        return Place.UNIX
    return Place.LOOPBACK if is_loopback(host_of(listen)) else Place.BEYOND


class Changing(StrEnum):
    """Whether something can be changed by who asks."""

    ALLOWED = "allowed"
    SIGN_IN = "sign-in"
    """With the token."""
    OFF = "off"
    """There is no token."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody gets nothing."""

    status: HTTPStatus
    words: str
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Guard:
    """Knows the token."""

    def __init__(self, place: Place, token: str | None, clock: Clock) -> None:
        self.place = place
        self._token = None if token is None else token.encode()
        self._clock = clock
        self._wrong = _Wrong(clock)

    def refuses_to_show(self, request: web.Request) -> Refusal | None:
        """Say why somebody may not look."""
        if self.place is not Place.BEYOND or self.is_signed_in(request):
            return None
        return self._refuses_bearer(request)

    def refuses_to_change(self, request: web.Request) -> Refusal | None:
        """Say why somebody may not change anything."""
        if refusal := self.refuses_origin(request):
            return refusal
        changing = self.changing(request)
        if changing is Changing.OFF:
            words = "nothing can be changed here without a token: set [http] token, or use `fbsessiond dead`"
            return Refusal(HTTPStatus.FORBIDDEN, words)
        return self._refuses_bearer(request) if changing is Changing.SIGN_IN else None

    def changing(self, request: web.Request) -> Changing:
        """Say whether who asks could change something from the page; a bearer's token isn't looked at."""
        if self._token is None:
            return Changing.ALLOWED if self.place is Place.UNIX else Changing.OFF
        return Changing.ALLOWED if self.is_signed_in(request) else Changing.SIGN_IN

    def refuses_origin(self, request: web.Request) -> Refusal | None:
        """Say why a change doesn't come from the page itself. Who sends neither header is no browser."""
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        is_own = site == "same-origin" if site is not None else origin is None or _host_in(origin) == request.host
        if is_own and request.content_type == "application/json":
            return None
        return Refusal(HTTPStatus.FORBIDDEN, "a change has to come from this page itself, as application/json")

    def sign_in(self, request: web.Request, token: str) -> str | Refusal:
        """Return the cookie that stands for the token."""
        if self._token is None:
            return Refusal(HTTPStatus.FORBIDDEN, "there is no token: set [http] token in the configuration")
        if refusal := self._refuses_token(request, token):
            return refusal
        until = int((self._clock.now() + SIGNED_IN).timestamp())
        return f"{until}.{_signature(self._token, until)}"

    def is_signed_in(self, request: web.Request) -> bool:
        """Say whether who asks has a cookie that stands for the token, and hasn't expired."""
        until, _, signature = request.cookies.get(COOKIE, "").partition(".")
        if self._token is None or not (until.isascii() and until.isdigit() and len(until) <= _LONGEST_TIME):
            return False
        is_ours = hmac.compare_digest(signature.encode(), _signature(self._token, int(until)).encode())
        return is_ours and self._clock.now().timestamp() < int(until)

    def _refuses_bearer(self, request: web.Request) -> Refusal | None:
        if (bearer := _bearer(request)) is None:
            return Refusal(HTTPStatus.UNAUTHORIZED, "this needs the token: sign in, or send it as a bearer", _CHALLENGE)
        return self._refuses_token(request, bearer)

    def _refuses_token(self, request: web.Request, token: str) -> Refusal | None:
        peer = request.remote or ""
        if (seconds := self._wrong.pause(peer)) > 0:
            words = f"too many wrong tokens: try again in {seconds:.0f} s"
            return Refusal(HTTPStatus.TOO_MANY_REQUESTS, words, {"Retry-After": f"{seconds:.0f}"})
        if self._is_token(token):
            return None
        self._wrong.note(peer)
        return Refusal(HTTPStatus.UNAUTHORIZED, "that isn't the token", _CHALLENGE)

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(errors="surrogatepass"), self._token)


_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="fbsessiond"'}

_LONGEST_TIME = 12


def _bearer(request: web.Request) -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _signature(token: bytes, until: int) -> str:
    return hmac.digest(token, f"fbsessiond signed in until {until}".encode(), "sha256").hex()


def _host_in(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


class _Wrong:
    """How often each peer was wrong lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._peers = OrderedDict[str, list[float]]()

    def note(self, peer: str) -> None:
        peer = _neighbourhood(peer)
        self._peers[peer] = [*self._recent(peer), self._clock.monotonic()]
        self._peers.move_to_end(peer)
        if len(self._peers) > PEERS:
            self._peers.popitem(last=False)

    def pause(self, peer: str) -> float:
        """Return for how many seconds a peer isn't listened to."""
        recent = self._recent(_neighbourhood(peer))
        return recent[-1] + WRONG_SECONDS - self._clock.monotonic() if len(recent) >= WRONG_TOKENS else 0.0

    def _recent(self, peer: str) -> list[float]:
        since = self._clock.monotonic() - WRONG_SECONDS
        return [at for at in self._peers.get(peer, []) if at > since]


def _neighbourhood(peer: str) -> str:
    """Return what counts as one peer: of IPv6 the first 64 bits, of which anybody can have all the others."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    return peer if address.version == 4 else address.exploded[:19]  # noqa: PLR2004  the version's name

"""Who is signed in: credentials, HTTP sessions by their cookie, and the CSRF token that each has."""

import base64
import binascii
from collections import OrderedDict
from dataclasses import dataclass

from fbsessiond.chance import Chance, choose

COOKIE = "JSESSIONID"
CSRF_HEADER = "X-CSRF-TOKEN"
KEPT_SESSIONS = 10_000
"""The longest unused go: a client without a cookie store begins one with each request."""

_HEXADECIMAL = "0123456789abcdef"
_TOKEN_DIGITS = 32


@dataclass(frozen=True, slots=True)
class HttpSession:
    """A signed-in client."""

    id: str
    agent: str
    csrf: str
    """Shares the life of the HTTP session. [GWS 8.5.2, Cross Site Request Forgery Protection]"""


class HttpSessions:
    """All HTTP sessions. Every agent has the same password, and a bearer token of its own."""

    def __init__(self, agents: tuple[str, ...], password: str, chance: Chance) -> None:
        self._agents = agents
        self._password = password
        self._chance = chance
        self._sessions: OrderedDict[str, HttpSession] = OrderedDict()

    def find(self, cookie: str | None, authorization: str | None) -> HttpSession | None:
        """Return the session of a request, a new one if need be; None where it isn't authenticated.

        Wrong credentials are refused even beside the cookie of a session.
        """
        agent = None if authorization is None else self._agent_of(authorization)
        session = self._sessions.get(cookie or "")
        if authorization is None or (session and session.agent == agent):
            if session:
                self._sessions.move_to_end(session.id)
            return session
        return None if agent is None else self._begin(agent)

    def end(self, session: HttpSession) -> None:
        """Forget a session."""
        self._sessions.pop(session.id, None)

    def end_all(self) -> None:
        """Forget all of them."""
        self._sessions.clear()

    def _begin(self, agent: str) -> HttpSession:
        session = HttpSession(self._token(), agent, self._token())
        self._sessions[session.id] = session
        if len(self._sessions) > KEPT_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def _agent_of(self, authorization: str) -> str | None:
        scheme, _, value = authorization.partition(" ")
        return {"basic": self._by_password, "bearer": self._by_token}.get(scheme.lower(), _nobody)(value.strip())

    def _by_password(self, value: str) -> str | None:
        """Read `user:password` in Base64 [RFC 7617 §2]."""
        try:
            agent, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return agent if agent in self._agents and password == self._password else None

    def _by_token(self, value: str) -> str | None:
        return next((agent for agent in self._agents if value == token_of(agent)), None)

    def _token(self) -> str:
        return "".join(choose(self._chance, _HEXADECIMAL) for _ in range(_TOKEN_DIGITS))


def token_of(agent: str) -> str:
    """Return an agent's bearer token."""
    return f"token-of-{agent}"


def _nobody(_: str) -> None:
    return None

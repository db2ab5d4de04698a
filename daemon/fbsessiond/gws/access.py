"""One agent's access to GWS: HTTP session, cookies, credentials, CSRF token and TLS.

The platform ties HTTP session, CometD session and agent together by cookies. So there is one `Access` an agent,
shared by its CometD source and its REST client, and never shared between agents: two CometD clients under one
BAYEUX_BROWSER cookie slow each other down.
"""

import base64
import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import Morsel
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self, TypeAlias
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
from yarl import URL

from fbsessiond.errors import ConfigurationError

CONNECTIONS = 8
"""The most connections that one agent opens to GWS. CometD uses one, and REST the others."""

KEEPALIVE_SECONDS = 5.0
"""How long an idle connection is used again: less than a request waits in vain, so that none is that died with it."""

CSRF_NAME_HEADER = "X-CSRF-HEADER"
"""The response header that names the header of the CSRF token [GWS 8.5.2, Cross Site Request Forgery Protection]."""

UNCHANGING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that need no CSRF token."""


@dataclass(frozen=True, slots=True)
class Basic:
    """A user name, perhaps with its tenant, and a password, sent with every request."""

    username: str = field(repr=False)
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if ":" in self.username:
            raise ConfigurationError("a user name can't hold a colon: it would end there [RFC 7617 §2]")

    def identity(self) -> str:
        """Return whose they are."""
        return f"basic {self.username}"

    def authorization(self) -> str:
        """Return the value of the Authorization header [RFC 7617]."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token, sent with every request."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", self.token):
            raise ConfigurationError("a bearer token holds letters, digits and -._~+/ only [RFC 6750 §2.1]")

    def identity(self) -> str:
        """Return whose it is: nobody but its owner knows that, so that it stands for itself."""
        return f"bearer {self.token}"

    def authorization(self) -> str:
        """Return the value of the Authorization header [RFC 6750]."""
        return f"Bearer {self.token}"


Credentials: TypeAlias = Basic | Bearer


class Access:
    """An async context manager around one agent's `aiohttp.ClientSession`.

    Whoever sends a request takes `session`, and adds `headers(method)`; the CSRF token is learned from every
    response by itself. Entering raises `ConfigurationError` where the file of the private CA can't be used.
    """

    def __init__(self, credentials: Credentials, *, certificate_authority: Path | None = None) -> None:
        self._credentials = credentials
        self._certificate_authority = certificate_authority
        self._csrf: dict[str, str] = {}
        self._kept: bytes | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS, ssl=_tls(self._certificate_authority)
            ),
            # unsafe: the platform's own URLs have IP addresses for hosts, whose cookies would be refused otherwise.
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            headers={"User-Agent": "fbsessiond"},
            trace_configs=[_LEARNING],
        )
        _ACCESSES[self._session] = self
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session:
            await session.close()

    @cached_property
    def identity(self) -> str:
        """What stands for the credentials, so that they can be told from others; a password isn't in it."""
        return hashlib.sha256(self._credentials.identity().encode()).hexdigest()[:16]

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session; it never follows a redirect with credentials unless the caller lets it."""
        if self._session is None:
            raise RuntimeError("this access isn't open: enter it with `async with`")
        return self._session

    def headers(self, method: str) -> dict[str, str]:
        """Return what a request needs beyond cookies: Authorization, and the CSRF token if it may change something."""
        csrf = {} if method in UNCHANGING_METHODS else self._csrf
        return {**csrf, "Authorization": self._credentials.authorization()}

    def kept(self) -> bytes:
        """Return cookies and CSRF token as JSON, so that another process can go on with them. They are secrets."""
        if self._kept is None:
            cookies = [_Cookie.of(morsel) for morsel in self.session.cookie_jar]
            self._kept = msgspec.json.encode(_Kept(cookies, self._csrf))
        return self._kept

    def restore(self, kept: bytes, url: str) -> None:
        """Go on with what another process kept for the same server; what can't be read is left out."""
        try:
            found = msgspec.json.decode(kept, type=_Kept)
        except msgspec.MsgspecError:
            return
        origin = URL(url)
        morsels = [(cookie.name, cookie.morsel(origin.raw_host)) for cookie in found.cookies]
        self.session.cookie_jar.update_cookies(morsels, origin)
        self._csrf, self._kept = found.csrf, None

    def forget(self) -> None:
        """Forget cookies and CSRF token: the next request authenticates from nothing but the credentials."""
        self._csrf, self._kept = {}, None
        self.session.cookie_jar.clear()

    def learn(self, headers: Mapping[str, str]) -> None:
        """Keep the CSRF token of a response: it shares the life cycle of the HTTP session, so a new one replaces it."""
        name = headers.get(CSRF_NAME_HEADER, "")
        if value := headers.get(name):
            self._csrf = {name: value}
        if value or "Set-Cookie" in headers:
            self._kept = None


async def _learn(session: aiohttp.ClientSession, _: SimpleNamespace, end: aiohttp.TraceRequestEndParams) -> None:
    _ACCESSES[session].learn(end.response.headers)


_ACCESSES = WeakKeyDictionary[aiohttp.ClientSession, Access]()
"""Whose a session is: they share the one `TraceConfig`, as one each would be 2.5 KB for every agent."""

_LEARNING = aiohttp.TraceConfig()
_LEARNING.on_request_end.append(_learn)


class _Cookie(msgspec.Struct):
    name: str
    value: str
    coded_value: str
    path: str
    domain: str
    secure: bool

    @classmethod
    def of(cls, morsel: "Morsel[str]") -> "_Cookie":
        secure = bool(morsel["secure"])
        return cls(morsel.key, morsel.value, morsel.coded_value, morsel["path"], morsel["domain"], secure)

    def morsel(self, host: str | None) -> "Morsel[str]":
        morsel: Morsel[str] = Morsel()
        # `set` refuses names that servers use all the same, and that aiohttp takes in.
        morsel.__setstate__({"key": self.name, "value": self.value, "coded_value": self.coded_value})  # type: ignore[attr-defined]
        morsel["path"], morsel["secure"] = self.path, self.secure
        if self.domain != host:  # else it is for this host alone
            morsel["domain"] = self.domain
        return morsel


class _Kept(msgspec.Struct):
    cookies: list[_Cookie]
    csrf: dict[str, str]


def _tls(certificate_authority: Path | None) -> ssl.SSLContext | bool:
    """Trust the given CA, and no other; without one, those of the system, which aiohttp reads once for all."""
    if certificate_authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=certificate_authority)
    except OSError as error:
        raise ConfigurationError(
            f"{certificate_authority}: no CA certificates can be read from here: {error}"
        ) from None

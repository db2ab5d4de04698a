"""The handler `webhook`: post each transition to an address, as a signed CloudEvent.

What the answer means [Standard Webhooks 1.0.0, Delivery success and failure]:

| answer | outcome |
|---|---|
| 2xx | done |
| 410 | rejected, as is everything after it until a restart: the receiver wants no more |
| 408, 425, 429, 5xx | deferred by `Retry-After`, or else a failed attempt |
| any other 4xx | rejected: the same request would get the same answer |
| 3xx that isn't followed, none, no connection | a failed attempt |

How often and when a failed attempt is repeated is the dispatch's affair.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from io import BytesIO
from ipaddress import ip_address
from socket import socket
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

import aiohttp
import structlog
from pydantic import AfterValidator, AnyHttpUrl, Field, PrivateAttr, model_validator
from yarl import URL

from fbsessiond import Defer, Delivery, Done, Duration, Handler, HomePath, Outcome, Reject, Secret
from fbsessiond import Webhook as Message
from fbsessiond_handlers.addresses import AddressInfo, is_public, public_socket
from fbsessiond_handlers.retry_after import date_of, pause_of
from fbsessiond_handlers.transition_data import Data

if TYPE_CHECKING:
    from cloudevents.core.bindings.http import HTTPMessage

    from fbsessiond_handlers.webhook_message import Envelope

_log = structlog.get_logger(__name__)

_TRY_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
"""The 4xx that say "not now" rather than "not so"."""

_KEEPS_POST = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}
"""The redirects that may not turn a POST into a GET. [RFC 9110 §15.4.8, §15.4.9]"""

KEEP_SECONDS = 4.0
"""How long an idle connection is kept: less than most servers do, since a POST on one that was just closed fails."""

_ANY_TIMEOUT = Field(gt=timedelta(0), le=timedelta(hours=1))

_MakeSocket: TypeAlias = Callable[[AddressInfo], socket]


class NotDeliveredError(Exception):
    """An attempt failed in a way that another one may not."""


def _envelope_type() -> "type[Envelope]":
    """Import what needs the extra, where it is needed. Raises `ValueError` where the extra isn't installed."""
    try:
        from fbsessiond_handlers.webhook_message import Envelope  # noqa: PLC0415  takes 60 ms
    except ImportError as error:
        raise ValueError(f"needs the extra `webhook`: pip install 'fbsessiond[webhook]' ({error})") from error
    return Envelope


def _without_credentials(url: AnyHttpUrl) -> AnyHttpUrl:
    if url.username is not None or url.password is not None or url.fragment is not None:
        raise ValueError("should hold no username, no password and no '#'")
    return url


class Webhook(Handler):
    """Post each transition to an address."""

    acts_outside: ClassVar[bool] = True

    url: Annotated[AnyHttpUrl, AfterValidator(_without_credentials)] = Field(examples=["https://crm.example/hook"])
    """Where to; without username and password."""
    secrets: Annotated[list[Secret], Field(min_length=1, max_length=10, examples=[[{"env": "WEBHOOK_SECRET"}]])]
    """Signing secrets: the current one, then those that receivers may still know. All of them sign."""
    mode: Literal["structured", "binary"] = "structured"
    """The whole event in the body, or its attributes in headers."""
    data: Data = "state"
    """What goes into the event: ids and states, or all that was received, customer data included."""
    timeout: Annotated[Duration, _ANY_TIMEOUT] = timedelta(seconds=15)
    """How long an attempt may take, redirects included."""
    connect_timeout: Annotated[Duration, _ANY_TIMEOUT] = timedelta(seconds=5)
    """How long a connection may take."""
    redirects: Annotated[int, Field(ge=0, le=10)] = 0
    """How many redirects are followed."""
    allow_private: bool = False
    """Also post to addresses that aren't public."""
    private_hosts: tuple[str, ...] = ()
    """Hosts that may have an address that isn't public."""
    ca_file: HomePath | None = Field(default=None, examples=["/etc/ssl/certs/private-authority.pem"])
    """Certificates of a private authority, trusted instead of the system's."""

    _envelope: "Envelope" = PrivateAttr()
    _anywhere: aiohttp.ClientSession = PrivateAttr()
    _public: aiohttp.ClientSession = PrivateAttr()
    _is_gone: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _can_be_used(self) -> "Webhook":
        _envelope_type()
        host = _plain(self.url.host or "")
        if not self._may_be_private(host) and _is_address(host) and not is_public(host):
            raise ValueError("url should be at a public address, or allow_private = true, or its host in private_hosts")
        return self

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Fetch the secrets, and hold the connections. Raises `OSError` where a secret or the CA file is unusable."""
        secrets = [secret.read(f"secrets.{place}").get_secret_value() for place, secret in enumerate(self.secrets)]
        self._envelope = _envelope_type()(secrets, self.mode, self.data)
        self._is_gone = False
        trusted = self._trusted()
        async with AsyncExitStack() as stack:
            self._anywhere = await stack.enter_async_context(self._session(trusted))
            self._public = await stack.enter_async_context(self._session(trusted, public_socket))
            yield

    async def handle(self, delivery: Delivery) -> Outcome:
        """Post one transition. Raises `NotDeliveredError`, or aiohttp's errors, where another attempt may help."""
        now = delivery.due_at + delivery.late
        return await self._deliver(lambda: self._envelope.seal(delivery, now), now, delivery.handler)

    async def post(self, webhook: Message, key: str, at: datetime) -> Outcome:
        """Post what another handler asked for. Raises as `handle` does."""
        return await self._deliver(lambda: self._envelope.seal_follow_up(webhook, key, at), at, webhook.to)

    async def _deliver(self, seal: "Callable[[], HTTPMessage]", now: datetime, name: str) -> Outcome:
        if self._is_gone:
            return Reject("the endpoint is disabled until a restart: its receiver answered 410 Gone")
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                response = await self._post(seal())
        except TimeoutError as error:
            raise NotDeliveredError("no connection or no answer in time: see connect_timeout and timeout") from error
        if response.status == HTTPStatus.GONE:
            self._disable(name)
        server_now = date_of(response.headers.get("Date", "")) or now
        return judge(response.status, response.headers.get("Retry-After"), server_now)

    async def _post(self, message: "HTTPMessage") -> aiohttp.ClientResponse:
        """Post a message, follow redirects as far as allowed, and return the answer, closed: its body isn't read."""
        url = URL(str(self.url), encoded=True)
        response = await self._post_once(url, message)
        for _ in range(self.redirects):
            if response.status not in _KEEPS_POST or (location := response.headers.get("Location")) is None:
                break
            url = _redirected(url, location)
            response = await self._post_once(url, message)
        return response

    async def _post_once(self, url: URL, message: "HTTPMessage") -> aiohttp.ClientResponse:
        session = self._anywhere if self._may_be_private(_plain(url.raw_host or "")) else self._public
        body = BytesIO(message.body)
        async with session.post(url, data=body, headers=message.headers, allow_redirects=False) as response:
            return response

    def _disable(self, name: str) -> None:
        if not self._is_gone:
            host = self.url.host
            _log.error("webhook.disabled", handler=name, host=host, because="410 Gone", until="restart")
        self._is_gone = True

    def _may_be_private(self, host: str) -> bool:
        return self.allow_private or host in map(_plain, self.private_hosts)

    def _trusted(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # doesn't name the file
            raise OSError(f"ca_file: can't use {self.ca_file}: {error}") from error

    def _session(self, trusted: ssl.SSLContext, make_socket: _MakeSocket | None = None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=trusted, limit=0, keepalive_timeout=KEEP_SECONDS, socket_factory=make_socket
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout.total_seconds()),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "fbsessiond"},
            auto_decompress=False,
        )


def judge(status: int, retry_after: str | None, now: datetime) -> Outcome:
    """Say what an answer means. Raises `NotDeliveredError` where it is a failed attempt.

    `now` is the time in UTC that a date in `Retry-After` counts from.
    """
    answer = f"the receiver answered {status}"
    match status // 100:
        case 2:
            return Done()
        case 4 if status not in _TRY_AGAIN:
            return Reject(answer)
        case 4 | 5 if retry_after is not None and (pause := pause_of(retry_after, now)) is not None:
            return Defer(pause)
        case 3:
            raise NotDeliveredError(f"{answer}, a redirect that isn't followed: see `redirects`, or change the url")
        case _:
            raise NotDeliveredError(answer)


def _redirected(url: URL, location: str) -> URL:
    """Return where a redirect leads. Raises `NotDeliveredError` where that is nowhere that a webhook should go."""
    try:
        target = url.join(URL(location))
    except ValueError as error:
        raise NotDeliveredError("the receiver redirects to what is no address") from error
    if target.scheme not in {url.scheme, "https"} or target.user is not None or target.password is not None:
        raise NotDeliveredError("the receiver redirects to another scheme than https, or with credentials")
    return target


def _plain(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

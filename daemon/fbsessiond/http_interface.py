"""The daemon's HTTP interface: does it live, is it ready, what did it count; and the operator page (`page`).

Without a token it listens on loopback or on a Unix socket that only its own user may use. On loopback a browser of this
machine could be led here by any web page, under a name that the page's author lets point here (DNS rebinding): who asks
for another host than this machine gets nothing, and on a Unix socket nothing of the page. A request without `Host` is
no browser's. Beyond this machine all but `/livez` and the page's own files need the token.
"""

import errno
import logging
import os
import re
import socket
import stat
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypeAlias

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from fbsessiond.clock import Clock
from fbsessiond.errors import ConfigurationError
from fbsessiond.listening import UNIX, is_loopback
from fbsessiond.page.guard import Place
from fbsessiond.page.interface import BODY_BYTES, FILES, Page
from fbsessiond.readiness import Checks, details, is_ready, verdict

Exposition: TypeAlias = Callable[[], tuple[bytes, str]]
"""Returns all metrics as they are now, and their content type."""

PATHS = ("/livez", "/readyz", "/readyz?verbose", "/metrics")

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of each answer."""

TEXT = "text/plain; charset=utf-8"
METHODS = ("GET", "HEAD")

LINE_BYTES = 2048
HEADER_BYTES = 8192
"""The longest request line and header that are read; a browser sends the cookies of all that serves on a machine."""

IDLE_SECONDS = 75.0
"""How long a connection may stay without a request: longer than the usual minute between two scrapes."""

LINGERING_SECONDS = 1.0
"""How long the rest of a request is waited for that was answered before its end; so, too, when the daemon stops."""

BACKLOG = 16

_log = logging.getLogger(__name__)
"""For the library, which tells each failure there. What isn't HTTP is none: who sent it was told, and may repeat it."""
_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))

_HOST = re.compile(r"\[?([^\[\]]*?)\]?(?::\d*)?", re.ASCII)
"""A Host header: `localhost:8707`, `[::1]`."""


@asynccontextmanager
async def serving(
    listen: str, checks: Checks, metrics: Exposition, clock: Clock, page: Page | None = None
) -> AsyncGenerator[str | None, None]:
    """Serve at an address, written as `[http] listen` is; yield it with the port that it got. "": none, and None.

    Without a page there is nothing to be changed; it is needed beyond this machine, since it knows the token.

    Raises `ConfigurationError` where it can't listen.
    """
    if not listen:
        yield None
        return
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listener(listen))
        is_tcp = listener.family != socket.AF_UNIX
        interface = _Interface(checks, metrics, clock, page, is_tcp=is_tcp)
        application = web.Application(client_max_size=BODY_BYTES, middlewares=[interface.guarded])
        application.on_response_prepare.append(_add_headers)
        if page is not None:
            page.add_to(application)
        application.router.add_route("*", "/{path:(?s:.*)}", interface.answer)
        runner = web.AppRunner(
            application,
            logger=_log,
            access_log=None,
            shutdown_timeout=LINGERING_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            max_line_size=LINE_BYTES,
            max_field_size=HEADER_BYTES,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        if not is_tcp:
            path = Path(listener.getsockname())
            stack.callback(_remove, path, _inode(path))
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        yield _in_words(listener)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


@dataclass(frozen=True, slots=True)
class _Interface:
    checks: Checks
    metrics: Exposition
    clock: Clock
    page: Page | None
    is_tcp: bool

    @property
    def guarded(self) -> Middleware:
        """Return what stands before all that is answered."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            return self._refusal(request) or await handler(request)

        return guarded

    async def answer(self, request: web.Request) -> web.Response:
        """Answer what isn't the page's."""
        if request.method not in METHODS:
            refusal = _text(f"only {' and '.join(METHODS)}\n", HTTPStatus.METHOD_NOT_ALLOWED)
            refusal.headers["Allow"] = ", ".join(METHODS)
            return refusal
        return self._answer(request)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self.page is not None and self.page.guard.place is Place.BEYOND:
            if request.path in {"/livez", *FILES} or request.path.startswith("/api/"):  # which ask by themselves
                return None
            refusal = self.page.guard.refuses_to_show(request)
            return None if refusal is None else _text(f"{refusal.words}\n", refusal.status, refusal.headers)
        if (self.is_tcp or request.path not in PATHS) and not _is_for_this_machine(request.headers.get("Host")):
            return _text(
                "the Host header should be this machine's: localhost, 127.0.0.1 or [::1]\n", HTTPStatus.FORBIDDEN
            )
        return None

    def _answer(self, request: web.Request) -> web.Response:
        match request.path:
            case "/livez":
                return _text("alive\n")
            case "/readyz":
                checks = self.checks()
                words = details(checks, self.clock.now()) if "verbose" in request.query else verdict(checks)
                return _text(words, HTTPStatus.OK if is_ready(checks) else HTTPStatus.SERVICE_UNAVAILABLE)
            case "/metrics":
                body, content_type = self.metrics()
                return web.Response(body=body, headers={"Content-Type": content_type})
            case _:
                return _text(f"there is nothing here; there is {', '.join(PATHS)}\n", HTTPStatus.NOT_FOUND)


def _text(words: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=words.encode(), headers={"Content-Type": TEXT, **(headers or {})})


def _is_for_this_machine(host: str | None) -> bool:
    match = _HOST.fullmatch(host) if host is not None else None
    return host is None or (match is not None and is_loopback(match[1]))


def _listener(listen: str) -> socket.socket:
    """Return a socket that listens. Raises `ConfigurationError`."""
    try:
        return _unix_listener(listen.removeprefix(UNIX)) if listen.startswith(UNIX) else _tcp_listener(listen)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise ConfigurationError(
            f'http.listen: can\'t listen on {listen}: {reason}; set [http] listen to another address, or to "" for none'
        ) from error


def _tcp_listener(listen: str) -> socket.socket:
    """Return a socket that listens on a port; no resolver is asked what `localhost` is."""
    host, _, port = listen.rpartition(":")
    host = "127.0.0.1" if host.lower() == "localhost" else host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)


def _unix_listener(name: str) -> socket.socket:
    """Return a socket that listens at a path; nobody can connect before only its own user may."""
    path = Path(name)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listener.bind(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_left_over(path):
                raise
            path.unlink()
            listener.bind(name)
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_left_over(path: Path) -> bool:
    """Say whether a path is that of a socket at which nobody listens any more."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


def _remove(path: Path, inode: int) -> None:
    """Remove the socket's file, while it still listens there; not the file of somebody who came after it."""
    with suppress(OSError):
        if _inode(path) == inode:
            path.unlink()


def _inode(path: Path) -> int:
    return path.lstat().st_ino


def _in_words(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"{UNIX}{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"

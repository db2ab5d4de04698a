"""The page's part of the HTTP interface: its files, what it asks for, and what a person does there."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from fbsessiond.clock import Clock
from fbsessiond.dead_letters import find_dead
from fbsessiond.environment import name_of
from fbsessiond.errors import JournalError
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import ActKind
from fbsessiond.page.changes import Changes
from fbsessiond.page.figures import Figures
from fbsessiond.page.guard import COOKIE, SIGNED_IN, Guard, Place, Refusal
from fbsessiond.page.views import Connections, Views
from fbsessiond.readiness import Checks

log = structlog.get_logger(__name__)

Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_BYTES: Final = 4_096
"""The longest body that is read."""

BODY_SECONDS: Final = 10.0
"""How long a body may take to arrive."""

READING: Final = ("GET", "HEAD")

_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOLDER: Final = files("fbsessiond.page").joinpath("files")
FILES: Final[Mapping[str, tuple[bytes, str]]] = {
    "/" if name == "index.html" else f"/page/{name}": (
        _FOLDER.joinpath(name).read_bytes(),
        f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8",
    )
    for name in (
        *("index.html", "page.css", "icon.svg"),
        *("page.js", "overview.js", "story.js", "timeline.js", "marks.js", "elements.js"),
    )
}
"""The page itself, with its type; it holds nothing of anybody's, so that whoever has to sign in can see it."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Nothing(_Body):
    pass


class _Token(_Body):
    token: Annotated[str, StringConstraints(max_length=1_000)]


class _Letter(_Body):
    delivery: Annotated[str, StringConstraints(max_length=500)]


class _Dropped(_Letter):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


Body = TypeVar("Body", bound=_Body)


class Page:
    """All that stands behind the page."""

    def __init__(self, checks: Checks, figures: Figures, guard: Guard, clock: Clock) -> None:
        self.guard = guard
        self._checks = checks
        self._figures = figures
        self._clock = clock
        self._shown: tuple[Reader, Views] | None = None
        self._changes = Changes(self._version)

    @contextmanager
    def showing(self, reader: Reader, connections: Connections) -> Generator[None, None, None]:
        """Show a journal, and how its agents are connected, for a while: before and afterwards it isn't open."""
        self._shown = (reader, Views(reader, self._checks, connections, self._figures, self._clock))
        try:
            yield
        finally:
            self._shown = None

    def add_to(self, application: web.Application) -> None:
        """Have an application answer for the page."""

        async def stop(_: web.Application) -> None:
            self._changes.stop()

        application.on_shutdown.append(stop)
        for path in FILES:
            application.router.add_route("*", path, _only(READING, _file))
        for path, look in {
            "/events": self._changes.stream,
            "/api/overview": self._overview,
            "/api/sessions/{session:(?s:.+)}": self._story,
        }.items():
            application.router.add_route("*", path, _only(READING, self._guarded(look)))
        for path, act in {
            "/api/sign-in": self._sign_in,
            "/api/sign-out": self._sign_out,
            "/api/dead-letters/retry": self._retry,
            "/api/dead-letters/drop": self._drop,
        }.items():
            application.router.add_route("*", path, _only(("POST",), act))

    @property
    def _reader(self) -> Reader:
        return self._look()[0]

    @property
    def _views(self) -> Views:
        return self._look()[1]

    def _look(self) -> tuple[Reader, Views]:
        if self._shown is None:
            raise JournalError("the journal isn't open: the daemon begins, or ends")
        return self._shown

    def _version(self) -> int:
        try:
            return self._reader.version()
        except JournalError:
            return 0

    # To look.

    def _guarded(self, look: Answer) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            if refusal := self.guard.refuses_to_show(request):
                return _refused(refusal)
            try:
                return await look(request)
            except JournalError as error:
                return _json({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)

        return answer

    async def _overview(self, request: web.Request) -> web.Response:
        standing = {"changes": self.guard.changing(request), "is_signed_in": self.guard.is_signed_in(request)}
        return _json(await self._views.overview() | standing)

    async def _story(self, request: web.Request) -> web.Response:
        story = await self._views.story(request.match_info["session"], request.query.get("agent"))
        if story is None:
            return _json({"error": "the journal doesn't know this session"}, HTTPStatus.NOT_FOUND)
        return _json(story)

    # To change.

    async def _sign_in(self, request: web.Request) -> web.Response:
        if refusal := self.guard.refuses_origin(request):
            return _refused(refusal)
        signed_in = self.guard.sign_in(request, (await _body(request, _Token)).token)
        if isinstance(signed_in, Refusal):
            log.warning("page.sign_in_refused", by=self._who(request), error=signed_in.words)
            return _refused(signed_in)
        log.info("page.signed_in", by=self._who(request))
        response = _json({})
        seconds = int(SIGNED_IN.total_seconds())
        response.set_cookie(COOKIE, signed_in, max_age=seconds, httponly=True, samesite="Strict", path="/")
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        if refusal := self.guard.refuses_origin(request):
            return _refused(refusal)
        await _body(request, _Nothing)
        response = _json({})
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response

    async def _retry(self, request: web.Request) -> web.Response:
        if refusal := self.guard.refuses_to_change(request):
            return _refused(refusal)
        wanted = await _body(request, _Letter)
        return self._act(request, ActKind.RETRY, wanted.delivery)

    async def _drop(self, request: web.Request) -> web.Response:
        if refusal := self.guard.refuses_to_change(request):
            return _refused(refusal)
        wanted = await _body(request, _Dropped)
        return self._act(request, ActKind.DROP, wanted.delivery, wanted.reason)

    def _act(self, request: web.Request, kind: ActKind, delivery: str, reason: str | None = None) -> web.Response:
        """Do what a person wants with a dead letter."""
        now, who = self._clock.now(), self._who(request)
        by = f"{who}, on the page"
        try:
            dead = find_dead(self._reader, delivery)
            is_done = dead is not None and self._reader.act(dead, kind, by=by, at=now, because=reason)
        except JournalError as error:
            return _json({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)
        if not is_done:
            return _json({"error": "it is no dead letter any more"}, HTTPStatus.CONFLICT)
        log.warning("page.acted", act=kind.value, delivery=delivery, by=who)
        return _json({})

    def _who(self, request: web.Request) -> str:
        """Say who asks, as far as that is known."""
        connected = None if request.transport is None else request.transport.get_extra_info("socket")
        if self.guard.place is not Place.UNIX or connected is None:
            return f"somebody at {request.remote}"
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return name_of(struct.unpack("3i", credentials)[1])


class _UnreadableError(Exception):
    """A body isn't what it should be."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.refusal = Refusal(status, words)


def _only(methods: tuple[str, ...], answer: Answer) -> Answer:
    async def limited(request: web.Request) -> web.StreamResponse:
        if request.method in methods:
            try:
                return await answer(request)
            except _UnreadableError as error:
                return _refused(error.refusal)
        refusal = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"only {' and '.join(methods)}", {"Allow": ", ".join(methods)})
        return _refused(refusal)

    return limited


async def _file(request: web.Request) -> web.Response:
    body, content_type = FILES[request.path]
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _body(request: web.Request, model: type[Body]) -> Body:
    """Read what is to be done. Raises `_UnreadableError`."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return model.model_validate_json(await request.read())
    except TimeoutError:
        raise _UnreadableError(HTTPStatus.REQUEST_TIMEOUT, "the request didn't come to its end") from None
    except web.HTTPRequestEntityTooLarge:
        raise _UnreadableError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"should be at most {BODY_BYTES} bytes") from None
    except ValidationError as error:
        fields = [".".join(map(str, problem["loc"])) or "body" for problem in error.errors(include_input=False)]
        raise _UnreadableError(HTTPStatus.BAD_REQUEST, f"isn't as it should be: {', '.join(fields)}") from None


def _refused(refusal: Refusal) -> web.Response:
    return _json({"error": refusal.words}, refusal.status, refusal.headers)


def _json(
    document: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status, body=_written(document), headers={"Content-Type": "application/json", **(headers or {})}
    )


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode(errors="backslashreplace")

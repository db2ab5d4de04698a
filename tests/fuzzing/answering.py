"""A server that says what it is told to, in the place of aiohttp's session: lines, each an answer, and then no more.

A line is a body; `403 …` is one with that status. On a websocket it is a frame, sent when something was asked; lines
after it that begin with `+` follow unasked.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from fbsessiond.gws.access import Access, Basic

OK = 200
_STATUS = re.compile(rb"([1-5]\d\d) ", re.ASCII)


class Over(Exception):  # noqa: N818  the end of a story, and no error
    """All answers are given."""


@dataclass
class Answered:
    """As much of a response as is asked of one."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content_length: int | None = None

    @property
    def content(self) -> "Answered":
        """The response itself is its stream."""
        return self

    async def iter_any(self) -> AsyncGenerator[bytes]:
        """Yield the body."""
        yield self.body


class Answering:
    """As much of an HTTP session as is asked of one."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = deque(lines)
        self.cookie_jar = aiohttp.CookieJar(unsafe=True)
        self.given: list[bytes] = []
        """The bodies of good answers, and the frames, that were given so far."""
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._is_closed = False

    @asynccontextmanager
    async def request(self, method: str, url: str, **rest: Any) -> AsyncGenerator[Answered]:
        """Answer a request with the next line."""
        del method, url, rest
        line = self._next()
        if match := _STATUS.match(line):
            yield Answered(int(match[1]), line[match.end() :])
        else:
            self.given.append(line)
            yield Answered(OK, line)

    @asynccontextmanager
    async def ws_connect(self, *_: Any, **__: Any) -> AsyncGenerator["Answering"]:
        """Open a websocket: this."""
        self._frames, self._is_closed = asyncio.Queue(), False
        yield self

    @property
    def closed(self) -> bool:
        """Whether the websocket was closed."""
        return self._is_closed

    @property
    def close_code(self) -> int:
        """How the websocket was closed."""
        return aiohttp.WSCloseCode.ABNORMAL_CLOSURE

    async def send_json(self, *_: Any, **__: Any) -> None:
        """Take what is asked over the websocket, and say the next line, and those that follow unasked."""
        self._frames.put_nowait(self._next())
        while self._lines and self._lines[0].startswith(b"+"):
            self._frames.put_nowait(self._next()[1:])

    async def receive(self) -> aiohttp.WSMessage:
        """Return the next frame, when there is one; one with a status is the end of the websocket."""
        frame = await self._frames.get()
        if _STATUS.match(frame):
            self._is_closed = True
            return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)
        self.given.append(frame)
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, frame, None)

    def _next(self) -> bytes:
        if not self._lines:
            raise Over
        return self._lines.popleft()


class AnsweredAccess(Access):
    """An agent's access to a server that says what it is told to."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        super().__init__(Basic("agent1", "secret"))
        self.server = Answering(lines)

    @property
    def session(self) -> Any:
        """The session that isn't one."""
        return self.server

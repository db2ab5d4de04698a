import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from cometd_servers import with_sockets
from fbsessiond.looking import LOOK_SECONDS
from fbsessiond.page import changes
from fbsessiond.page.changes import HEARTBEAT_SECONDS, STREAMS, WRITE_SECONDS, Changes


class There:
    """Streams that are served, and what they look at."""

    def __init__(self) -> None:
        self.version = 1
        self.address = ("", 0)
        self.changes = Changes(lambda: self.version)

    @property
    def url(self) -> str:
        """Where they are."""
        return "http://{}:{}/events".format(*self.address)


@asynccontextmanager
async def streaming() -> AsyncGenerator[tuple[There, aiohttp.ClientSession], None]:
    """Serve streams."""
    there = There()
    application = web.Application()
    application.router.add_route("*", "/events", there.changes.stream)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    there.address = runner.addresses[0][:2]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:
        yield there, session
    there.changes.stop()
    await runner.cleanup()


@with_sockets
async def test_change() -> None:
    """A change is told within a moment, with its number; what hasn't changed isn't."""
    async with streaming() as (there, session), session.get(there.url) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert await stream.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        loop = asyncio.get_running_loop()
        for version in (2, 7):
            there.version = version
            began = loop.time()
            assert await stream.content.readuntil(b"\n\n") == b"event: change\ndata: %d\n\n" % version
            assert loop.time() - began <= 2 * LOOK_SECONDS


@with_sockets
async def test_heartbeat() -> None:
    """Where nothing happens a comment comes now and then, so that a dead connection is noticed."""
    async with streaming() as (there, session), session.get(there.url) as stream:
        await stream.content.readuntil(b"\n\n")
        began = asyncio.get_running_loop().time()
        for number in (1, 2):
            assert await stream.content.readuntil(b"\n\n") == b": nothing has changed\n\n"
            assert asyncio.get_running_loop().time() - began == pytest.approx(number * HEARTBEAT_SECONDS, abs=1)


@with_sockets
async def test_stop() -> None:
    """When the daemon stops, streams end at once."""
    async with streaming() as (there, session), session.get(there.url) as stream:
        there.changes.stop()
        began = asyncio.get_running_loop().time()
        assert await stream.content.read() == b"retry: 2000\n\n"
        assert asyncio.get_running_loop().time() - began < LOOK_SECONDS


@with_sockets
async def test_many() -> None:
    """So many streams there are at most; one that is left makes room."""
    async with streaming() as (there, session):
        streams = [await session.get(there.url) for _ in range(STREAMS)]
        async with session.get(there.url) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            assert "too many pages" in (await refused.json())["error"]
        streams.pop().close()
        while there.changes.streams == STREAMS:
            there.version += 1
            await asyncio.sleep(LOOK_SECONDS)
        async with session.get(there.url) as stream:
            assert stream.status == 200
        for stream in streams:
            stream.close()


@with_sockets
async def test_head() -> None:
    """HEAD brings the headers, and no stream."""
    async with streaming() as (there, session), session.head(there.url) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        assert there.changes.streams == 0


@with_sockets
async def test_slow_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that doesn't read is left after a while; nothing piles up for it."""
    monkeypatch.setattr(changes, "write", blocked(changes.write))
    async with streaming() as (there, _):
        reader, writer = await asyncio.open_connection(*there.address)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = asyncio.get_running_loop().time()
        assert await reader.readexactly(4) == b"HTTP"
        while there.changes.streams:
            there.version += 1
            await asyncio.sleep(LOOK_SECONDS)
        assert asyncio.get_running_loop().time() - began <= WRITE_SECONDS + 10
        writer.transport.abort()


def blocked(write: changes.Write) -> changes.Write:
    """Return a way to write which sends so much that no client's buffers take it."""

    async def much(response: web.StreamResponse, data: bytes) -> None:
        await write(response, data + b": " + bytes(2**24) + b"\n\n")

    return much

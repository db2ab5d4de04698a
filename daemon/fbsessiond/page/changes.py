"""Server-sent events: whoever looks is told that something changed, and then asks what.

Each stream looks at the journal by itself (`looking`), and says no more than that it has changed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import web

from fbsessiond.looking import LOOK_SECONDS, Looks

HEARTBEAT_SECONDS: Final = 15.0
"""After so long without a change a comment is sent, so that both sides notice a connection that is dead."""

WRITE_SECONDS: Final = 10.0
"""How long a client may take to read; then its stream ends, and it may come again."""

STREAMS: Final = 16

BUFFERED_BYTES: Final = 1_024
"""How much may wait to be read by a client; an event is about 30 bytes."""

HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
"""The last one has nginx pass it on at once."""


class Changes:
    """The streams that are open."""

    def __init__(self, version: Callable[[], int]) -> None:
        """`version` returns a number that changes with whatever is shown."""
        self._version = version
        self.streams = 0
        """How many are open."""
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all streams."""
        self._stopping.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Tell a client of each change until it leaves, or the daemon stops."""
        if self.streams >= STREAMS:
            words = b'{"error": "too many pages are open: close one"}'
            headers = {"Content-Type": "application/json", "Retry-After": "5"}
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, body=words, headers=headers)
        response = web.StreamResponse(headers=HEADERS)
        self.streams += 1
        try:
            await response.prepare(request)
            if request.method == "GET" and request.transport is not None:
                request.transport.set_write_buffer_limits(high=BUFFERED_BYTES)
                with suppress(ConnectionError, TimeoutError):
                    await self._tell(response)
        finally:
            self.streams -= 1
        return response

    async def _tell(self, response: web.StreamResponse) -> None:
        looks = Looks(self._version, self._stopping)
        await write(response, b"retry: 2000\n\n")
        quiet_seconds = 0.0
        async for version in looks:
            quiet_seconds += LOOK_SECONDS
            if version is not None:
                quiet_seconds = 0.0
                await write(response, b"event: change\ndata: %d\n\n" % version)
            elif quiet_seconds >= HEARTBEAT_SECONDS:
                quiet_seconds = 0.0
                await write(response, b": nothing has changed\n\n")


Write: TypeAlias = Callable[[web.StreamResponse, bytes], Awaitable[None]]


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Send some bytes. Raises `TimeoutError` where the client doesn't take them."""
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(data)

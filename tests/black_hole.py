"""A TCP proxy that can swallow everything, as a network does that drops packets: nobody is told."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Self

from cometd_servers import LOOPBACK, Proxy

BACKLOG = 1
FILLERS = 8
"""More connections than fit into the backlog: from then on the kernel drops each packet that asks for another."""


class BlackHole(Proxy):
    """A proxy whose connections can fall silent, while new ones don't come about."""

    async def __aenter__(self) -> Self:
        self._listening = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self._serving = set[asyncio.Task[None]]()
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._accepting.cancel()
        self._listening.close()
        self.reset()
        for task in self._serving:
            task.cancel()
        await asyncio.wait([self._accepting, *self._serving])

    @contextmanager
    def swallowing(self) -> Generator[None]:
        """Let nothing through: what there is is silent for good, and what is asked for is never answered."""
        self._accepting.cancel()
        for task in self._serving:
            task.cancel()
        fillers = [socket.socket() for _ in range(FILLERS)]
        for filler in fillers:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect((LOOPBACK, self.port))
        yield
        for filler in fillers:
            filler.close()
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listening)
            try:
                reader, writer = await asyncio.open_connection(sock=connection)
            except OSError:  # it was a filler, which is gone
                connection.close()
                continue
            task = asyncio.create_task(self._serve(reader, writer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

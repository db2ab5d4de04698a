"""A network in memory, for an event loop on virtual time: nothing depends on the machine, and an hour takes a moment.

Servers and clients are asyncio's own, and think that they use TCP on the loopback interface. Underneath each connection
is a pair of sockets that deliver at once, so that time can jump as soon as nothing is readable.
"""

import asyncio
import functools
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fbsessiond.testing import VirtualLoop

T = TypeVar("T")

FIRST_PORT = 50_000


def run_networked(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time, with a network of its own."""
    with asyncio.Runner(loop_factory=NetworkedLoop) as runner:
        return runner.run(main)


def networked(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on virtual time, with a network of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        run_networked(test(*arguments, **named))

    return run


class NetworkedLoop(VirtualLoop):
    """An event loop whose TCP ports are its own."""

    def __init__(self) -> None:
        super().__init__()
        self.listening: dict[int, Callable[[], asyncio.BaseProtocol]] = {}
        """What answers at each port."""
        self._last_port = FIRST_PORT

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Listen at a port; 0 is the next free one."""
        if not port:
            self._last_port += 1
            port = self._last_port
        if port in self.listening:
            raise OSError(98, f"port {port} is in use")
        self.listening[port] = protocol_factory
        return _Server(self, host or "127.0.0.1", port)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **rest: Any) -> Any:
        """Make a transport of a connected socket, or connect one."""
        sock = rest.pop("sock", None)
        if sock is None:
            sock = socket.socket()
            await self.sock_connect(sock, (host, port))
        # What was a TCP socket is one of a pair: as a new object it says so, and no option of TCP is set on it.
        paired = socket.socket(fileno=sock.detach())
        paired.setblocking(False)
        return await super().create_connection(protocol_factory, sock=paired)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to one of our ports: one end of a pair takes the socket's place."""
        if address[1] not in self.listening:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        os.dup2(ours.fileno(), sock.fileno())
        ours.close()
        await self.connect_accepted_socket(self.listening[address[1]], theirs)


class _Server:
    """As much of `asyncio.Server` as is asked of one."""

    def __init__(self, loop: NetworkedLoop, host: str, port: int) -> None:
        self._loop = loop
        self._port = port
        self.sockets = [_Name(host, port)]

    def close(self) -> None:
        self._loop.listening.pop(self._port, None)

    async def wait_closed(self) -> None:
        pass

    def is_serving(self) -> bool:
        return self._port in self._loop.listening


class _Name:
    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def getsockname(self) -> tuple[str, int]:
        return self._address

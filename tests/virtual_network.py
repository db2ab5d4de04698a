"""A network in memory, for an event loop on virtual time: nothing depends on the machine, and an hour takes a moment.

Servers and clients are asyncio's own, and think that they use TCP on the loopback interface. Underneath is no socket:
what one end of a connection writes, the other end receives, after a delay if the network has one, and always in order.
"""

import asyncio
import functools
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from fbsessiond.testing import VirtualLoop

T = TypeVar("T")

FIRST_PORT = 50_000

MOST_UNDERWAY = 256 * 1024
"""So many bytes may be under way to an end before the other one has to pause writing, as with a socket's buffer."""

PROCESS: ContextVar[str] = ContextVar("PROCESS", default="")
"""Whose connections these are, for `NetworkedLoop.sever`; whatever a task starts inherits it."""


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
        self.delay: Callable[[], float] = float
        """Returns how many seconds what is written now takes to arrive."""
        self._listening: dict[int, tuple[Callable[[], asyncio.BaseProtocol], Context]] = {}
        self._connected: dict[socket.socket, int] = {}
        self._ends: dict[_End, str] = {}
        """The clients' ends, in their order, and whose they are."""
        self._last_port = FIRST_PORT
        self._dead: set[str] = set()
        self._rounds = 0
        self._due: dict[int, Callable[[], object]] = {}
        self._hearing: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Let signals that `raise_signal` sends be heard: the process's own would come at any time."""
        self._hearing[sig] = callback, args

    def remove_signal_handler(self, sig: int) -> bool:
        """Let a signal be heard no more."""
        return self._hearing.pop(sig, None) is not None

    def raise_signal(self, number: int) -> None:
        """Send a signal to whoever hears it."""
        if number in self._hearing:
            callback, arguments = self._hearing[number]
            self.call_soon(callback, *arguments)

    def pass_time(self, seconds: float) -> None:
        """Let time pass while nothing can run, as when the loop is blocked."""
        self.virtual_time += seconds

    def after_rounds(self, count: int, callback: Callable[[], object]) -> None:
        """Call this when the loop has gone round so many times from now: time may have passed or not."""
        self._due[self._rounds + count] = callback

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self._rounds += 1
        if self._due and (callback := self._due.pop(self._rounds, None)):
            callback()

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Listen at a port; 0 is the next free one."""
        if not port:
            self._last_port += 1
            port = self._last_port
        if port in self._listening:
            raise OSError(98, f"port {port} is in use")
        self._listening[port] = protocol_factory, copy_context()
        return _Server(functools.partial(self._listening.pop, port, None), host or "127.0.0.1", port)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to one of our ports."""
        if address[1] not in self._listening or PROCESS.get() in self._dead:
            raise ConnectionRefusedError(111, "Connection refused")
        self._connected[sock] = address[1]

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **rest: Any) -> Any:
        """Make the two ends of a connection, of a connected socket or to a port."""
        if (sock := rest.get("sock")) is not None:
            port = self._connected.pop(sock)
            sock.close()
        if port not in self._listening:
            raise ConnectionRefusedError(111, "Connection refused")
        serve, context = self._listening[port]
        name, here = (host or "127.0.0.1", port), copy_context()
        ours, theirs = _End(self, protocol_factory(), here, name), _End(self, serve(), context, name)
        ours.peer, theirs.peer = theirs, ours
        context.copy().run(theirs.begin)
        ours.begin()
        self._ends[ours] = PROCESS.get()
        return ours, ours.get_protocol()

    def sever(self, process: str) -> None:
        """Cut a process off for good, as its death does: nothing that it writes from now on arrives."""
        self._dead.add(process)
        for end in [end for end, owner in self._ends.items() if owner == process]:
            self.forget(end)
            end.die()

    def forget(self, end: "_End") -> None:
        """Take note that an end of a connection is gone."""
        self._ends.pop(end, None)


class _End(asyncio.Transport):
    """One end of a connection: what is written to it arrives at its peer."""

    peer: "_End"

    def __init__(self, loop: NetworkedLoop, protocol: asyncio.BaseProtocol, context: Context, name: Any) -> None:
        super().__init__({"peername": name, "sockname": name})
        self._loop = loop
        self._protocol: Any = protocol
        self._context = context
        self._inbox: deque[Callable[[], object]] = deque()
        self._arrived = 0
        """How many at the head of the inbox have arrived."""
        self._underway = 0
        """How many bytes this end has yet to receive."""
        self._is_pausing = False
        """Whether the protocol was told to pause writing."""
        self._is_reading = True
        self._is_closing = False
        self._is_lost = False

    def begin(self) -> None:
        """Tell the protocol that it is connected."""
        self._protocol.connection_made(self)

    def die(self) -> None:
        """End; the other side notices that this one is gone."""
        self._is_closing = True
        self._loop.call_soon(self.lose, None, context=self._context)
        reset = ConnectionResetError(104, "Connection reset by peer")
        self.peer.expect(functools.partial(self.peer.lose, reset))

    # What asyncio's transports offer.

    def write(self, data: Any) -> None:
        """Let the peer receive this, unless the connection is being closed."""
        if data and not self._is_closing:
            self.peer.expect(functools.partial(self.peer.receive, bytes(data)))
            if self.peer.burden(len(data)) and not self._is_pausing:
                self._is_pausing = True
                self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        """Write several at once."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Let the peer read to the end."""
        self.peer.expect(self.peer.finish)

    def can_write_eof(self) -> bool:
        """Say so."""
        return True

    def close(self) -> None:
        """Let the peer read to the end; both are lost then."""
        if not self._is_closing:
            self._is_closing = True
            self.peer.expect(self.peer.finish)
            self._loop.call_soon(self.lose, None, context=self._context)

    def abort(self) -> None:
        """Close: nothing waits to be written."""
        self.close()

    def is_closing(self) -> bool:
        """Say whether nothing can be written any more."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Let what arrives wait."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Receive what has arrived meanwhile."""
        self._is_reading = True
        self._loop.call_soon(self._receive_all, context=self._context)

    def is_reading(self) -> bool:
        """Say whether what arrives is received."""
        return self._is_reading and not self._is_closing

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the other end has yet to receive."""
        return self.peer._underway

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Have none."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    # What arrives.

    def burden(self, size: int) -> bool:
        """Take note of so many bytes on their way; say whether that should be all for now."""
        self._underway += size
        return self._underway > MOST_UNDERWAY

    def relieve(self) -> None:
        """Let the protocol go on writing, where it had to pause."""
        if self._is_pausing and self.peer._underway <= MOST_UNDERWAY // 2:
            self._is_pausing = False
            self._protocol.resume_writing()

    def expect(self, event: Callable[[], object]) -> None:
        """Let something arrive after the network's delay, but not before what was sent earlier."""
        self._inbox.append(event)
        if delay := self._loop.delay():
            self._loop.call_later(delay, self._arrive, context=self._context)
        else:
            self._loop.call_soon(self._arrive, context=self._context)

    def receive(self, data: bytes) -> None:
        """Hand data to the protocol."""
        self._underway -= len(data)
        self.peer.relieve()
        if not self._is_closing:
            self._protocol.data_received(data)

    def finish(self) -> None:
        """Tell the protocol that nothing more comes; unless it wants to go on writing, that is the end."""
        if not self._is_closing and not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None) -> None:
        """Tell the protocol, once, that it is no longer connected."""
        if not self._is_lost:
            self._is_closing = self._is_lost = True
            self._loop.forget(self)
            self._protocol.connection_lost(error)

    def _arrive(self) -> None:
        self._arrived += 1
        self._receive_all()

    def _receive_all(self) -> None:
        while self._arrived and (self._is_reading or self._is_closing):
            self._arrived -= 1
            self._inbox.popleft()()


class _Server:
    """As much of `asyncio.Server` as is asked of one."""

    def __init__(self, end: Callable[[], object], host: str, port: int) -> None:
        self._end = end
        self._is_serving = True
        self.sockets = [_Name(host, port)]

    def close(self) -> None:
        self._is_serving = False
        self._end()

    async def wait_closed(self) -> None:
        pass

    def is_serving(self) -> bool:
        return self._is_serving


class _Name:
    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def getsockname(self) -> tuple[str, int]:
        return self._address

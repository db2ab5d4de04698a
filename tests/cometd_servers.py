"""CometD servers to test against: other projects', one that follows a script, and a proxy that breaks things."""

import asyncio
import functools
import json
import selectors
import shutil
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

import aiohttp
import pytest
from aiohttp import web

from fbsessiond.chance import SeededChance
from fbsessiond.clock import Clock, SystemClock
from fbsessiond.cometd.events import ConnectionEvent
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.environment import variables
from fbsessiond.gap import Break, Proof
from fbsessiond.gws.access import Access, Basic
from fbsessiond.message import Batch, Message
from fbsessiond.testing import VirtualClock

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]

INTEROP = Path(__file__).parent / "interop"
LOOPBACK = "127.0.0.1"
START_SECONDS = 20.0


def run_with_sockets(main: Coroutine[Any, Any, T]) -> T:
    """Run on virtual time, with real sockets between parts of this process: a pause of an hour takes a millisecond."""
    with asyncio.Runner(loop_factory=_LoopWithSockets) as runner:
        return runner.run(main)


def with_sockets(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on virtual time, with real sockets between its parts, where a network in memory won't do."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        run_with_sockets(test(*arguments, **named))

    return run


class _LoopWithSockets(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_PatientSelector(self))
        self.virtual_time = 0.0

    def time(self) -> float:
        return self.virtual_time


class _PatientSelector(selectors.SelectSelector):
    """The loopback interface delivers at once, but not always in that moment: before time jumps, sockets get 5 ms."""

    def __init__(self, loop: _LoopWithSockets) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        wait = 0.0 if timeout is not None and timeout <= 0 else 0.005
        if ready := super().select(wait):
            return ready
        if timeout is None:
            raise RuntimeError("nothing can happen any more: every task waits, and no timer runs")
        self._loop.virtual_time += max(timeout, 0.0)
        return []


Said: TypeAlias = list[Json] | web.StreamResponse
Answer: TypeAlias = "Callable[[Json], Said | Awaitable[Said]] | int | bytes | list[Json] | None"
"""What a script answers: messages, a body, an HTTP status, nothing ever (None), or what a function says, in time."""


@dataclass
class ScriptedServer:
    """A CometD server in the test's own process and loop. It answers as CometD does, or as its script says."""

    transports: tuple[str, ...] = ("long-polling", "websocket")
    hold_ms: int = 30_000
    acknowledge: bool = False
    forgetful: bool = False
    """Drop what waits for a session that ends, as servers do; otherwise the next session gets it."""
    answers: dict[str, deque[Answer]] = field(default_factory=dict[str, deque[Answer]])
    """What to answer next on a channel, e.g. "/meta/connect"; each once."""
    received: list[Json] = field(default_factory=list[Json])
    """All messages so far, each with "_headers" and "_at"."""
    handshakes: int = 0
    published: int = 0
    half_open: bool = False
    """Don't answer a websocket's pings."""
    refused_upgrades: int = 0
    """How many websockets to refuse."""
    port: int = 0
    _queue: list[Json] = field(default_factory=list[Json])
    _unacknowledged: dict[int, list[Json]] = field(default_factory=dict[int, list[Json]])
    _batch: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _sockets: list[web.WebSocketResponse] = field(default_factory=list[web.WebSocketResponse])

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}/notifications"

    def script(self, channel: str, *answers: Answer) -> None:
        """Answer the next requests on a channel like this."""
        self.answers.setdefault(channel, deque()).extend(answers)

    def publish(self, *numbers: int, channel: str = "/v2/me/facebooksession") -> None:
        """Send a notification for each number to the one client."""
        self._queue.extend({"channel": channel, "data": {"number": number}} for number in numbers)
        self.published += len(numbers)
        self._wake.set()

    def forget(self) -> None:
        """Drop what waits for the client."""
        self._queue.clear()
        self._unacknowledged.clear()

    def seen(self, channel: str) -> list[Json]:
        """Return what arrived on a channel."""
        return [message for message in self.received if message["channel"] == channel]

    async def push(self, *messages: Json) -> None:
        """Send messages over each websocket, unasked."""
        with suppress(ConnectionError):
            for each in self._sockets:
                await each.send_json(messages)

    async def hang_up(self) -> None:
        """Close each websocket."""
        for each in self._sockets:
            await each.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP request, or serve a websocket."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            self.refused_upgrades -= 1
            return web.Response(status=503) if self.refused_upgrades >= 0 else await self._serve_socket(request)
        messages: list[Json] = await request.json() if request.method == "POST" else [{"channel": "GET"}]
        answer = await self._answer(messages[0], request)
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.Response(body=answer, content_type="application/json")

    async def _serve_socket(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(autoping=not self.half_open)
        await response.prepare(request)
        self._sockets.append(response)

        async def reply(message: Json) -> None:
            answer = await self._answer(message, request)
            assert isinstance(answer, bytes), "a status can't be sent over a websocket"
            with suppress(ConnectionError):
                await response.send_str(answer.decode())

        async with asyncio.TaskGroup() as replying:
            async for frame in response:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    replying.create_task(reply(json.loads(frame.data)[0]))
        self._sockets.remove(response)
        return response

    async def _answer(self, message: Json, request: web.Request) -> bytes | int | web.StreamResponse:
        at = asyncio.get_running_loop().time()
        self.received.append({**message, "_headers": dict(request.headers), "_at": at})
        scripted = self.answers.get(message["channel"])
        if scripted:
            answer = scripted.popleft()
            if answer is None:
                await asyncio.Event().wait()
            if isinstance(answer, bytes | int):
                return answer
            said = answer(message) if callable(answer) else answer
            said = await said if isinstance(said, Awaitable) else said
            return said if isinstance(said, web.StreamResponse) else json.dumps(said).encode()
        return json.dumps(await self._as_cometd_does(message)).encode()

    async def _as_cometd_does(self, message: Json) -> list[Json]:
        reply: Json = {"channel": message["channel"], "id": message.get("id"), "successful": True}
        match message["channel"]:
            case "/meta/handshake":
                self.handshakes += 1
                self._unacknowledged.clear()
                if self.forgetful:
                    self.forget()
                advice = {"reconnect": "retry", "interval": 0, "timeout": self.hold_ms}
                reply |= {"clientId": f"client-{self.handshakes}", "advice": advice, "version": "1.0"}
                reply["supportedConnectionTypes"] = list(self.transports)
                if self.acknowledge:
                    reply["ext"] = {"ack": {"enabled": True}}
                return [reply]
            case "/meta/connect":
                return [*await self._drain(message, reply), reply]
            case "/meta/subscribe":
                return [reply | {"subscription": message["subscription"]}]
            case _:
                return [reply]

    async def _drain(self, message: Json, reply: Json) -> list[Json]:
        known = message.get("ext", {}).get("ack", -1)
        again = [each for number, batch in self._unacknowledged.items() if number > known for each in batch]
        self._unacknowledged = {n: batch for n, batch in self._unacknowledged.items() if n > known}
        hold_ms = message.get("advice", {}).get("timeout", self.hold_ms)
        if not again and not self._queue:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(hold_ms / 1000):
                    await self._wake.wait()
        batch, self._queue = self._queue, []
        if self.acknowledge:
            self._batch += 1
            self._unacknowledged[self._batch] = batch
            reply["ext"] = {"ack": self._batch}
        return again + batch


@asynccontextmanager
async def scripted(server: ScriptedServer | None = None) -> AsyncGenerator[ScriptedServer]:
    """Serve a script on a loopback port."""
    server = server or ScriptedServer()
    application = web.Application()
    application.router.add_route("*", "/{anything:.*}", server.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


class Receiver:
    """A CometD source and somebody who takes its batches, at once or when let."""

    def __init__(
        self,
        settings: CometdSettings,
        access: Access,
        clock: Clock,
        *,
        position: bytes | None = None,
        handshakes: asyncio.Semaphore | None = None,
    ) -> None:
        self.events: list[ConnectionEvent] = []
        self.taken: list[Batch] = []
        """The batches with messages."""
        self.everything: list[Batch] = []
        """All batches, also those with nothing but a proof."""
        self.proofs: list[Proof | Break] = []
        """What all batches proved, in order."""
        self.numbers: list[int] = []
        self.access = access
        self.error: BaseException | None = None
        self.source = CometdSource(
            settings,
            access,
            clock=clock,
            chance=SeededChance(1),
            position=position,
            observe=self._observe,
            handshakes=handshakes,
        )
        self.batches = aiter(self.source)
        self._going = asyncio.Event()
        self._changed = asyncio.Event()
        self._going.set()

    def heard(self, kind: type[T]) -> list[T]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def proved(self) -> list[Proof]:
        """The proofs, without the breaks."""
        return [proof for proof in self.proofs if isinstance(proof, Proof)]

    @property
    def position(self) -> bytes | None:
        """Where another process can go on, as far as is committed."""
        return self.proved[-1].position

    def stall(self) -> None:
        """Don't commit the next batch with messages."""
        self._going.clear()

    def go_on(self) -> None:
        """Commit it."""
        self._going.set()

    async def until(self, holds: Callable[[], object], *, seconds: float = 30.0) -> None:
        """Wait until something holds that events and batches bring about."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def until_received(self, count: int) -> None:
        """Wait until at least so many notifications have arrived."""
        await self.until(lambda: len(self.numbers) >= count)

    async def until_heard(self, kind: type[ConnectionEvent], times: int = 1) -> None:
        """Wait until an event of a kind has happened so many times."""
        await self.until(lambda: len(self.heard(kind)) >= times)

    async def run(self) -> None:
        """Take batches until the source ends."""
        try:
            async for batch in self.batches:
                self.everything.append(batch)
                if batch.proof is not None:
                    self.proofs.append(batch.proof)
                if batch.messages:
                    self.taken.append(batch)
                self.numbers += [number_of(message) for message in batch.messages]
                self._changed.set()
                if batch.messages:
                    await self._going.wait()
        except Exception as error:  # noqa: BLE001  for the test to look at
            self.error = error
            self._changed.set()

    def _observe(self, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._changed.set()


def number_of(message: Message) -> int:
    """Return a notification's number; -1 if it has none."""
    data = json.loads(message.data or b"null")
    number: int = data.get("number", -1) if isinstance(data, dict) else -1
    return number


@asynccontextmanager
async def receiving(
    url: str,
    *,
    clock: Clock | None = None,
    position: bytes | None = None,
    handshakes: asyncio.Semaphore | None = None,
    **settings: Any,
) -> AsyncGenerator[Receiver]:
    """Receive from a server, on the system's clock or the virtual loop's; from a position if there is one."""
    async with Access(Basic("agent1", "secret")) as access:
        receiver = Receiver(
            CometdSettings("agent1", url, **settings),
            access,
            clock or SystemClock(),
            position=position,
            handshakes=handshakes,
        )
        task = asyncio.create_task(receiver.run())
        try:
            yield receiver
        finally:
            await receiver.batches.aclose()
            receiver.go_on()
            await task


@asynccontextmanager
async def receiving_from(
    server: ScriptedServer | None = None, **settings: Any
) -> AsyncGenerator[tuple[ScriptedServer, Receiver]]:
    """Serve a script, and receive from it on virtual time."""
    async with scripted(server) as serving, receiving(serving.url, clock=VirtualClock(), **settings) as receiver:
        yield serving, receiver


def node() -> str:
    """Return the path of Node, with its servers installed; skip the test without it, but fail on CI."""
    found = shutil.which("node")
    if found and (INTEROP / "node_modules").is_dir():
        return found
    reason = "no Node, or its servers aren't installed: npm ci --prefix tests/interop"
    if "CI" in variables:
        pytest.fail(reason)
    pytest.skip(reason)


class NodeServer:
    """A CometD server of another project: a process of its own, told what to do line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.port = 0
        self._process = process

    @classmethod
    async def start(cls, program: str, **options: Any) -> Self:
        """Start `tests/interop/<program>.cjs`, and wait until it listens."""
        server = cls(
            await asyncio.create_subprocess_exec(
                node(),
                str(INTEROP / f"{program}.cjs"),
                json.dumps(options),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )
        server.port = (await server._line())["port"]
        return server

    async def order(self, name: str, **details: Any) -> Json:
        """Give an order, and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, details]).encode() + b"\n")
        return await self._line()

    async def kill(self) -> None:
        """Kill the server, as a crash would."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()

    async def _line(self) -> Json:
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = await self._process.stdout.readline()
        answer: Json = json.loads(line)
        return answer


class Proxy:
    """A TCP proxy on a port of its own, which resets connections and cuts responses when told to."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.upstream_port = upstream_port
        self.cut_after_bytes: int | None = None
        """Cut the next response, or part of one, that is longer than this."""
        self.cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        await self._server.wait_closed()

    def reset(self) -> None:
        """Reset all connections: both sides get RST."""
        for writer in self._writers:
            connection: socket.socket | None = writer.get_extra_info("socket")  # None on a network in memory
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            upstream_reader, upstream = await asyncio.open_connection(LOOPBACK, self.upstream_port)
        except OSError:
            writer.close()
            self._writers.discard(writer)
            return
        self._writers.add(upstream)
        await asyncio.gather(self._pass(reader, upstream), self._pass(upstream_reader, writer, cuts=True))
        self._writers -= {writer, upstream}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cuts: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                cut = self.cut_after_bytes
                if cuts and cut is not None and len(data) > cut:
                    self.cut_after_bytes = None
                    self.cuts += 1
                    writer.write(data[:cut])
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

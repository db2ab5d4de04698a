"""The daemon as a process of its own, and what it takes to feed it: for the tests of the whole."""

import asyncio
import base64
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeAlias

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from cometd_servers import LOOPBACK
from fbsessiond.environment import variables
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.interface import Reader

Json: TypeAlias = dict[str, Any]

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

CHANNEL = "/v2/me/facebooksession"
PASSWORD = "the-secret-of-agent1"  # noqa: S105  of a server in this test
AUTHORIZATION = "Basic " + base64.b64encode(f"agent1:{PASSWORD}".encode()).decode()
SECONDS = 20.0
"""How long anything may take on a slow machine."""


def configure(folder: Path, port: int, handlers: str = "[handlers.log]\n[handlers.audit]\n", **gws: Any) -> Path:
    """Write a configuration for a server on this machine, and return its path.

    It serves no HTTP unless `handlers` has a table `[http]`: daemons side by side would want one port.
    """
    given = {"url": f"http://{LOOPBACK}:{port}", "username": "agent1"} | gws
    settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())
    path = folder / "fbsessiond.toml"
    password = folder / "password"
    password.write_text(PASSWORD)
    http = "" if "[http]" in handlers else '[http]\nlisten = ""\n'
    path.write_text(
        f'state_directory = "{folder / "state"}"\n'
        f'[gws]\n{settings}password = {{ file = "{password}" }}\n{http}{handlers}'
    )
    return path


async def until(holds: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until something holds that another process brings about: the one place where tests look again and again."""
    again = asyncio.Event()
    async with asyncio.timeout(seconds):
        while not holds():
            again.clear()
            asyncio.get_running_loop().call_later(0.02, again.set)
            await again.wait()


class Daemon:
    """A running `fbsessiond`."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[Json] = []
        """What it logged so far."""
        self.words: list[str] = []
        """What else it wrote to standard error."""
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, config: Path, *options: str) -> Self:
        """Start `fbsessiond run`."""
        return cls(await _start("run", "--config", str(config), *options, stdout=DEVNULL))

    def logged(self, event: str, **fields: object) -> list[Json]:
        """Return the lines about an event, so far."""
        wanted = {"event": event} | fields
        return [line for line in self.lines if wanted.items() <= line.items()]

    async def until(self, event: str, count: int = 1, **fields: object) -> Json:
        """Wait until it logs an event, for the nth time; return that line."""
        async with asyncio.timeout(SECONDS):
            while len(found := self.logged(event, **fields)) < count:
                assert not self._reading.done(), f"it ended without {event}: {self.words} {self.lines}"
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, and return its exit status."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it ends by itself; return its exit status."""
        async with asyncio.timeout(SECONDS):
            await asyncio.shield(self._reading)
            return await self.process.wait()

    async def kill(self) -> None:
        """Kill it, if it still runs."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.ended()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if line.startswith(b"{"):
                self.lines.append(json.loads(line))
            else:
                self.words.append(line.decode())
            self._changed.set()
        self._changed.set()


@asynccontextmanager
async def running(config: Path, *options: str) -> AsyncGenerator[Daemon, None]:
    """Run a daemon for as long as a test takes."""
    daemon = await Daemon.start(config, *options)
    try:
        yield daemon
    finally:
        await daemon.kill()


async def command(*arguments: str | Path) -> tuple[int, str, str]:
    """Run another verb of `fbsessiond`; return its exit status, and what it wrote to standard output and error."""
    process = await _start(*map(str, arguments), stdout=PIPE)
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def records(*arguments: str | Path) -> list[Json]:
    """Run a verb with --json; return its lines."""
    status, output, errors = await command(*arguments, "--json")
    assert status == 0, errors
    return [json.loads(line) for line in output.splitlines()]


async def _start(*arguments: str, stdout: int) -> Process:
    program = (sys.executable, "-W", "error", "-m", "fbsessiond")
    ours = {name: value for name, value in variables.items() if not name.startswith(("FBSESSIOND_", "COV_"))}
    return await asyncio.create_subprocess_exec(
        *program, *arguments, stdin=DEVNULL, stdout=stdout, stderr=PIPE, env=ours, limit=2**24
    )


@contextmanager
def reading(config: Path) -> Generator[Reader]:
    """Look at the journal of a configuration."""
    reader = open_reader("sqlite:journal.db", config.parent / "state")
    try:
        yield reader
    finally:
        reader.close()


def document(session: str, state: str, **known: Any) -> Json:
    """Return a notification's data: a session is in a state."""
    return {
        "messageType": "FacebooksessionStateChangeMessage",
        "notificationType": "StatusChange",
        "facebooksession": {"id": session, "state": state, **known},
    }


class Front:
    """What stands before a CometD server: the rest of the platform that the daemon asks, and a ledger of what passes.

    The ledger holds what the daemon was given, and what of it the daemon has told the server that it has.
    """

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.upstream_port = upstream_port
        self.given: dict[tuple[str, int], list[bytes]] = {}
        """Each batch, by its client and number: the texts of its notifications."""
        self.acknowledged: dict[str, int] = {}
        """The last batch that each client said it has."""
        self.status: int | None = None
        """Answer everything with this HTTP status."""
        self.sessions: dict[str, Json] | None = None
        """The agent's sessions by their ids; None: the answer says nothing of them."""
        self.connects = 0
        self.connected = asyncio.Event()
        """Set at each /meta/connect."""

    @property
    def promised(self) -> list[bytes]:
        """Return the notifications that the server counts as acknowledged, and so will never send again."""
        return [
            text
            for (client, number), texts in self.given.items()
            if number <= self.acknowledged.get(client, -1)
            for text in texts
        ]

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Self, None]:
        """Listen on a port of the system's choice."""
        application = web.Application(client_max_size=2**26, middlewares=[self._perhaps])
        application.router.add_get("/api/v2/me", self._me)
        application.router.add_get("/api/v2/me/facebooksessions", self._list)
        application.router.add_post("/api/v2/notifications", self._notifications)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, self.port).start()
        self.port = runner.addresses[0][1]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            try:
                yield self
            finally:
                await runner.cleanup()

    @web.middleware
    async def _perhaps(self, request: web.Request, handler: Handle) -> web.StreamResponse:
        return await handler(request) if self.status is None else web.Response(status=self.status)

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response({"statusCode": 0, "user": {"userName": "agent1"}})

    async def _list(self, _: web.Request) -> web.Response:
        known = {} if self.sessions is None else {"facebooksessions": list(self.sessions.values())}
        return web.json_response({"statusCode": 0, **known})

    async def _notifications(self, request: web.Request) -> web.Response:
        sent: list[Json] = await request.json()
        self._note_request(sent)
        headers = {name: request.headers[name] for name in ("Authorization", "Cookie") if name in request.headers}
        url = f"http://{LOOPBACK}:{self.upstream_port}/"
        try:
            async with self._session.post(url, json=sent, headers=headers) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectionError:
            return web.Response(status=502)
        if answer.status == 200:
            self._note_response(sent[0].get("clientId", ""), body)
        cookies = [("Set-Cookie", cookie) for cookie in answer.headers.getall("Set-Cookie", [])]
        return web.Response(
            status=answer.status, body=body, headers=CIMultiDict(cookies), content_type="application/json"
        )

    def _note_request(self, sent: list[Json]) -> None:
        for message in sent:
            if message["channel"] == "/meta/connect":
                self.connects += 1
                self.connected.set()
                self.acknowledged[message["clientId"]] = message.get("ext", {}).get("ack", -1)

    def _note_response(self, client: str, body: bytes) -> None:
        messages: list[Json] = json.loads(body)
        texts = [compact(message["data"]) for message in messages if not message["channel"].startswith("/meta/")]
        assert all(text in body for text in texts), "the server writes JSON as this test does"
        for reply in (message for message in messages if "ext" in message):
            if isinstance(number := reply["ext"].get("ack"), int) and reply["channel"] == "/meta/connect":
                self.given[client, number] = texts


def compact(data: object) -> bytes:
    """Return JSON's text as the server writes it."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


class Publisher:
    """A Bayeux client that publishes notifications through a server, as the platform does from within."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._client = ""

    def move(self, port: int) -> None:
        """Go on with a server at another port."""
        self._url = f"http://{LOOPBACK}:{port}/"

    async def publish(self, *documents: object, channel: str = CHANNEL) -> None:
        """Publish notifications; on return the server has handed them to its sessions."""
        replies = await self._publish(documents, channel)
        if any(reply.get("error", "").startswith("402") for reply in replies):  # the server forgets who never connects
            handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
            (reply,) = await self._post([handshake])
            self._client = reply["clientId"]
            replies = await self._publish(documents, channel)
        assert all(reply["successful"] for reply in replies), replies

    async def _publish(self, documents: Sequence[object], channel: str) -> list[Json]:
        return await self._post([{"channel": channel, "data": data, "clientId": self._client} for data in documents])

    async def _post(self, messages: list[Json]) -> list[Json]:
        async with self._session.post(self._url, json=messages) as response:
            replies: list[Json] = await response.json()
            return [reply for reply in replies if "successful" in reply]


@asynccontextmanager
async def publishing(port: int) -> AsyncGenerator[Publisher, None]:
    """Publish to a server on this machine."""
    cookies = aiohttp.CookieJar(unsafe=True)  # from a host without a name
    async with aiohttp.ClientSession(headers={"Authorization": AUTHORIZATION}, cookie_jar=cookies) as session:
        yield Publisher(session, f"http://{LOOPBACK}:{port}/")

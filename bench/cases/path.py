"""The whole path: received, journaled, handled by three handlers, settled."""

import asyncio
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from fbsessiond.chance import SeededChance
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.gws.access import Access, Basic
from fbsessiond.service import Pipeline
from measure import Comparison, Side, Work
from peers.huey_sqlite import HUEY
from peers.javascript import JAVASCRIPT
from peers.jetstream import JETSTREAM
from server import Server, serving
from work import CLOCK, COUNT, HANDLERS, bursts, log, messages, opened, pipeline_to, settle


@contextmanager
def one_process_ours(folder: Path) -> Generator[Work]:
    """Batches to intake, journal, handlers, and settled."""
    batches = bursts(messages())
    with opened(folder) as journal:
        way, counting = pipeline_to(journal)
        yield Work(lambda: asyncio.run(settle(way, batches)), COUNT)
        assert counting.counts[0] == COUNT * len(HANDLERS)


@contextmanager
def one_process_limit(folder: Path) -> Generator[Work]:
    """The same bytes decoded and appended, one `fdatasync` a batch."""
    batches = bursts(messages())
    with log(folder) as append:

        def run() -> None:
            for batch in batches:
                for message in batch.messages:
                    orjson.loads(message.raw)
                append(b"".join(message.raw for message in batch.messages))

        yield Work(run, COUNT)


@contextmanager
def _sockets_ours(folder: Path) -> Generator[Work]:
    with serving() as server, opened(folder) as journal, asyncio.Runner() as runner:
        way, counting = pipeline_to(journal)
        stack = AsyncExitStack()
        runner.run(connect(stack, server, way))

        async def receive() -> None:
            server.send(COUNT)
            while counting.counts[0] < COUNT * len(HANDLERS):
                await asyncio.sleep(0.01)
            await way.dispatch.drain()

        yield Work(lambda: runner.run(receive()), COUNT)
        runner.run(stack.aclose())


async def connect(stack: AsyncExitStack, server: Server, way: Pipeline) -> None:
    """Listen to the server, and dispatch, until the stack is closed."""
    access = await stack.enter_async_context(Access(Basic("agent", "secret")))
    settings = CometdSettings(agent="agent", url=server.url, channels=("/v2/me/*",))
    source = CometdSource(settings, access, clock=CLOCK, chance=SeededChance(1))
    for work in (way.take_all(source), way.dispatch.run()):
        stack.push_async_callback(_cancel, asyncio.create_task(work))
    while not source.status.healthy:
        await asyncio.sleep(0.01)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@contextmanager
def _sockets_limit(folder: Path) -> Generator[Work]:
    with serving() as server, log(folder) as append, asyncio.Runner() as runner:
        http = runner.run(_bare_client())
        exchange = partial(_exchange, http, server.url)
        types = ["long-polling"]
        _, (reply,) = runner.run(exchange(channel="/meta/handshake", version="1.0", supportedConnectionTypes=types))
        client = reply["clientId"]
        runner.run(exchange(channel="/meta/subscribe", clientId=client, subscription="/v2/me/*"))

        async def receive() -> None:
            server.send(COUNT)
            received = 0
            while received < COUNT:
                body, replies = await exchange(channel="/meta/connect", clientId=client, connectionType="long-polling")
                append(body)
                received += sum(not reply["channel"].startswith("/meta/") for reply in replies)

        yield Work(lambda: runner.run(receive()), COUNT)
        runner.run(http.close())


async def _bare_client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def _exchange(http: aiohttp.ClientSession, url: str, **message: Any) -> tuple[bytes, list[dict[str, Any]]]:
    async with http.post(url, json=[message]) as response:
        body = await response.read()
        return body, orjson.loads(body)


ONE_PROCESS = Comparison(
    "path",
    "In one process, without sockets: bursts to journaled, handled by three handlers, and settled.",
    Side("fbsessiond", one_process_ours, "the whole pipeline; `synchronous=FULL`"),
    [Side("plain file", one_process_limit, "`orjson.loads`, one `fdatasync` a burst", at_least=0.3)],
)
SOCKETS = Comparison(
    "sockets",
    "From a CometD server in another process, over real sockets, to journaled, handled by three handlers, and settled; "
    "order per session kept over 10,000 sessions.",
    Side("fbsessiond", _sockets_ours, "the CometD source and the whole pipeline; `synchronous=FULL`"),
    [
        Side("plain client", _sockets_limit, "a bare client, `orjson.loads`, one `fdatasync` a response"),
        JAVASCRIPT,
        JETSTREAM,
        HUEY,
    ],
    cpu_at_most=60,
)

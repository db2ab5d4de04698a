"""What is measured, and the limit beside it.

Each side is a generator function that takes a folder: it sets up, yields once, does the work, and yields how many
notifications that was.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from fbsessiond import Delivery, Done, Handler, Outcome
from fbsessiond.chance import SeededChance
from fbsessiond.clock import SystemClock
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.envelope import open_envelope
from fbsessiond.gws.access import Access, Basic
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import Draft, Wanted
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.notification import SessionNotification, read
from fbsessiond.route import Route
from fbsessiond.service import Pipeline
from fbsessiond.session import session_from
from fbsessiond.transition import derive

ROOT = Path(__file__).parent.parent
SAMPLE = json.loads((ROOT / "tests/fixtures/documented/leave-leftchat.json").read_bytes())
COUNT = 10_000
BURST = 100
SESSIONS = 10_000
HANDLERS = ("first", "second", "third")
CLOCK = SystemClock()

Side = Callable[[Path], Iterator[int]]


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison."""

    name: str
    ours: Side
    limit: Side
    limit_is: str


class Counting(Handler):
    """A handler that does nothing but count."""

    counts: list[int] = field(default_factory=lambda: [0])

    async def handle(self, delivery: Delivery) -> Outcome:  # noqa: ARG002  the interface's
        """Count."""
        self.counts[0] += 1
        return Done()


def messages(count: int = COUNT) -> list[Message]:
    """Return the sample notification, over the sessions by turns, each time in another state."""
    return [open_envelope(json.dumps(_sample(number)).encode()) for number in range(count)]


def bursts(all_messages: Sequence[Message]) -> list[Batch]:
    """Return messages as the batches they arrive in."""
    return [
        Batch("agent", Origin.LIVE, CLOCK.now(), tuple(all_messages[start : start + BURST]))
        for start in range(0, len(all_messages), BURST)
    ]


def _sample(number: int) -> dict[str, Any]:
    session = {
        **SAMPLE["data"]["facebooksession"],
        "id": f"0002DaAVKJ{number % SESSIONS:06}",
        "state": "LeftChat" if number // SESSIONS % 2 else "Chatting",
    }
    return {**SAMPLE, "data": {**SAMPLE["data"], "facebooksession": session}}


# Decode and validate.


def decode_ours(_: Path) -> Iterator[int]:
    """Bytes to the tolerant model, the change, and the strict model that handlers see."""
    raws = [message.raw for message in messages()]
    yield 0
    for raw in raws:
        (notification,) = read(open_envelope(raw))
        assert isinstance(notification, SessionNotification)
        change = derive(None, notification)
        session_from(change.document or {}, "agent")
    yield len(raws)


def decode_limit(_: Path) -> Iterator[int]:
    """Bytes to Python objects, nothing checked."""
    raws = [message.raw for message in messages()]
    yield 0
    for raw in raws:
        orjson.loads(raw)
    yield len(raws)


# Append.


def append_ours(folder: Path) -> Iterator[int]:
    """Batches, already understood, with three deliveries an entry, to the journal."""
    now = CLOCK.now()
    batches = [
        (batch, [_draft(message, [Wanted(name, now) for name in HANDLERS]) for message in batch.messages])
        for batch in bursts(messages())
    ]

    async def append(journal: Journal) -> None:
        for batch, drafts in batches:
            await journal.append(batch, drafts, ())

    with _journal(folder) as journal:
        yield 0
        asyncio.run(append(journal))
        yield COUNT


def append_limit(folder: Path) -> Iterator[int]:
    """The same bytes appended to a file, one `fdatasync` a batch."""
    parts = [b"".join(message.raw for message in batch.messages) for batch in bursts(messages())]
    yield 0
    with _log(folder) as append:
        for part in parts:
            append(part)
    yield COUNT


def _draft(message: Message, wanted: Sequence[Wanted]) -> Draft:
    return Draft(message, derive(None, read(message)[0]), None, wanted)


# Dispatch.


def dispatch_ours(folder: Path) -> Iterator[int]:
    """What is in the journal, to three handlers, and settled."""

    async def fill(pipeline: Pipeline) -> None:
        for batch in bursts(messages()):
            await pipeline.intake.take(batch)

    with _journal(folder) as journal:
        pipeline, counting = _pipeline(journal)
        asyncio.run(fill(pipeline))
        yield 0
        asyncio.run(_drain(pipeline))
        assert counting.counts[0] == COUNT * len(HANDLERS)
        yield COUNT


def dispatch_limit(folder: Path) -> Iterator[int]:
    """Three awaited handlers a notification, and one `fdatasync` for each hundred outcomes."""
    counting = Counting()
    yield 0

    async def handle() -> None:
        with _log(folder) as append:
            for _ in range(COUNT * len(HANDLERS) // BURST):
                for _ in range(BURST):
                    await counting.handle(None)  # type: ignore[arg-type]
                append(b"settled " * BURST)

    asyncio.run(handle())
    yield COUNT


# The whole path in one process.


def path_ours(folder: Path) -> Iterator[int]:
    """Batches to intake, journal, three handlers, and settled."""
    batches = bursts(messages())

    async def run(pipeline: Pipeline) -> None:
        dispatching = asyncio.create_task(pipeline.dispatch.run())
        for batch in batches:
            await pipeline.intake.take(batch)
        await pipeline.dispatch.drain()
        dispatching.cancel()

    with _journal(folder) as journal:
        pipeline, counting = _pipeline(journal)
        yield 0
        asyncio.run(run(pipeline))
        assert counting.counts[0] == COUNT * len(HANDLERS)
        yield COUNT


def path_limit(folder: Path) -> Iterator[int]:
    """The same bytes decoded by orjson and appended, one `fdatasync` a batch."""
    batches = bursts(messages())
    yield 0
    with _log(folder) as append:
        for batch in batches:
            for message in batch.messages:
                orjson.loads(message.raw)
            append(b"".join(message.raw for message in batch.messages))
    yield COUNT


# The whole path from a CometD server in another process.


def sockets_ours(folder: Path) -> Iterator[int]:
    """A CometD server's bursts to journaled, handled by three handlers, and settled."""
    with _server() as (url, send), _journal(folder) as journal:
        pipeline, counting = _pipeline(journal)

        async def run() -> None:
            async with Access(Basic("agent", "secret")) as access:
                settings = CometdSettings(agent="agent", url=url, channels=("/v2/me/*",))
                source = CometdSource(settings, access, clock=CLOCK, chance=SeededChance(1))
                taking = asyncio.create_task(pipeline.take_all(source))
                dispatching = asyncio.create_task(pipeline.dispatch.run())
                while not source.status.healthy:
                    await asyncio.sleep(0.01)
                send()
                while counting.counts[0] < COUNT * len(HANDLERS):
                    await asyncio.sleep(0.01)
                await pipeline.dispatch.drain()
                taking.cancel()
                dispatching.cancel()
                await asyncio.wait([taking, dispatching])

        yield 0
        asyncio.run(run())
        yield COUNT


def sockets_limit(folder: Path) -> Iterator[int]:
    """The same server's bursts, read by a bare client, decoded by orjson and appended, one `fdatasync` a response."""
    with _server() as (url, send):

        async def run() -> None:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
                await _bare_client(http, url, send, folder)

        yield 0
        asyncio.run(run())
        yield COUNT


async def _bare_client(http: aiohttp.ClientSession, url: str, send: Callable[[], None], folder: Path) -> None:
    async def exchange(**message: Any) -> tuple[bytes, list[dict[str, Any]]]:
        async with http.post(url, json=[message]) as response:
            body = await response.read()
            return body, orjson.loads(body)

    types = ["long-polling"]
    _, (reply,) = await exchange(channel="/meta/handshake", version="1.0", supportedConnectionTypes=types)
    client = reply["clientId"]
    await exchange(channel="/meta/subscribe", clientId=client, subscription="/v2/me/*")
    send()
    received = 0
    with _log(folder) as append:
        while received < COUNT:
            body, replies = await exchange(channel="/meta/connect", clientId=client, connectionType="long-polling")
            append(body)
            received += sum(not reply["channel"].startswith("/meta/") for reply in replies)


@contextmanager
def _server() -> Generator[tuple[str, Callable[[], None]], None, None]:
    """Start the CometD server; give its address, and what makes it send everything. It ends with its input."""
    process = subprocess.Popen(
        ["node", str(ROOT / "bench/server.cjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["port"]

        def send() -> None:
            assert process.stdin is not None
            process.stdin.write(json.dumps(["send", {"count": COUNT, "burst": BURST}]) + "\n")
            process.stdin.flush()

        yield f"http://127.0.0.1:{port}/notifications", send
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


@contextmanager
def _journal(folder: Path) -> Generator[Journal, None, None]:
    journal = open_journal("sqlite:journal.db", folder, CLOCK.now())
    try:
        yield journal
    finally:
        journal.close()


def _pipeline(journal: Journal) -> tuple[Pipeline, Counting]:
    counting = Counting()
    routes = [Route(name, counting) for name in HANDLERS]
    return Pipeline(journal, routes, CLOCK, SeededChance(1)), counting


async def _drain(pipeline: Pipeline) -> None:
    dispatching = asyncio.create_task(pipeline.dispatch.run())
    await pipeline.dispatch.drain()
    dispatching.cancel()
    await asyncio.wait([dispatching])


@contextmanager
def _log(folder: Path) -> Generator[Callable[[bytes], None], None, None]:
    file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append(part: bytes) -> None:
        os.write(file, part)
        os.fdatasync(file)

    try:
        yield append
    finally:
        os.close(file)


CASES = (
    Case("decode + validate", decode_ours, decode_limit, "orjson.loads, nothing checked"),
    Case("journal append", append_ours, append_limit, "the same bytes, one fdatasync a batch of 100"),
    Case("dispatch", dispatch_ours, dispatch_limit, "three awaits, one fdatasync a hundred outcomes"),
    Case("whole path, one process", path_ours, path_limit, "orjson.loads, one fdatasync a batch of 100"),
    Case("whole path, sockets", sockets_ours, sockets_limit, "a bare client, orjson.loads, one fdatasync a response"),
)

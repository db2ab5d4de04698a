"""Sessions' lives, published through a CometD server of another project as the platform would, and its list of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from cometd_servers import NodeServer
from daemons import Front, Publisher, compact, document, publishing, records
from fbsessiond.clock import SystemClock

STATES = ("Invited", "Chatting", "LeftChat", "Completed")
SESSIONS = 20
"""How many are under way at a time."""

EVERY_SECONDS = 0.05


@dataclass
class Load:
    """Sessions' lives, at a steady rate; and the platform's list of them."""

    publisher: Publisher
    front: Front
    a_second: int
    sent: list[tuple[datetime, bytes]] = field(default_factory=list[tuple[datetime, bytes]])

    async def run(self) -> None:
        """Publish some, and again, until cancelled; in between nothing is under way."""
        tick = asyncio.Event()
        while True:
            asyncio.get_running_loop().call_later(EVERY_SECONDS, tick.set)
            documents = [self.next() for _ in range(round(self.a_second * EVERY_SECONDS))]
            with suppress(aiohttp.ClientError):  # while the server is down nobody hears what happens
                await asyncio.shield(self.publisher.publish(*documents))
            await tick.wait()
            tick.clear()

    def next(self) -> dict[str, Any]:
        """Return the next notification; the list is from now on as it says."""
        number = len(self.sent)
        session, state = at(number)
        notification = document(session, state, userData={"Number": number}, participants=[], capabilities=[])
        self.sent.append((SystemClock().now(), compact(notification)))
        assert self.front.sessions is not None
        self.front.sessions[session] = notification["facebooksession"]
        if state == "Completed":
            del self.front.sessions[session]
        return notification

    async def check_states(self, config: Path) -> set[str]:
        """Check that the journal has each session as the list has it; return the states of those that are gone."""
        entries = await records("export", "--reveal", "--config", config)
        states = {entry["session"]: entry["after"] for entry in entries if entry["kind"] == "transition"}
        assert self.front.sessions is not None
        listed = {session: known["state"] for session, known in self.front.sessions.items()}
        assert {session: states.get(session) for session in listed} == listed
        gone = {states[session] for session in states.keys() - listed.keys()}
        assert gone <= {"Completed", "Vanished"}
        return gone


def at(number: int) -> tuple[str, str]:
    """Return the session that a notification is about, and its state: no two are the same."""
    life, step = divmod(number, SESSIONS * len(STATES))
    return f"S{life * SESSIONS + step % SESSIONS}", STATES[step // SESSIONS]


@asynccontextmanager
async def loaded(program: str, a_second: int, **options: Any) -> AsyncGenerator[tuple[NodeServer, Load]]:
    """Run a server with the rest of the platform before it."""
    server = await NodeServer.start(program, **options)
    try:
        async with Front(server.port).serving() as front, publishing(server.port) as publisher:
            front.sessions = {}
            yield server, Load(publisher, front, a_second)
    finally:
        await server.kill()


async def pause(seconds: float) -> None:
    """Let the load go on for a while: real time, as the server's is."""
    ended = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, ended.set)
    await ended.wait()


async def gaps(config: Path) -> list[dict[str, Any]]:
    """Return the ledger's gaps after the first start."""
    lines = await records("coverage", "--config", config)
    return [line for line in lines if "cause" in line and line["cause"] != "start"]


async def received(config: Path) -> Counter[bytes]:
    """Return the notifications in the journal, and how often each is there."""
    entries = await records("export", "--reveal", "--config", config)
    return Counter(compact(entry["notification"]) for entry in entries if entry["origin"] == "live")

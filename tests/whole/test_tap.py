"""Watching a running daemon: `fbsessiond tap` beside it, as a process of its own."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cometd_servers import NodeServer
from daemons import AUTHORIZATION, SECONDS, Front, configure, document, publishing, running
from fbsessiond.clock import SystemClock

pytestmark = pytest.mark.node

HANDLERS = """
[handlers.log]

[handlers.broken]
use = "command"
argv = ["/bin/sh", "-c", "exit 1"]
on = { to = "LeftChat" }
delivery = { attempts = 1 }
"""

CUSTOMER = "Vitaliy Onv-4711"

WITHIN_SECONDS = 1.0
"""What happens is seen so soon after it was received; the machine may be slow besides."""

SLACK_SECONDS = 2.0


class Tapped:
    """A tap that prints JSON."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def next(self, event: str, **fields: object) -> dict[str, Any]:
        """Return the next line about an event with these fields."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            async for line in self.process.stdout:
                record: dict[str, Any] = json.loads(line)
                if {"event": event, **fields}.items() <= record.items():
                    return record
        raise AssertionError("it ended")

    async def end(self) -> int:
        """Have it end as Ctrl-C does; return its exit status."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def tapping(config: Path, *options: str) -> AsyncGenerator[Tapped, None]:
    """Run a tap for as long as a test takes; what happened before shows that it looks."""
    program = (sys.executable, "-W", "error", "-m", "fbsessiond", "tap", "--config", str(config), "--json")
    process = await asyncio.create_subprocess_exec(*program, *options, stdin=DEVNULL, stdout=PIPE)
    try:
        yield Tapped(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_live(tmp_path: Path) -> None:
    """Beside a running daemon, transitions, deliveries and gaps are seen within a second, without customer data."""
    server = await NodeServer.start("cometd", acknowledge=True, authorization=AUTHORIZATION, timeout=500)
    try:
        async with Front(server.port).serving() as front:
            front.sessions = {"S1": document("S1", "LeftChat")["facebooksession"]}
            config = configure(tmp_path, front.port, HANDLERS)
            async with running(config) as daemon, publishing(server.port) as publisher, AsyncExitStack() as stack:
                await daemon.until("cometd.subscribed")
                tap = await stack.enter_async_context(tapping(config, "--since", "1h"))
                assert (await tap.next("gap", cause="start"))["from"] is not None
                for state in ("Invited", "LeftChat"):
                    await publisher.publish(document("S1", state, userData={"FirstName": CUSTOMER}))
                    entry = await tap.next("entry", session="S1", after=state)
                    assert seconds_since(entry["received_at"]) < WITHIN_SECONDS + SLACK_SECONDS
                    assert CUSTOMER not in json.dumps(entry)
                broken = await tap.next("delivery", handler="broken")
                assert (broken["delivery"], broken["state"], broken["session"]) == ("2/broken", "dead", "S1")
                await server.order("drop")
                assert (await tap.next("gap", cause="session lost", closed_by="snapshot"))["to"] is not None
                assert await tap.end() == 0
    finally:
        await server.kill()


def seconds_since(at: str) -> float:
    """Return how long ago a point in time was."""
    return (SystemClock().now() - datetime.fromisoformat(at)).total_seconds()


async def test_reader_that_leaves(tmp_path: Path) -> None:
    """A reader that has seen enough, such as `head`, ends it, though nothing happens any more."""
    (tmp_path / "one.jsonl").write_text(
        json.dumps({"channel": "/v2/me/facebooksession", "data": document("S1", "Invited")})
    )
    journal = f"sqlite:{tmp_path}/j.db"
    replay = f"{sys.executable} -m fbsessiond replay {tmp_path}/one.jsonl --journal {journal} > /dev/null 2>&1"
    tap = f"{sys.executable} -m fbsessiond tap --since 1h --journal {journal}"
    script = f"set -o pipefail; {replay}; {tap} | head -n 1"
    process = await asyncio.create_subprocess_exec("bash", "-c", script, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert output.endswith(b"S1  1 replay (first sight) -> Invited\n")

"""The daemon on a disk that has no room left, can only be read, or fails: a real one, mounted for the test."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from cometd_servers import NodeServer
from crashes.disk import Disk, disk, why_not
from crashes.disk_errors import start_struck
from daemons import (
    AUTHORIZATION,
    SECONDS,
    Daemon,
    Front,
    command,
    configure,
    document,
    publishing,
    records,
    running,
    until,
)
from journal_parts import noise

pytestmark = [pytest.mark.node, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]

HTTP = '[handlers.log]\n[http]\nlisten = "unix:{socket}"\n'
DISK_FAILED = 74


@pytest.fixture
def small() -> Generator[Disk]:
    """Mount a disk of 64 MiB."""
    with disk() as mounted:
        yield mounted


@asynccontextmanager
async def platform() -> AsyncGenerator[tuple[NodeServer, Front]]:
    """Run a platform that keeps a CometD session for longer than a test takes."""
    server = await NodeServer.start("cometd", acknowledge=True, authorization=AUTHORIZATION, maxInterval=120_000)
    try:
        async with Front(server.port).serving() as front:
            front.sessions = {}
            yield server, front
    finally:
        await server.kill()


def on(disk: Disk, folder: Path, port: int, tables: str = "[handlers.log]\n") -> Path:
    """Write a configuration whose journal is on the disk."""
    (disk.root / "state").mkdir(exist_ok=True)
    (folder / "state").symlink_to(disk.root / "state")
    return configure(folder, port, tables)


def fill(disk: Disk, leave_bytes: int) -> Path:
    """Use the disk up but for some bytes; return the file that does."""
    ballast = disk.root / "ballast"
    with ballast.open("wb") as file:
        while (free := _free(disk)) > leave_bytes:
            file.write(bytes(min(free - leave_bytes, 1 << 16)))
            file.flush()
            os.fsync(file.fileno())
    return ballast


def fill_up(disk: Disk) -> Path:
    """Use up what is kept for root as well; return the file that does."""
    ballast = disk.root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
                    os.fsync(file.fileno())
    return ballast


def _free(disk: Disk) -> int:
    found = os.statvfs(disk.root)
    return found.f_bavail * found.f_frsize


async def readiness(socket: Path) -> tuple[int, str]:
    """Ask the daemon how it is."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.get("http://localhost/readyz?verbose") as response,
    ):
        return response.status, await response.text()


async def states(config: Path) -> list[str]:
    """Return the states that the journal has, in its order."""
    entries = await records("export", "--reveal", "--config", config)
    return [entry["after"] for entry in entries if entry["kind"] == "transition"]


async def test_pause_and_resume(small: Disk, tmp_path: Path) -> None:
    """With too little room nothing is asked for; with room again all of it comes, and nothing was missed."""
    socket = tmp_path / "http.sock"
    async with platform() as (server, front):
        config = on(small, tmp_path, front.port, HTTP.format(socket=socket))
        async with running(config) as daemon, publishing(server.port) as publisher:
            await daemon.until("gap.repaired")
            await publisher.publish(document("S1", "Invited"))
            await daemon.until("session.transition", after="Invited")
            ballast = fill(small, 4 << 20)
            paused = await daemon.until("intake.paused")
            assert paused["reserve"].endswith(" MiB")
            await publisher.publish(document("S1", "Chatting"))  # the answer to what was asked before the disk was full
            await daemon.until("session.transition", after="Chatting")
            connects = front.connects
            await publisher.publish(document("S1", "LeftChat"))
            status, words = await readiness(socket)
            assert status == 503
            assert "\nFAIL disk: " in words
            assert "nothing is taken in until" in words
            assert front.connects == connects
            ballast.unlink()
            await daemon.until("intake.resumed")
            await daemon.until("session.transition", after="LeftChat")
            assert (await readiness(socket))[0] == 200
            assert not daemon.logged("cometd.lost")
            assert await daemon.stop() == 0
        assert await states(config) == ["Invited", "Chatting", "LeftChat"]
        lines = await records("coverage", "--config", config)
        assert [line["cause"] for line in lines if "cause" in line] == ["start"]


async def test_stopped_while_full(small: Disk, tmp_path: Path) -> None:
    """It can be stopped while there is no room, and a start on a full disk waits for some."""
    async with platform() as (server, front):
        config = on(small, tmp_path, front.port)
        async with running(config) as daemon:
            await daemon.until("cometd.subscribed")
            ballast = fill(small, 4 << 20)
            await daemon.until("intake.paused")
            assert await daemon.stop() == 0
        async with running(config) as daemon, publishing(server.port) as publisher:
            await daemon.until("intake.paused")
            assert not daemon.logged("cometd.handshaken")
            ballast.unlink()
            await daemon.until("gap.repaired")
            await publisher.publish(document("S1", "Invited"))
            await daemon.until("session.transition")


async def test_used_up(small: Disk, tmp_path: Path) -> None:
    """Where even the reserve is used up, it ends with 74; what was acknowledged is there, and the rest comes again."""
    async with platform() as (server, front), publishing(server.port) as publisher:
        config = on(small, tmp_path, front.port, "[handlers.log]\n[journal]\nreserve = 0\n")
        async with running(config) as daemon:
            await daemon.until("gap.repaired")
            await publisher.publish(document("S1", "Invited"))
            await daemon.until("session.transition")
            ballast = fill(small, 0)
            for number in range(200):
                await publisher.publish(document(f"T{number}", "Invited", comment=noise(20_000, number)))
                if daemon.process.returncode is not None:
                    break
            assert await daemon.ended() == DISK_FAILED
            assert "Nothing more is acknowledged" in "".join(daemon.words)
            assert "full" in "".join(daemon.words)
        ballast.unlink()  # that customer data is revealed has to be written down
        there = {*await notifications(config)}
        assert {*front.promised} <= there
        async with running(config) as daemon:
            await publisher.publish(document("S1", "Completed"))
            await daemon.until("session.transition", after="Completed")
            assert await daemon.stop() == 0
        there = {*await notifications(config)}
        assert {text for texts in front.given.values() for text in texts} <= there
        assert (await command("journal", "verify", "--config", config))[0] == 0


async def notifications(config: Path) -> list[bytes]:
    """Return what the journal has, word for word."""
    _, output, _ = await command("export", "--json", "--reveal", "--config", config)
    return [line.partition('"notification":')[2].removesuffix("}").encode() for line in output.splitlines()]


async def test_read_only(small: Disk, tmp_path: Path) -> None:
    """On a disk that can only be read the daemon ends at once with 74, and says which file it can't write."""
    async with platform() as (_, front):
        config = on(small, tmp_path, front.port)
        async with running(config) as daemon:
            await daemon.until("cometd.subscribed")
            assert await daemon.stop() == 0
        small.unmount()
        small.mount(read_only=True)
        status, _, words = await command("run", "--config", config)
        assert status == DISK_FAILED
        assert "journal.db: can't open the journal: " in words
        assert "Read-only file system" in words


async def test_failing_sync(tmp_path: Path) -> None:
    """A sync that fails ends the daemon with 74, and is never tried again: what comes next is sent again later."""
    async with platform() as (server, front), publishing(server.port) as publisher:
        config = configure(tmp_path, front.port, "[handlers.log]\n")
        daemon = await start_struck(config, "fdatasync:error=EIO:when=12")
        try:
            await daemon.until("cometd.subscribed")
            async with asyncio.timeout(SECONDS):
                for number in itertools.count():
                    await publisher.publish(document(f"S{number}", "Invited"))
                    if daemon.process.returncode is not None:
                        break
            assert await daemon.ended() == DISK_FAILED
            assert "look at the disk and run `fbsessiond journal verify`" in "".join(daemon.words)
        finally:
            await daemon.kill()
        assert {*front.promised} <= {*await notifications(config)}
        async with running(config) as again:
            await publisher.publish(document("S0", "Completed"))
            await again.until("session.transition", after="Completed")
        assert {text for texts in front.given.values() for text in texts} <= {*await notifications(config)}


async def test_becoming_read_only(small: Disk, tmp_path: Path) -> None:
    """Where its disk can only be read all at once it ends with 74; what was acknowledged is there."""
    async with platform() as (server, front), publishing(server.port) as publisher:
        config = on(small, tmp_path, front.port)
        async with running(config) as daemon:
            await daemon.until("gap.repaired")
            await publisher.publish(document("S1", "Invited"))
            await daemon.until("session.transition")
            small.abort()
            await publisher.publish(document("S1", "Chatting"))
            assert await daemon.ended() == DISK_FAILED
            assert "journal.db: the journal failed: " in "".join(daemon.words)
        small.unmount()
        small.mount()
        assert {*front.promised} <= {*await notifications(config)}
        async with running(config) as daemon:
            await daemon.until("session.transition", after="Chatting")
            assert await daemon.stop() == 0
        assert await states(config) == ["Invited", "Chatting"]


@pytest.mark.parametrize("is_stopped", [False, True], ids=["running", "stopping"])
async def test_full_at_a_checkpoint(tmp_path: Path, is_stopped: bool) -> None:
    """Where there is no room to move the log into the file it ends with 74, and the log keeps what was committed."""
    async with platform() as (server, front), publishing(server.port) as publisher:
        config = configure(tmp_path, front.port, "[handlers.log]\n")
        async with running(config) as daemon:
            await daemon.until("gap.repaired")
            assert await daemon.stop() == 0
        daemon = await start_struck(config, "pwrite64:error=ENOSPC:when=1", ["journal.db"])
        try:
            await daemon.until("cometd.resumed")
            for number in range(1 if is_stopped else 500):
                await publisher.publish(document(f"S{number}", "Invited", comment=noise(20_000, number)))
                if daemon.process.returncode is not None:
                    break
            if is_stopped:
                await daemon.until("session.transition")
                end_traced(daemon)
            assert await daemon.ended() == DISK_FAILED
            assert "journal.db: the journal failed: " in "".join(daemon.words)
            assert "full" in "".join(daemon.words)
        finally:
            await daemon.kill()
        there = {*await notifications(config)}
        assert there
        assert {*front.promised} <= there
        assert (await command("journal", "verify", "--config", config))[0] == 0


def end_traced(daemon: Daemon) -> None:
    """Send SIGTERM to the daemon, which is the child of its tracer."""
    tracer = daemon.process.pid
    (child,) = Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)


async def test_audit_without_room(small: Disk, tmp_path: Path) -> None:
    """An audit file whose disk is full holds up its own lines alone, and has all of them when there is room."""
    audit = small.root / "audit.jsonl"
    handlers = (
        f'[handlers.log]\n[handlers.audit]\npath = "{audit}"\ndelivery = {{ attempts = 99, backoff = "100ms" }}\n'
    )
    async with platform() as (server, front), publishing(server.port) as publisher:
        config = configure(tmp_path, front.port, handlers)
        async with running(config) as daemon:
            await daemon.until("gap.repaired")
            ballast = fill_up(small)
            await publisher.publish(document("S1", "Invited", comment="x" * 20_000), document("S1", "Chatting"))
            failed = await daemon.until("delivery.failed", handler="audit")
            assert failed["because"].startswith("OSError")
            await daemon.until("session.transition", after="Chatting")
            ballast.unlink()
            await until(lambda: len(audit.read_bytes().splitlines()) == 2)
            assert await daemon.stop() == 0
        assert (await command("audit", "verify", "--config", config))[0] == 0


async def test_failing_sync_of_audit(tmp_path: Path) -> None:
    """A sync of the audit file that fails ends the daemon with 74; the line's delivery is due again, and comes once."""
    async with platform() as (server, front), publishing(server.port) as publisher:
        config = configure(tmp_path, front.port, "[handlers.audit]\n")
        daemon = await start_struck(config, "fdatasync:error=EIO:when=1", ["audit.jsonl"])
        try:
            await daemon.until("gap.repaired")
            await publisher.publish(document("S1", "Invited"))
            assert await daemon.ended() == DISK_FAILED
            assert "audit.jsonl: can't sync: " in "".join(daemon.words)
        finally:
            await daemon.kill()
        assert {*front.promised} <= {*await notifications(config)}
        async with running(config) as again:
            await publisher.publish(document("S1", "Chatting"))
            audit = tmp_path / "state" / "audit.jsonl"
            await until(lambda: b'"Chatting"' in audit.read_bytes())
            lines = [json.loads(line) for line in audit.read_bytes().splitlines()]
            assert [line["after"] for line in lines if line["after"]] == ["Invited", "Chatting"]
            assert await again.stop() == 0
        assert (await command("audit", "verify", "--config", config))[0] == 0

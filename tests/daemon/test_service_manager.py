"""fbsessiond.service_manager: what systemd is told."""

import asyncio
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fbsessiond.readiness import Check
from fbsessiond.service_manager import EXTENSION_SECONDS, LOOK_SECONDS, ServiceManager
from fbsessiond.testing import run_virtual

READY = [Check("connection agent1", True, "connected")]
NOT_READY = [Check("connection agent1", False, "connection refused")]
EXTENSION = f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}"


class Ear:
    """What listens in systemd's place."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)

    def heard(self) -> list[list[str]]:
        """Return the messages so far, a list of lines each."""
        messages: list[list[str]] = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(65536).decode().split("\n"))
        return messages

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextmanager
def listening(address: str) -> Generator[Ear, None, None]:
    """Listen for a while."""
    ear = Ear(address)
    try:
        yield ear
    finally:
        ear.close()


@pytest.fixture
def ear(tmp_path: Path) -> Generator[Ear, None, None]:
    """Listen at a path."""
    with listening(str(tmp_path / "notify")) as ear:
        yield ear


def informed(manager: ServiceManager, seconds: float, checks: Callable[[], Sequence[Check]], *moving: bool) -> None:
    """Keep it informed for a while; `moving` says for each look, the last one again and again, if the source moves."""
    answers = list(moving)

    def is_moving() -> bool:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def main() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await manager.keep_informed(checks, is_moving)

    run_virtual(main())


@pytest.mark.parametrize("is_abstract", [False, True])
def test_addresses(tmp_path: Path, is_abstract: bool) -> None:
    """A path is told, and a name without one."""
    address = f"@fbsessiond-{tmp_path.name}-{id(tmp_path)}" if is_abstract else str(tmp_path / "notify")
    with listening(address) as ear:
        ServiceManager(address).tell("READY=1", "STATUS=grün")
        assert ear.heard() == [["READY=1", "STATUS=grün"]]


@pytest.mark.parametrize("address", [None, "/nowhere/notify"])
def test_nobody_listens(address: str | None) -> None:
    """Where there is no service manager, or none that listens, nothing happens."""
    ServiceManager(address).tell("READY=1")


def test_a_full_queue_is_not_waited_for(ear: Ear) -> None:
    """A service manager that hangs holds nothing up."""
    manager = ServiceManager(ear.address)
    for _ in range(2_000):
        manager.tell("WATCHDOG=1")
    assert 0 < len(ear.heard()) < 2_000


def test_ready_once(ear: Ear) -> None:
    """Before it is ready the start may take longer; that it is ready is told once, and then the watchdog is fed."""
    states = [NOT_READY, READY, READY, NOT_READY]
    informed(ServiceManager(ear.address), 3.5 * LOOK_SECONDS, lambda: states.pop(0), True)
    words = "STATUS=not ready: connection agent1"
    assert ear.heard() == [
        [words, EXTENSION],
        ["STATUS=ready", "READY=1", "WATCHDOG=1"],
        ["STATUS=ready", "WATCHDOG=1"],
        [words, "WATCHDOG=1"],
    ]


def test_a_source_that_is_stuck(ear: Ear) -> None:
    """The watchdog isn't fed while the source doesn't get on; that is said once, and again after it got on."""
    with capture_logs() as lines:
        informed(ServiceManager(ear.address), 4.5 * LOOK_SECONDS, lambda: READY, True, False, False, True, False)
    assert [message[-1] for message in ear.heard()] == [
        "WATCHDOG=1",
        "STATUS=ready",
        "STATUS=ready",
        "WATCHDOG=1",
        "STATUS=ready",
    ]
    assert [line["event"] for line in lines] == ["source.stuck"] * 2


def test_stopping(ear: Ear) -> None:
    """That it stops is told, and that this may take a while."""
    ServiceManager(ear.address).stopping()
    assert ear.heard() == [["STOPPING=1", "STATUS=stopping", EXTENSION]]


def test_failing(ear: Ear) -> None:
    """What it ends of is told in one line, and that this may take a while."""
    ServiceManager(ear.address).failing(OSError("journal.db:\n the disk  failed"))
    assert ear.heard() == [["STOPPING=1", "STATUS=failed: journal.db: the disk failed", EXTENSION]]


def test_reloading(ear: Ear) -> None:
    """A reload is told with the time at which it begins, in microseconds; what was refused before counts no more."""
    manager = ServiceManager(ear.address)
    manager.remark = "refused:\n  no such key"
    manager.stopping()
    manager.reloading(12.5)
    informed(manager, 0.5, lambda: READY, True)
    assert ear.heard() == [
        ["STOPPING=1", "STATUS=stopping; refused: no such key", EXTENSION],
        ["RELOADING=1", "MONOTONIC_USEC=12500000", "STATUS=reloading"],
        ["STATUS=ready", "READY=1", "WATCHDOG=1"],
    ]

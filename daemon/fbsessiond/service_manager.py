"""What systemd is told: that the daemon is ready, how it is, and that it gets on [sd_notify(3)].

The libraries for it are a C extension for ten lines, or abandoned.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from fbsessiond.readiness import Checks, is_ready, verdict

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often it is told. `WatchdogSec=` has to be a few times as long."""

EXTENSION_SECONDS = 30
"""How long the start and the stop may take from each time on that it gets on."""


class ServiceManager:
    """The service manager that started this process; where none did, nothing is told."""

    def __init__(self, address: str | None) -> None:
        """Take what $NOTIFY_SOCKET says: a Unix socket's path, or `@` and a name."""
        self._address = None if address is None else address.replace("@", "\0", 1) if address[0] == "@" else address
        self.remark = ""
        """What its state in words ends with: something that a person should know of."""

    def tell(self, *assignments: str) -> None:
        """Send assignments such as `READY=1`. A service manager that doesn't listen isn't waited for."""
        if self._address is None:
            return
        text = "\n".join(assignments).encode()
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
            sending.sendto(text, self._address)

    def stopping(self) -> None:
        """Say that the daemon stops: what runs is finished or handed back."""
        self.tell("STOPPING=1", f"STATUS=stopping{self._remark()}", _extension())

    def failing(self, error: Exception) -> None:
        """Say what the daemon ends of."""
        self.tell("STOPPING=1", f"STATUS=failed: {_one_line(str(error))}", _extension())

    def reloading(self, monotonic: float) -> None:
        """Say that the daemon goes on with another configuration; it is to be told again that it is ready."""
        self.remark = ""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={monotonic * 1_000_000:.0f}", "STATUS=reloading")

    async def keep_informed(self, checks: Checks, is_moving: Callable[[], bool]) -> None:
        """Tell once a second how the daemon is, until cancelled.

        That it is ready is told once: when it is so for the first time. The watchdog is fed only while the source takes
        its steps, each of which waits until the journal has committed what the one before brought; and only while the
        event loop goes round, since otherwise nobody is here to do it.
        """
        was_ready, got_on = False, True
        while True:
            found = checks()
            told = [f"STATUS={verdict(found).strip()}{self._remark()}"]
            if not was_ready and is_ready(found):
                was_ready = True
                told.append("READY=1")
            if gets_on := is_moving():
                told.append("WATCHDOG=1" if was_ready else _extension())
            elif got_on:
                log.error("source.stuck", hint="the watchdog isn't fed any more: systemd restarts the service")
            got_on = gets_on
            self.tell(*told)
            await asyncio.sleep(LOOK_SECONDS)

    def _remark(self) -> str:
        return f"; {_one_line(self.remark)}" if self.remark else ""


def _one_line(words: str) -> str:
    return " ".join(words.split())


def _extension() -> str:
    return f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}"

"""The CometD server that sends notifications, in a process of its own; it needs Node (`make bench` sets it up)."""

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from work import BURST, ROOT


@dataclass(frozen=True, slots=True)
class Server:
    """The server."""

    url: str
    orders: IO[str]

    def send(self, count: int, *, burst: int = BURST, every_ms: int = 0) -> None:
        """Have notifications sent to the client that came last, so many at a time."""
        self.orders.write(json.dumps(["send", {"count": count, "burst": burst, "every_ms": every_ms}]) + "\n")
        self.orders.flush()


@contextmanager
def serving() -> Generator[Server]:
    """Start it, on a port of the loopback interface; it ends with its input."""
    process = subprocess.Popen(
        ["node", str(ROOT / "bench/server.cjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["port"]
        yield Server(f"http://127.0.0.1:{port}/notifications", process.stdin)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)

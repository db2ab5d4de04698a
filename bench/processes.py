"""The real daemon, `fbsessiond run`, with many agents, beside a simulated GWS: each a process of its own."""

import json
import resource
import signal
import socket
import subprocess
import sys
import time  # noqa: TID251  what a benchmark is about
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbsessiond.environment import variables
from measure import cpu_seconds_of
from work import ROOT

PASSWORD = {"PASSWORD": "simulated"}
PATIENCE_SECONDS = 200.0
STEP_SECONDS = 0.2

Looked = tuple[list[float], list[tuple[str, float]]]
"""How late the daemon's event loop was at each look; and of each notification, whose it was and how long it took."""


class Server:
    """The simulated GWS."""

    def __init__(self, agents: int, port: int = 0) -> None:
        command = [sys.executable, str(ROOT / "bench/simulated_gws.py"), str(agents), str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url: str = self._answer()["url"]
        self.port = int(self.url.rpartition(":")[2])

    def ask(self, *order: object) -> Any:
        """Have it do something, and return what it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def kill(self) -> None:
        """End it, as a crash does."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@dataclass
class Daemon:
    """The daemon."""

    folder: Path
    process: subprocess.Popen[bytes]
    notified: socket.socket
    began_at: float

    @property
    def cpu_seconds(self) -> float:
        """The processor time that it has taken."""
        return cpu_seconds_of(self.process.pid)

    @property
    def resident_mb(self) -> float:
        """The memory that it has."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    def until_ready(self) -> float:
        """Wait until it says that it is ready; return how long after its start that was."""
        self.notified.settimeout(PATIENCE_SECONDS)
        while b"READY=1" not in self.notified.recv(65_536):
            pass
        self.notified.settimeout(None)
        return time.monotonic() - self.began_at

    def until_connected(self, agents: int) -> float:
        """Wait until so many agents are connected and subscribed; return how long after its start that was."""
        while self._metric("fbsessiond_agents_connected") < agents:
            if time.monotonic() - self.began_at > PATIENCE_SECONDS:
                raise TimeoutError("the agents aren't connected")
            self.rest(1)
        return time.monotonic() - self.began_at

    def rest(self, seconds: float) -> float:
        """Leave it alone for some time; return the share of a core that it takes meanwhile."""
        cpu_seconds, began_at = self.cpu_seconds, time.monotonic()
        while (rested := time.monotonic() - began_at) < seconds:
            with suppress(BlockingIOError):
                while self.notified.recv(65_536, socket.MSG_DONTWAIT):
                    pass
            time.sleep(STEP_SECONDS)
        return (self.cpu_seconds - cpu_seconds) / rested

    @contextmanager
    def looking(self) -> Generator[Looked]:
        """Have its handler look, and give what it saw at the end."""
        looked: Looked = ([], [])
        wanted, seen = self.folder / "look", self.folder / "looked"
        wanted.touch()
        self.rest(1)
        yield looked
        wanted.unlink()
        while not seen.exists():
            time.sleep(STEP_SECONDS)
        lags, handled = json.loads(seen.read_text())
        seen.unlink()
        looked[0].extend(lags)
        looked[1].extend((agent, seconds) for agent, seconds in handled)

    def _metric(self, name: str) -> float:
        with socket.socket(socket.AF_UNIX) as asking, suppress(OSError):
            asking.connect(str(self.folder / "http"))
            asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: asking.recv(65_536), b"")).decode()
            return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}{{")), 0.0)
        return 0.0


@contextmanager
def running(folder: Path, server: Server, agents: int, *, looks: bool = True) -> Generator[Daemon]:
    """Run the daemon for a while; unless it `looks`, with the built-in log alone."""
    table = '[[agents]]\nusername = "agent{}"\npassword = {{ env = "PASSWORD" }}\n'
    (folder / "agents.toml").write_text("".join(map(table.format, range(1, agents + 1))))
    (folder / "handlers.d").mkdir(exist_ok=True)
    (folder / "handlers.d/watching.py").write_bytes((ROOT / "bench/watching_handler.py").read_bytes())
    handler = f'[handlers.watching]\nfolder = "{folder}"\n' if looks else "[handlers.log]\n"
    (folder / "fbsessiond.toml").write_text(
        f'agents_file = "agents.toml"\nstate_directory = "{folder}"\n[gws]\nurl = "{server.url}"\n'
        f'[http]\nlisten = "unix:{folder}/http"\n{handler}'
    )
    command = [sys.executable, "-m", "fbsessiond", "run", "--config", str(folder / "fbsessiond.toml")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, (folder / "stderr").open("w") as stderr:
        notified.bind(str(folder / "notify"))
        environment = {**variables, **PASSWORD, "NOTIFY_SOCKET": str(folder / "notify")}
        began_at = time.monotonic()
        process = subprocess.Popen([*command, "--log-level", "error"], env=environment, stderr=stderr)
        try:
            yield Daemon(folder, process, notified, began_at)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def serving(agents: int) -> Generator[Server]:
    """Serve a simulated GWS for so many agents."""
    server = Server(agents)
    try:
        yield server
    finally:
        server.kill()

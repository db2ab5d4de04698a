import os
import socket
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cli_parts import Command


def test_configuration_alone(fbsessiond: Command, configuration: Path) -> None:
    """Without the environment a right configuration is fine, with its handlers named."""
    ran = fbsessiond("check", "--no-environment", "--config", configuration)
    assert (ran.status, ran.lines) == (0, ["configuration: fine, with the handlers log, fragile, audit"])
    ran = fbsessiond("check", "--no-environment", "--json", "--config", configuration)
    assert ran.records == [{"check": "configuration", "found": "fine, with the handlers log, fragile, audit"}]


def test_no_handlers(fbsessiond: Command) -> None:
    """That there are none is said."""
    assert fbsessiond("check", "--no-environment").lines == ["configuration: fine, with the handlers (none)"]


def test_wrong_configuration(fbsessiond: Command, tmp_path: Path) -> None:
    """A wrong one is told with all its mistakes, on standard error, and is exit status 78."""
    (tmp_path / "c.toml").write_text("[gws]\nulr = 1\n[handlers.audit]\npth = 1\n")
    ran = fbsessiond("check", "--config", "c.toml")
    assert (ran.status, ran.out) == (os.EX_CONFIG, "")
    assert [line.split(": ")[3] for line in ran.err.splitlines()] == ["gws.url", "gws.ulr", "handlers.audit.pth"]


def test_environment(fbsessiond: Command, tmp_path: Path) -> None:
    """The environment is checked in the order in which it is needed, up to the first trouble: here, GWS."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "c.toml").write_text(
        f'[gws]\nurl = "http://127.0.0.1:{port}"\nusername = "agent1"\npassword.file = "secret"\n[handlers.audit]\n'
    )
    ran = fbsessiond("check", "--config", "c.toml")
    assert ran.status == os.EX_UNAVAILABLE
    assert [line.partition(": ")[0] for line in ran.lines] == ["configuration", "secrets", "journal", "handlers"]
    assert ran.err.startswith(f"fbsessiond: http://127.0.0.1:{port}/api/v2/notifications: ")
    assert "s3cret" not in ran.out + ran.err


def test_environment_without_platform(fbsessiond: Command) -> None:
    """Without a platform there is nothing to check: that is a mistake of the configuration."""
    ran = fbsessiond("check")
    assert ran.status == os.EX_CONFIG
    assert "gws: is missing" in ran.err


class Daemon(BaseHTTPRequestHandler):
    """What answers in a daemon's place: it lives, and isn't ready."""

    def do_GET(self) -> None:
        """Answer as the HTTP interface does."""
        is_live = self.path == "/livez"
        self.send_response(200 if is_live else 503)
        self.end_headers()
        self.wfile.write(b"alive\n" if is_live else b"FAIL connection agent1: \x1b[2Jlost\nnot ready\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Say nothing."""


@pytest.fixture
def listening(tmp_path: Path) -> Generator[Path, None, None]:
    """Let such a daemon listen, and return a configuration that names its address."""
    with HTTPServer(("127.0.0.1", 0), Daemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        configuration = tmp_path / "c.toml"
        configuration.write_text(f'[http]\nlisten = "127.0.0.1:{server.server_port}"\n')
        yield configuration
        server.shutdown()
        thread.join()


def test_live(fbsessiond: Command, listening: Path) -> None:
    """A running daemon is asked whether it lives, and nothing else is checked."""
    ran = fbsessiond("check", "--live", "--config", listening)
    assert (ran.status, ran.lines) == (0, ["daemon: alive"])


def test_not_ready(fbsessiond: Command, listening: Path) -> None:
    """That it isn't ready is exit status 1, with its reasons, a line each; none can move the cursor."""
    ran = fbsessiond("check", "--ready", "--config", listening)
    assert (ran.status, ran.lines) == (
        1,
        ["daemon: FAIL connection agent1: \\x1b[2Jlost", "daemon: not ready"],
    )
    ran = fbsessiond("check", "--ready", "--json", "--config", listening)
    assert [record["check"] for record in ran.records] == ["daemon"] * 2


def test_no_daemon(fbsessiond: Command, tmp_path: Path) -> None:
    """Where none answers that is exit status 1, and where none can it is a mistake of the configuration."""
    (tmp_path / "c.toml").write_text(f'[http]\nlisten = "unix:{tmp_path}/http.sock"\n')
    ran = fbsessiond("check", "--live", "--config", "c.toml")
    assert (ran.status, ran.lines) == (
        1,
        [f"daemon: nothing answers at unix:{tmp_path}/http.sock: [Errno 2] No such file or directory"],
    )
    (tmp_path / "c.toml").write_text('[http]\nlisten = ""\n')
    assert fbsessiond("check", "--live", "--config", "c.toml").status == os.EX_CONFIG

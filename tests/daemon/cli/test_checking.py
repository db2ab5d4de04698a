import os
import socket
from pathlib import Path

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

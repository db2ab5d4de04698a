import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from cli_parts import Command


@pytest.fixture(autouse=True)
def _thawed() -> Generator[None, None, None]:
    """Undo what the command does for the daemon's sake: what it imported isn't looked at for garbage."""
    yield
    gc.unfreeze()


def test_without_platform(fbsessiond: Command) -> None:
    """Without a platform there is nothing to run: that is a mistake of the configuration."""
    ran = fbsessiond("run")
    assert (ran.status, ran.out) == (os.EX_CONFIG, "")
    assert ran.err.startswith("fbsessiond: gws: is missing; ")


def test_wrong_level(fbsessiond: Command) -> None:
    """A level of logging that isn't known is a mistake of usage."""
    ran = fbsessiond("run", "--log-level", "loud")
    assert ran.status == 2
    assert "Invalid value for '--log-level'" in ran.err


@pytest.mark.parametrize(("level", "number"), [("debug", logging.DEBUG), ("error", logging.ERROR)])
def test_level(fbsessiond: Command, level: str, number: int) -> None:
    """What is logged is the command's to say."""
    fbsessiond("run", "--log-level", level)
    assert logging.getLogger("fbsessiond").level == number


def test_daemon(tmp_path: Path) -> None:
    """The daemon runs until it is told to stop, logs in JSON on a pipe, and then ends with status 0."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "c.toml").write_text(
        f'state_directory = "state"\n[gws]\nurl = "http://127.0.0.1:{port}"\nusername = "agent1"\n'
        'password.file = "secret"\n[http]\nlisten = "127.0.0.1:0"\n[handlers.log]\n'
    )
    command = [sys.executable, "-m", "fbsessiond", "run", "--config", "c.toml", "--log-level", "debug"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        started = next(json.loads(line) for line in daemon.stderr if "daemon.started" in line)
        daemon.send_signal(signal.SIGTERM)
        out, err = daemon.communicate(timeout=20)
    assert list(started) == ["at", "level", "event", "agent", "handlers", "http"]
    assert (started["agent"], started["handlers"]) == ("agent1", ["log"])
    assert started["http"].startswith("http://127.0.0.1:")
    assert (daemon.returncode, out) == (0, "")
    assert json.loads(err.splitlines()[-1])["event"] == "daemon.stopped"
    assert "s3cret" not in err

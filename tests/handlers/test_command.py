import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from fbsessiond import Delivery, Done, Outcome
from fbsessiond.testing import make_delivery, make_transition
from fbsessiond_handlers.command import Command, NotDoneError, reason_of
from fbsessiond_handlers.program import Ended

CANARY = "Canary"
DELIVERY = make_delivery(
    make_transition("Chatting", "Invited", userData={"FirstName": CANARY}),
    handler="notify",
    attempt=3,
    late=timedelta(seconds=1.5),
)


def made(*argv: str, **options: Any) -> Command:
    """Return a command as a configuration makes one."""
    return Command.model_validate({"argv": list(argv), **options})


async def tried(command: Command, delivery: Delivery = DELIVERY) -> Outcome:
    """Return the outcome of one attempt."""
    async with command.running():
        return await asyncio.wait_for(command.handle(delivery), 10)


def copying(file: Path, what: str) -> tuple[str, ...]:
    """Return a program that writes an expression's value into a file, as JSON."""
    code = f"import json, os, sys; open(sys.argv[1], 'w').write(json.dumps({what}))"
    return sys.executable, "-c", code, str(file)


async def test_input(tmp_path: Path) -> None:
    """The program reads one line of JSON: the delivery, with ids and states."""
    file = tmp_path / "read"
    assert await tried(made(*copying(file, "sys.stdin.readlines()"))) == Done()
    (line,) = json.loads(file.read_text())
    assert json.loads(line) == {
        "key": DELIVERY.key,
        "handler": "notify",
        "attempt": 3,
        "late_seconds": 1.5,
        "transition": {
            "seq": 1,
            "at": "2026-01-01T00:00:00.000000Z",
            "origin": "live",
            "agent": "agent1",
            "session": "0002DaAVKJ0V0095",
            "before": "Invited",
            "after": "Chatting",
        },
    }
    assert CANARY not in line


async def test_notification(tmp_path: Path) -> None:
    """All that was received is there when it is asked for."""
    file = tmp_path / "read"
    await tried(made(*copying(file, "json.load(sys.stdin)"), data="notification"))
    assert json.loads(file.read_text())["transition"]["notification"] == DELIVERY.transition.notification


async def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is PATH, LANG and HOME as they are, what the options add, and the delivery's key and attempt."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", "/home/operator")
    monkeypatch.delenv("LANG", raising=False)
    monkeypatch.setenv("GWS_PASSWORD", "hunter2")
    file = tmp_path / "read"
    command = made(*copying(file, "dict(os.environ)"), environment={"SHOP": "north", "DELIVERY_KEY": "another"})
    await tried(command)
    told = json.loads(file.read_text())
    told.pop("LC_CTYPE", None)  # Python sets it for itself
    assert told == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/home/operator",
        "SHOP": "north",
        "DELIVERY_KEY": DELIVERY.key,
        "DELIVERY_ATTEMPT": "3",
    }


async def test_arguments(tmp_path: Path) -> None:
    """Arguments reach the program as they are: there is no shell that would look into them."""
    file = tmp_path / "read"
    await tried(made(*copying(file, "sys.argv[2:]"), "$HOME `id`; *", "", "ü"))
    assert json.loads(file.read_text()) == ["$HOME `id`; *", "", "ü"]


async def test_working_directory(tmp_path: Path) -> None:
    """The program runs in the folder that the option names."""
    await tried(made(*copying(Path("read"), "os.getcwd()"), working_directory=str(tmp_path)))
    assert json.loads((tmp_path / "read").read_text()) == str(tmp_path)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 75", "exit status 75, try again"),
        ("echo 'the queue is full' >&2; exit 75", "exit status 75, try again: the queue is full"),
        ("echo first >&2; echo ' last ' >&2; echo >&2; exit 3", "exit status 3: last"),
        ("exit 1", "exit status 1"),
        ("kill -KILL $$", "ended by signal 9 (Killed)"),
    ],
)
async def test_failed(script: str, reason: str) -> None:
    """Any other end than exit status 0 is a failed attempt, with the program's last words, which aren't logged."""
    with capture_logs() as logs, pytest.raises(NotDoneError) as error:
        await tried(made("/bin/sh", "-c", script))
    assert str(error.value) == reason
    assert not logs


@pytest.mark.parametrize(
    ("said", "reason"),
    [(b"\xff\n", "exit status 2: \ufffd"), (b"x" * 9000, f"exit status 2: {'x' * 500}"), (b" \n\n", "exit status 2")],
)
def test_reason(said: bytes, reason: str) -> None:
    """Whatever a program writes, the reason is one short line of text."""
    assert reason_of(Ended(2, said)) == reason


async def test_time_out() -> None:
    """An attempt that is cut short by its time-out ends the program."""
    command = made("/bin/sh", "-c", "exec sleep 1000")
    async with command.running():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(command.handle(DELIVERY), 0.05)


async def test_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked for on PATH when the daemon starts, and what was found then is what runs."""
    program = tmp_path / "bin" / "notify"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    command = made("notify", environment={"PATH": "bin:/usr/bin:/bin"}, working_directory="/")
    assert await tried(command) == Done()


@pytest.mark.parametrize("name", ["no-such-program", "/there/is/no/such/program", __file__, "/"])
async def test_no_program(name: str) -> None:
    """A program that isn't there, or isn't one, is told at the start."""
    with pytest.raises(FileNotFoundError, match=r"argv: .* isn't a program"):
        await tried(made(name))


async def test_program_that_vanished(tmp_path: Path) -> None:
    """One that isn't there any more is a failed attempt."""
    program = tmp_path / "notify"
    program.touch(0o755)
    command = made(str(program))
    async with command.running():
        program.unlink()
        with pytest.raises(FileNotFoundError):
            await command.handle(DELIVERY)


async def test_no_working_directory(tmp_path: Path) -> None:
    """A working directory that isn't there is told at the start."""
    with pytest.raises(NotADirectoryError, match=r"working_directory: .*nowhere isn't a folder"):
        await tried(made("/bin/sh", working_directory=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"argv": []}, "at least 1 item"),
        ({"argv": "/bin/sh"}, "valid list"),
        ({"argv": ["bin/sh"]}, "should begin with an absolute path, or a name to be found on PATH"),
        ({"argv": ["/bin/sh", "\0"]}, "should hold no NUL"),
        ({"environment": {"A=B": "c"}}, "should match pattern"),
        ({"environment": {"A": "\0"}}, "should hold no NUL"),
        ({"data": "all"}, "'state' or 'notification'"),
        ({"shell": True}, "Extra inputs"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    """A wrong option is told when the configuration is read."""
    with pytest.raises(ValidationError, match=words):
        Command.model_validate({"argv": ["/bin/sh"], **options})


async def test_many_at_a_time() -> None:
    """Programs run side by side, and leave no file open."""
    command = made("/bin/sh", "-c", "cat >/dev/null; echo done >&2")
    async with command.running():
        await command.handle(DELIVERY)
        before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
        assert await asyncio.gather(*(command.handle(DELIVERY) for _ in range(20))) == [Done()] * 20
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

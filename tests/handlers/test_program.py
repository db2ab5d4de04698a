import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fbsessiond_handlers import program
from fbsessiond_handlers.program import KEPT_BYTES, Ended, run

SECONDS = 10.0
"""How long what should happen at once may take on a busy machine."""


async def python(code: str, given: bytes = b"") -> Ended:
    """Return how a program in Python ends."""
    return await asyncio.wait_for(run([sys.executable, "-c", code], given, {}, None), SECONDS)


async def shell(script: str, *arguments: str) -> Ended:
    """Return how a script of the shell's ends."""
    return await asyncio.wait_for(run(["/bin/sh", "-c", script, "sh", *arguments], b"", {}, None), SECONDS)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """Make a named pipe: what a program writes to it can be awaited, and so can the end of all that have it open."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@asynccontextmanager
async def listening(fifo: Path) -> AsyncGenerator[asyncio.StreamReader]:
    """Read from a named pipe. To its readers it ends when no program has it open any more."""
    reader = asyncio.StreamReader()
    file = open(fifo, "rb", buffering=0, opener=lambda path, _: os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # noqa: ASYNC230, SIM115
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        yield reader
    finally:
        transport.close()


@pytest.mark.parametrize("status", [0, 1, 75, 255])
async def test_status(status: int) -> None:
    """A program ends with its exit status."""
    assert await shell(f"exit {status}") == Ended(status, b"")


async def test_signal() -> None:
    """A program that a signal ends has that signal's negative number as its status."""
    assert (await shell("kill -SEGV $$")).status == -signal.SIGSEGV


async def test_input() -> None:
    """A program reads on standard input what it is given, to its end."""
    given = b"x" * 5_000_000
    assert await python(f"import sys; sys.exit(sys.stdin.buffer.read() != b'x' * {len(given)})", given) == Ended(0, b"")


@pytest.mark.parametrize("script", ["exit 0", "exec 0<&-", "head -c 1 >/dev/null"])
async def test_unread_input(script: str) -> None:
    """A program need not read it, nor all of it, and may close it."""
    argv = ["/bin/sh", "-c", script]
    assert await asyncio.wait_for(run(argv, b"x" * 5_000_000, dict(os.environ), None), SECONDS) == Ended(0, b"")  # noqa: TID251


async def test_output() -> None:
    """Standard output is dropped, and of standard error the end is kept, however much it is."""
    code = "import sys; print('o' * 10_000_000); sys.stderr.write('e' * 10_000_000 + 'end')"
    ended = await python(code)
    assert (ended.status, len(ended.error), ended.error[-5:]) == (0, KEPT_BYTES, b"eeend")


async def test_closed_output() -> None:
    """A program may close its standard error and go on."""
    assert await python("import os, sys; os.write(2, b'end'); os.close(2); sys.stdin.read()") == Ended(0, b"end")


async def test_environment_and_folder(tmp_path: Path) -> None:
    """A program has the environment and the folder that it is given, and none of this process's."""
    script = 'echo "$PWD $A $HOME" >&2'
    ended = await run(["/bin/sh", "-c", script], b"", {"A": "a"}, tmp_path)
    assert ended.error.decode() == f"{tmp_path} a \n"


@pytest.mark.parametrize("argv", [["/there/is/no/such/program"], ["/"]])
async def test_no_program(argv: list[str]) -> None:
    """A program that can't be started is an error, and nothing of it is left."""
    with pytest.raises(OSError, match=r"No such file|Permission denied"):
        await run(argv, b"", {}, None)


async def test_child_left_behind(fifo: Path) -> None:
    """A child that holds the program's pipes open holds up nothing, and ends with the program."""
    async with listening(fifo) as reader:
        assert await shell('exec 3>"$1"; sleep 1000 & exit 4', str(fifo)) == Ended(4, b"")
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""


async def test_child_in_a_session_of_its_own(fifo: Path) -> None:
    """A child that went its own way, with standard error still open, isn't waited for."""
    code = (
        "import os, sys\n"
        "reading, writing = os.pipe()\n"
        "if os.fork(): os.read(reading, 1); os.write(2, b'end'); os._exit(3)\n"
        "os.setsid(); own = os.open(sys.argv[1], os.O_RDWR)\n"
        "os.write(own, b'%d\\n' % os.getpid()); os.write(writing, b'.')\n"
        "import signal; signal.pause()"
    )
    async with listening(fifo) as reader:
        ended = await asyncio.wait_for(run([sys.executable, "-c", code, str(fifo)], b"", {}, None), SECONDS)
        assert ended == Ended(3, b"end")
        os.kill(int(await asyncio.wait_for(reader.readline(), SECONDS)), signal.SIGKILL)


async def test_cancelled(fifo: Path) -> None:
    """A program that is cancelled gets SIGTERM, as does the rest of its group, and may end in its own way."""
    script = "trap 'echo bye >&3; exit 0' TERM; exec 3>\"$1\"; (exec sleep 1000) & echo ready >&3; wait"
    async with listening(fifo) as reader:
        task = asyncio.create_task(shell(script, str(fifo)))
        assert await asyncio.wait_for(reader.readline(), SECONDS) == b"ready\n"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(reader.read(), SECONDS) == b"bye\n"


async def test_cancelled_and_stubborn(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ignores SIGTERM is killed a little later, its children with it."""
    monkeypatch.setattr(program, "KILL_SECONDS", 0.05)
    script = 'trap "" TERM; exec 3>"$1"; (exec sleep 1000) & echo ready >&3; wait'
    async with listening(fifo) as reader:
        task = asyncio.create_task(shell(script, str(fifo)))
        assert await asyncio.wait_for(reader.readline(), SECONDS) == b"ready\n"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""


async def test_cancelled_twice(fifo: Path) -> None:
    """Who can't wait so long cancels again: then it is killed at once."""
    script = 'trap "" TERM; exec 3>"$1"; (exec sleep 1000) & echo ready >&3; wait'
    async with listening(fifo) as reader:
        task = asyncio.create_task(run(["/bin/sh", "-c", script, "sh", str(fifo)], b"", {}, None))
        assert await asyncio.wait_for(reader.readline(), SECONDS) == b"ready\n"
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, program.KILL_SECONDS / 2)
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""


async def test_program_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has taken on rights which this process doesn't have isn't killed, and is no error."""

    def refuse(_group: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refuse)
    assert await shell("exit 3") == Ended(3, b"")


async def test_program_that_the_kernel_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that doesn't go even when it is killed isn't waited for for ever."""
    monkeypatch.setattr(program, "REAP_SECONDS", 0.01)
    monkeypatch.setattr(program, "KILL_SECONDS", 0.01)

    def spare(_group: int, _number: int) -> None:
        pass

    monkeypatch.setattr(os, "killpg", spare)
    started: list[subprocess.Popen[bytes]] = []
    has_started = asyncio.Event()
    popen = subprocess.Popen

    def start(*arguments: object, **options: object) -> object:
        started.append(popen(*arguments, **options))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
        has_started.set()
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", start)
    task = asyncio.create_task(shell("exec sleep 1000"))
    await has_started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode is None
    started[0].kill()
    started[0].wait()


async def test_nothing_is_left_open() -> None:
    """Programs that ended, and one that never began, leave no file open."""
    await shell("exit 0")
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    await shell("exit 0")
    with pytest.raises(FileNotFoundError):
        await run(["/there/is/no/such/program"], b"", {}, None)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

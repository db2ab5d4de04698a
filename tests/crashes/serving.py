"""Workloads that start at once: a process that has imported all they need forks for each.

`python -m crashes.serving` reads an order a line, forks, writes the new process's number, lets it begin when it reads
an empty line, and writes the status with which it ended.
"""

import fcntl
import json
import os
import resource
import select
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from crashes.workload import TESTS, Task, begin
from fbsessiond.environment import variables

SECONDS: Final = 120.0
"""A workload has ended by then."""

MOST_SAID_BYTES: Final = 1 << 20
"""More than any says; it is read in the end."""


class Server:
    """Runs one workload at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crashes.serving"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**variables, "PYTHONPATH": python_path()},
            bufsize=0,
        )

    def run(
        self, task: Task, *, most_bytes: int | None = None, before: Callable[[int], None] = lambda _: None
    ) -> tuple[int, bytes]:
        """Run a workload; return its status and what it said. Before it begins something is done with its number."""
        output = Path(task.journal).with_name("output")
        os.mkfifo(output)  # no file: its limit isn't for what a workload says
        with os.fdopen(os.open(output, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, MOST_SAID_BYTES)
            self._write(json.dumps({"task": asdict(task), "output": str(output), "most_bytes": most_bytes}))
            before(int(self._read()))
            self._write("")
            status, said = int(self._read()), pipe.read() or b""
        output.unlink()
        return status, said

    def finish(self, task: Task) -> bytes:
        """Run a workload to its end, which it has to reach; return what it said."""
        status, said = self.run(task)
        if status or not said.endswith(b"done\n"):
            raise RuntimeError(f"the workload ended with {status}: {said[-500:]!r}")
        return said

    def close(self) -> None:
        """End it, with what it runs."""
        self._process.kill()
        self._process.communicate()

    def _write(self, line: str) -> None:
        _pipe(self._process.stdin).write(line.encode() + b"\n")

    def _read(self) -> bytes:
        pipe = _pipe(self._process.stdout)
        if not select.select([pipe], [], [], SECONDS)[0]:
            raise TimeoutError(f"a workload takes longer than {SECONDS:g} s")
        return pipe.readline()


def python_path() -> str:
    """Return where a workload finds its modules."""
    return os.pathsep.join(filter(None, (str(TESTS), variables.get("PYTHONPATH"))))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def serve() -> None:
    """Run what is ordered, until nothing is any more."""
    orders = os.fdopen(0, "rb", buffering=0)
    while line := orders.readline():
        order = json.loads(line)
        if not (process := os.fork()):
            _work(orders, order)
        os.write(1, b"%d\n" % process)
        _, status = os.waitpid(process, 0)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))


def _work(orders: IO[bytes], order: dict[str, Any]) -> NoReturn:
    """Be a workload."""
    status = 1
    try:
        os.dup2(os.open(order["output"], os.O_WRONLY), 1)
        orders.readline()
        if (most_bytes := order["most_bytes"]) is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        status = begin(Task(**order["task"]))
    except BaseException:  # noqa: BLE001  as at the end of any program
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve()

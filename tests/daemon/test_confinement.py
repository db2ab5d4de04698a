"""A process can't be freed of its confinement: another one is confined for each test."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fbsessiond.confinement import ConfinedError, confine

PROGRAM = """
import asyncio, json, os, shutil, socket, sqlite3, subprocess, sys, tempfile, urllib.request
from pathlib import Path
from fbsessiond.confinement import ConfinedError, confine

tried = []
loop = asyncio.new_event_loop()
connected = socket.socket()
tempfile.tempdir = "."
confine(tried.append)
for act in json.loads(sys.argv[1]):
    tried.clear()
    try:
        exec(act)
    except ConfinedError as error:
        print(json.dumps([act, str(error), tried]))
    else:
        print(json.dumps([act, None, tried]))
"""

REFUSED = {
    "open('x', 'w')": "writing a file",
    "open('there', 'a')": "writing a file",
    "open('there', 'r+b')": "writing a file",
    "open('x', 'x')": "writing a file",
    "os.open('there', os.O_RDWR)": "writing a file",
    "Path('x').touch()": "os.utime",
    "Path('there').unlink()": "os.remove",
    "Path('there').rename('x')": "os.rename",
    "os.mkdir('x')": "os.mkdir",
    "shutil.copy('there', 'x')": "shutil.copyfile",
    "tempfile.mkdtemp(dir='.')": "tempfile.mkdtemp",
    "socket.socket()": "socket.__new__",
    "connected.connect(('127.0.0.1', 9))": "socket.connect",
    "connected.bind(('127.0.0.1', 0))": "socket.bind",
    "socket.getaddrinfo('localhost', 80)": "socket.getaddrinfo",
    "urllib.request.urlopen('http://127.0.0.1:9')": "socket.getaddrinfo",
    "subprocess.run(['true'])": "subprocess.Popen",
    "os.system('true')": "os.system",
    "os.fork()": "os.fork",
    "os.kill(os.getpid(), 0)": "os.kill",
    "sqlite3.connect('x.db')": "sqlite3.connect",
    "loop.run_until_complete(asyncio.to_thread(open, 'x', 'w'))": "writing a file",
}

ALLOWED = [
    "open('there').read()",
    "open('there', 'rb').read()",
    "os.stat('there')",
    "os.listdir('.')",
    "open(os.devnull, 'w').write('x')",
    "print('x', file=sys.stderr)",
    "loop.run_until_complete(asyncio.sleep(0))",
    "loop.run_until_complete(asyncio.to_thread(len, 'x'))",
    "import json.tool",
]


def confined(acts: list[str], folder: Path) -> list[tuple[str, str | None, list[str]]]:
    """Return what becomes of each thing that a confined process does: how it is refused, and what is told of it."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, json.dumps(acts)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [(act, error, told) for act, error, told in map(json.loads, done.stdout.splitlines())]


def test_refused(tmp_path: Path) -> None:
    """What would act outside is refused before it happens, and told."""
    (tmp_path / "there").write_text("as it was")
    found = confined(list(REFUSED), tmp_path)
    assert found == [(act, f"{what} isn't allowed here", [what]) for act, what in REFUSED.items()]
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("there", "as it was")]


def test_allowed(tmp_path: Path) -> None:
    """To look, to compute and to print is allowed."""
    (tmp_path / "there").write_text("as it was")
    assert confined(ALLOWED, tmp_path) == [(act, None, []) for act in ALLOWED]


def test_swallowed(tmp_path: Path) -> None:
    """Who catches exceptions doesn't catch this one; who catches everything is told of all the same."""
    acts = [f"try:\n open('x', 'w')\nexcept {caught}: pass" for caught in ("Exception", "BaseException")]
    found = confined(acts, tmp_path)
    assert [(error is not None, told) for _, error, told in found] == [
        (True, ["writing a file"]),
        (False, ["writing a file"]),
    ]


def test_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is confined by an audit hook, which refuses by an event's name, or by how a file is opened."""
    hooks: list[Any] = []
    monkeypatch.setattr(sys, "addaudithook", hooks.append)
    tried: list[str] = []
    confine(tried.append)
    (hook,) = hooks
    for event, arguments in (
        ("import", ()),
        ("open", ("x", "r", os.O_RDONLY)),
        ("open", ("x", None, os.O_RDONLY)),
        ("open", (os.devnull, "w", os.O_WRONLY)),
    ):
        hook(event, arguments)
    assert tried == []
    for event, arguments in (
        ("open", ("x", "r", os.O_RDWR)),
        ("open", ("x", "w", 0)),
        ("socket.connect", ()),
        ("shutil.rmtree", ()),
    ):
        with pytest.raises(ConfinedError):
            hook(event, arguments)
    assert tried == ["writing a file", "writing a file", "socket.connect", "shutil.rmtree"]

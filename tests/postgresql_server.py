"""A PostgreSQL server of the tests' own, on a socket in a temporary folder; without one they are skipped."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

USER = "postgres"


@dataclass
class Server:
    """A server that runs, or is stopped for a while."""

    folder: Path
    programs: Path
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def url(self, database: str = "postgres", **settings: str) -> str:
        """Return the address of one of its databases."""
        more = "".join(f"&{name}={value}" for name, value in settings.items())
        return f"postgresql:///{database}?host={self.folder}&user={USER}{more}"

    def new_url(self) -> str:
        """Return an address with nothing in it: a new schema."""
        name = f"journal_{next(self._numbers)}"
        self.run(f"CREATE SCHEMA {name}")
        return self.url(options=f"-csearch_path%3D{name}")

    def run(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as who may do everything."""
        options = "-cdefault_transaction_read_only=off"
        with psycopg.connect(self.url(database), options=options, autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def read_only(self) -> Generator[None, None, None]:
        """Let nothing be written, for a while: sessions that are there end, and new ones can only read."""
        try:
            self._reload("ALTER SYSTEM SET default_transaction_read_only = on", "on")
            others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
            self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608  no value
            yield
        finally:
            self._reload("ALTER SYSTEM RESET default_transaction_read_only", "off")

    def _reload(self, change: str, expected: str) -> None:
        """Change a setting, and wait until new sessions have it."""
        self.run(change)
        self.run("SELECT pg_reload_conf()")
        while self._shown() != expected:
            pass

    def _shown(self) -> str:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            row = connection.execute("SHOW default_transaction_read_only").fetchone()
            assert row is not None
            return str(row[0])

    def start(self, *settings: str) -> None:
        """Start it, and wait until it can be connected to."""
        given = [f"-k {self.folder}", "-c listen_addresses=''", "-c fsync=off", "-c max_connections=50"]
        options = " ".join([*given, *(f"-c {setting}" for setting in settings)])
        self._control("start", "-o", options, "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop it, and wait until it has ended: `immediate` is a crash."""
        self._control("stop", "-m", mode)

    def _control(self, *arguments: str) -> None:
        run(self.programs / "pg_ctl", "-D", str(self.folder / "data"), "-w", *arguments)


@contextmanager
def running_server() -> Generator[Server, None, None]:
    """Run a server of the installed version. Skips the test where there is none."""
    if (programs := installed()) is None:
        pytest.skip("PostgreSQL isn't installed: `make debian-packages`")
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        initdb = ("-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-k")
        run(programs / "initdb", *initdb)
        server = Server(folder, programs)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


def installed() -> Path | None:
    """Return where the server's programs are: the newest version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


def run(program: Path, *arguments: str) -> None:
    """Run one of its programs, not as root."""
    user = USER if os.geteuid() == 0 else None
    done = subprocess.run(
        [program, *arguments],
        cwd="/",
        user=user,
        group=user,
        extra_groups=None if user is None else (),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout

"""The daemon as a service of a systemd that is really booted, with the unit that it is shipped with."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
SYSTEM_PYTHON = Path("/usr/bin/python3.11")
"""Homes, where other Pythons live, can't be seen by the service."""

MISSING = [
    reason
    for is_missing, reason in (
        (os.geteuid() != 0, "only root can boot a systemd"),
        (not Path("/lib/systemd/systemd").exists(), "there is no systemd"),
        (not any(Path("/sys/fs/cgroup").glob("**/cgroup.procs")), "there is no cgroup hierarchy"),
        (shutil.which("nsenter") is None, "there is no nsenter"),
        (not SYSTEM_PYTHON.exists(), f"there is no {SYSTEM_PYTHON}"),
        (sys.version_info[:2] != (3, 11), "the packages here are for another Python than the system's"),
    )
    if is_missing
]

pytestmark = pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING))

PROGRAM = f"""#!{SYSTEM_PYTHON} -I
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/opt/fbsessiond/daemon", "/opt/fbsessiond/handlers", "/opt/fbsessiond/packages"]
from fbsessiond.cli import main
main()
"""

CONFIGURATION = """
[gws]
url = "http://127.0.0.1:8090"
username = "agent1"
password = { credential = "gws-password" }
[handlers.log]
[handlers.audit]
path = "audit.jsonl"
[snapshots]
settling = "500ms"
"""

BLOCKING = """
import time
from pathlib import Path
from typing import Any
from fbsessiond import Delivery, Done, Handler, Outcome

class Blocking(Handler):
    async def handle(self, delivery: Delivery) -> Outcome:
        mark = Path("/var/lib/fbsessiond/blocked")
        if not mark.exists():
            mark.touch()
            time.sleep(3600)
        return Done()
"""


SLOW = """
import asyncio
from pathlib import Path
from typing import Any
from fbsessiond import Delivery, Done, Handler, Outcome

class Slow(Handler):
    seconds: float

    async def handle(self, delivery: Delivery) -> Outcome:
        with Path(f"/var/lib/fbsessiond/{delivery.handler}").open("a") as file:
            print("begun", delivery.id, delivery.attempt, file=file)
        await asyncio.sleep(self.seconds)
        with Path(f"/var/lib/fbsessiond/{delivery.handler}").open("a") as file:
            print("done", delivery.id, delivery.attempt, file=file)
        return Done()
"""

SLOWLY = """
[handlers.slow]
seconds = 2
[handlers.stuck]
use = "slow"
seconds = 3600
delivery = { timeout = "1h" }
"""
"""One handler that can finish within the daemon's patience, and one that can't."""

BUSY = """
[gws]
delay = ["20ms", "50ms"]
max_interval = "5m"
[agents]
answer = ["100ms", "300ms"]
[customers]
per_minute = 300
queue = ["100ms", "200ms"]
chat = ["1s", "2s"]
writes_every = ["200ms", "400ms"]
"""

TALKING = """
import structlog
from fbsessiond import Delivery, Done, Handler, Outcome

class Talking(Handler):
    async def handle(self, delivery: Delivery) -> Outcome:
        structlog.get_logger("talking").warning("said", text="x" * 1_000_000, forged="a\\nPRIORITY=0\\nb")
        return Done()
"""

START = "systemd-run -q --unit=gws /opt/fbsessiond/bin/fbsessiond simulate --json; sleep 1\n"
BUSY_START = START.replace("simulate", "simulate --scenario /etc/fbsessiond/busy.toml")
SHOW = "systemctl show fbsessiond --property=ActiveState,StatusText,NRestarts,Result,ExecMainStatus\n"
SHOW_READY = f"""
until shown=$({SHOW.strip()}) && echo "$shown" | grep -qx StatusText=ready; do sleep 0.1; done
echo "$shown"
"""
"""The same, at a moment at which it is ready: under load it may not be for one between two others."""

EXPORT = (
    "STATE_DIRECTORY=/var/lib/private/fbsessiond /opt/fbsessiond/bin/fbsessiond export --json --reveal"
    " --journal sqlite:/var/lib/private/fbsessiond/journal.db\n"
)


STATE = f"""{SYSTEM_PYTHON} -c '
from urllib.request import urlopen
print(urlopen("http://127.0.0.1:8090/simulator/state").read().decode())'
"""


def boot(folder: Path, script: str, *, unit: str = "", files: dict[str, str] | None = None) -> str:
    """Boot a systemd with the service installed, run a script in it, and return what that said.

    `unit` is what a site changes of the unit, `files` lie in /etc/fbsessiond.
    """
    etc = folder / "etc"
    etc.mkdir()
    for name, content in {"fbsessiond.toml": CONFIGURATION, "gws-password": "simulated\n", **(files or {})}.items():
        (etc / name).parent.mkdir(exist_ok=True)
        (etc / name).write_text(content)
    (etc / "gws-password").chmod(0o600)
    (folder / "fbsessiond").write_text(PROGRAM)
    (folder / "fbsessiond").chmod(0o755)
    (folder / "site.conf").write_text(unit)
    parts = {"packages": sysconfig.get_path("purelib"), "daemon": ROOT / "daemon", "handlers": ROOT / "handlers"}
    setup = [
        "opt=$ROOT/opt/fbsessiond; units=$ROOT/etc/systemd/system",
        f"mkdir -p $opt/bin $units/fbsessiond.service.d {' '.join(f'$opt/{name}' for name in parts)}",
        *(f"mount --bind '{place}' $opt/{name}" for name, place in parts.items()),
        f"cp '{folder}/fbsessiond' $opt/bin/; cp -r '{etc}' $ROOT/etc/fbsessiond",
        f"cp '{ROOT}'/systemd/*.service $units/; cp '{folder}/site.conf' $units/fbsessiond.service.d/",
    ]
    command = ["bash", str(TESTS / "systemd_boot.sh"), "\n".join(setup), script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def journalled(said: str) -> list[dict[str, Any]]:
    """Return the entries that a script printed after the simulator's state; nothing acknowledged is missing."""
    simulator, *entries = (json.loads(line) for line in said.splitlines() if line.startswith(('{"sessions"', '{"seq"')))
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    notifications = iter([entry["notification"] for entry in entries])
    assert simulator["acknowledged"]
    assert all(sent["data"] in notifications for sent in simulator["acknowledged"]), "each is there, in their order"
    return entries


def test_life(tmp_path: Path) -> None:
    """A start waits until it is ready, as a user of its own with its credential; a kill loses nothing; a stop is 0."""
    said = boot(
        tmp_path,
        f"""
        {BUSY_START}
        systemctl start fbsessiond
        {SHOW_READY}
        systemctl kill --signal=KILL fbsessiond
        until systemctl show fbsessiond --property=NRestarts | grep -q '=1'; do sleep 0.1; done
        {SHOW_READY}
        stat -c '%A %n' /var/lib/private/fbsessiond/*
        ps -o user= -C fbsessiond
        systemctl stop fbsessiond
        {SHOW}
        {STATE}
        {EXPORT}
        """,
        unit="[Service]\nRestartSec=100ms\n",
        files={"busy.toml": BUSY},
    )
    assert journalled(said)
    lines = said.splitlines()
    assert lines.count("ActiveState=active") == 2
    assert lines.count("StatusText=ready") == 2
    assert "fbsessi+" in lines or "fbsessiond" in lines
    assert [line.split()[0] for line in lines if line.startswith("-")] == ["-rw-------"] * 5
    assert {"ActiveState=inactive", "Result=success", "ExecMainStatus=0"} <= set(lines)


def test_start_waits_for_the_platform(tmp_path: Path) -> None:
    """While GWS isn't there the start goes on for longer than its time-out, and says what it waits for."""
    said = boot(
        tmp_path,
        f"""
        systemctl start --no-block fbsessiond
        until systemctl show fbsessiond --property=StatusText | grep -q connection; do sleep 0.1; done
        sleep 6
        {SHOW}
        {START}
        systemctl start fbsessiond
        {SHOW}
        """,
        unit="[Service]\nTimeoutStartSec=6s\n",
    )
    shown = [line for line in said.splitlines() if line.startswith(("Active", "Status", "NRestarts"))]
    assert shown == [
        "StatusText=not ready: connection agent1, coverage agent1",
        "NRestarts=0",
        "ActiveState=activating",
        "StatusText=ready",
        "NRestarts=0",
        "ActiveState=active",
    ]


def test_wrong_credentials(tmp_path: Path) -> None:
    """It isn't started again and again with credentials that GWS refuses."""
    said = boot(tmp_path, f"{START} systemctl start fbsessiond || true; sleep 1; {SHOW}", files={"gws-password": "x"})
    assert {"ActiveState=failed", "ExecMainStatus=77", "NRestarts=0"} <= set(said.splitlines())


def test_reload(tmp_path: Path) -> None:
    """A reload with a broken file keeps the old configuration and says so; with a good one the new one is taken."""
    said = boot(
        tmp_path,
        f"""
        {START}
        systemctl start fbsessiond
        echo '[handlers.audit' >> /etc/fbsessiond/fbsessiond.toml
        systemctl reload fbsessiond; sleep 1.5
        {SHOW}
        sed -i '$d' /etc/fbsessiond/fbsessiond.toml
        systemctl reload fbsessiond; sleep 2.5
        {SHOW}
        """,
    )
    broken, mended = [line for line in said.splitlines() if line.startswith("StatusText=")]
    assert broken.startswith("StatusText=ready; the configuration that it was to reload is refused: ")
    assert "fbsessiond.toml" in broken
    assert mended == "StatusText=ready"
    assert said.count("ActiveState=active") == 2
    assert "NRestarts=1" not in said


def test_hung_loop(tmp_path: Path) -> None:
    """The watchdog ends a daemon whose event loop hangs, and systemd starts it again; no notification is lost."""
    said = boot(
        tmp_path,
        f"""
        {START}
        systemctl start fbsessiond
        until systemctl show fbsessiond --property=NRestarts,StatusText | tr '\\n' ' ' | grep -q 'ready .*=1'; do
            sleep 0.2; done
        journalctl -u fbsessiond -o cat --no-pager | grep -c 'Watchdog timeout'
        sleep 2
        systemctl stop fbsessiond
        {STATE}
        {EXPORT}
        """,
        unit="[Service]\nWatchdogSec=3s\nRestartSec=100ms\n",
        files={
            "fbsessiond.toml": f"{CONFIGURATION}[handlers.blocking]\n",
            "handlers.d/blocking.py": BLOCKING,
        },
    )
    assert said.splitlines()[0] == "1"
    assert journalled(said)


def test_stop_under_load(tmp_path: Path) -> None:
    """A stop under load takes the time that it needs: what can end ends, the rest is handed back, nothing is lost."""
    said = boot(
        tmp_path,
        f"""
        {BUSY_START}
        systemctl start fbsessiond
        sleep 3
        systemctl stop fbsessiond
        {SHOW}
        journalctl -o json EVENT=deliveries.handed_back HANDLER=stuck | cat
        {STATE}
        {EXPORT}
        cd /var/lib/private/fbsessiond
        sed 's/^/stopped /' slow stuck
        cp stuck before
        sed -i 's/^seconds.*/seconds = 0/' /etc/fbsessiond/fbsessiond.toml
        systemctl start fbsessiond
        for interrupted in $(awk '/begun/ {{ print $2 }}' before); do
            until grep -q "done $interrupted " stuck; do sleep 0.1; done
        done
        sed 's/^/started /' stuck
        """,
        unit="[Service]\nTimeoutStopSec=2s\n",
        files={"fbsessiond.toml": CONFIGURATION + SLOWLY, "handlers.d/slow.py": SLOW, "busy.toml": BUSY},
    )
    lines = said.splitlines()
    assert {"ActiveState=inactive", "Result=success", "ExecMainStatus=0"} <= set(lines[:5])
    assert len(journalled(said)) > 100
    (handed_back,) = (json.loads(line) for line in lines if '"deliveries.handed_back"' in line)
    begun, done = (
        {tuple(line.split()[2:]) for line in lines if line.startswith(f"stopped {what} ")} for what in ("begun", "done")
    )
    interrupted = begun - done
    assert {delivery.partition("/")[2] for delivery, _ in done} == {"slow"}
    assert {delivery.partition("/")[2] for delivery, _ in interrupted} == {"stuck"}
    assert handed_back["COUNT"] == str(len(interrupted))
    again = {tuple(line.split()[2:]) for line in lines if line.startswith("started done ")}
    assert interrupted <= again, "at no attempt's cost"


def test_journal(tmp_path: Path) -> None:
    """In systemd's journal each event can be found by its fields, however long it is, and nothing in it forges one."""
    said = boot(
        tmp_path,
        f"""
        {BUSY_START}
        systemctl start fbsessiond
        until journalctl -q EVENT=said | grep -q said; do sleep 0.1; done
        show="journalctl -u fbsessiond -o json --all"
        session=$($show -n 1 EVENT=session.transition --output-fields=SESSION |
            sed -E 's/.*"SESSION":"([^"]*)".*/\\1/')
        $show -n 1 EVENT=session.transition SESSION=$session
        $show -n 1 EVENT=said
        """,
        files={
            "fbsessiond.toml": f"{CONFIGURATION}[handlers.talking]\n",
            "handlers.d/talking.py": TALKING,
            "busy.toml": BUSY,
        },
    )
    transition, talking = (json.loads(line) for line in said.splitlines())
    assert transition["TRANSITION"] == transition["SEQ"]
    assert (transition["HANDLER"], transition["PRIORITY"], transition["AGENT"]) == ("log", "6", "agent1")
    assert transition["MESSAGE"].startswith(f"session.transition session={transition['SESSION']} agent=agent1 ")
    assert (transition["_SYSTEMD_UNIT"], transition["_TRANSPORT"]) == ("fbsessiond.service", "journal")
    assert (talking["HANDLER"], talking["PRIORITY"]) == ("talking", "4")
    assert (talking["TEXT"][:16_000], talking["FORGED"]) == ("x" * 16_000, "a\nPRIORITY=0\nb")  # the rest is cut off


PROBE = """
import ctypes, os, socket
def attempt(name, work):
    try:
        work()
    except OSError as error:
        print(name, "denied", error.errno, flush=True)
    else:
        print(name, "allowed", flush=True)
def unshare():
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")
attempt("write state", lambda: open("/var/lib/fbsessiond/x", "w"))
attempt("write etc", lambda: open("/etc/fbsessiond/x", "w"))
attempt("write opt", lambda: open("/opt/x", "w"))
attempt("read credential", lambda: open(os.environ["CREDENTIALS_DIRECTORY"] + "/gws-password").read())
attempt("read password", lambda: open("/etc/fbsessiond/gws-password").read())
attempt("inet", lambda: socket.socket(socket.AF_INET))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("namespace", unshare)
attempt("home", lambda: os.listdir("/root"))
"""


def test_hardening(tmp_path: Path) -> None:
    """What the service has no need for is denied: other places, other address families, new namespaces."""
    said = boot(
        tmp_path,
        "systemctl start fbsessiond; journalctl -u fbsessiond -o cat --no-pager | grep -E 'denied|allowed'",
        unit=f"[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={SYSTEM_PYTHON} /etc/fbsessiond/probe.py\n",
        files={"probe.py": PROBE},
    )
    allowed = [line.removesuffix(" allowed") for line in said.splitlines() if line.endswith(" allowed")]
    denied = [line.split(" denied")[0] for line in said.splitlines() if " denied" in line]
    assert allowed == ["write state", "read credential", "inet", "unix"]
    assert denied == ["write etc", "write opt", "read password", "netlink", "packet", "namespace", "home"]


@pytest.mark.parametrize("name", ["fbsessiond.service", "fbsessiond@.service"])
def test_exposure(name: str) -> None:
    """Systemd's own judgement of the unit is 1.2 at most, and it finds nothing wrong in it."""
    unit = str(ROOT / "systemd" / name)
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=12", "--no-pager", unit]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", ["fbsessiond.service", "fbsessiond@alice.service"])
def test_verify(tmp_path: Path, name: str) -> None:
    """Systemd understands each line of the unit."""
    written = (ROOT / "systemd" / name.replace("alice", "")).read_text()
    (tmp_path / name.replace("alice", "")).write_text(written.replace("/opt/fbsessiond/bin/fbsessiond", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / name)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_template() -> None:
    """The unit for several instances is the other one, but for its names."""
    one, other = ((ROOT / "systemd" / f"fbsessiond{at}.service").read_text().splitlines()[1:] for at in ("", "@"))
    for line, templated in zip(one, other, strict=True):
        assert (
            templated.replace(" (%i)", "")
            .replace("%i.toml", "fbsessiond.toml")
            .replace("%i.password", "gws-password")
            .replace("fbsessiond/%i", "fbsessiond")
            == line
        )

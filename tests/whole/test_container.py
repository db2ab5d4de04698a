"""The daemon in a container that really runs: no root, no capability, nothing written but in /data."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from containers import CONFINED, IMAGE, MISSING, PATIENCE_SECONDS, ROOT, Podman
from daemons import Daemon, records, until
from fbsessiond.clock import SystemClock

pytestmark = pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING))

USER = 10001
GRACE_SECONDS = 30
"""Kubernetes' own terminationGracePeriodSeconds, and the pod's of docs/kubernetes-sidecar.yaml."""

CONFIGURATION = """
[gws]
url = "URL"
username = "agent1"
password = { file = "/run/secrets/gws-password" }
[http]
listen = "unix:/data/http.sock"
[snapshots]
settling = "500ms"
[handlers.log]
[handlers.slow]
seconds = 1
[handlers.stuck]
use = "slow"
seconds = 3600
delivery = { timeout = "1h" }
"""

SLOW = """
import asyncio
import structlog
from fbsessiond import Delivery, Done, Handler, Outcome

log = structlog.get_logger("fbsessiond_handlers.slow")

class Slow(Handler):
    seconds: float

    async def handle(self, delivery: Delivery) -> Outcome:
        log.info("begun")
        await asyncio.sleep(self.seconds)
        log.info("ended")
        return Done()
"""

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

PROBE = """
import json, os, shutil
def is_denied(path):
    try:
        open(path, "w")
    except OSError:
        return True
    return False
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "groups": os.getgroups(),
    "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"],
    "denied": [path for path in ("/x", "/etc/x", "/opt/fbsessiond/x", "/run/x", "/data/x") if is_denied(path)],
    "shell": shutil.which("sh"),
}))
"""


CONFINEMENT = {
    "user": [USER, USER],
    "groups": [],
    "capabilities": ["0" * 16] * 5,
    "no_new_privileges": "1",
    "denied": ["/x", "/etc/x", "/opt/fbsessiond/x", "/run/x"],
    "shell": None,
}


@pytest.fixture(scope="module")
def podman() -> Generator[Podman, None, None]:
    """Build the image, once."""
    podman = Podman(Path(tempfile.mkdtemp(prefix="fbsessiond-podman-")))
    try:
        podman.build()
        yield podman
    finally:
        podman.clean_up()


@asynccontextmanager
async def simulating(folder: Path) -> AsyncGenerator[str, None]:
    """Run `fbsessiond simulate` with many customers; yield its address."""
    (folder / "busy.toml").write_text(BUSY)
    said = folder / "simulator.jsonl"
    options = ("--json", "--port", "0", "--scenario", str(folder / "busy.toml"))
    with said.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fbsessiond", "simulate", *options, stdin=DEVNULL, stdout=output
        )
    try:
        await until(lambda: "\n" in said.read_text())
        yield json.loads(said.read_text().partition("\n")[0])["url"]
    finally:
        process.kill()
        await process.wait()


def acknowledged(url: str) -> list[Any]:
    """Return the notifications that the simulator counts as acknowledged."""
    with urllib.request.urlopen(f"{url}/simulator/state") as response:  # noqa: S310  our own address
        return [sent["data"] for sent in json.load(response)["acknowledged"]]


def lay_out(folder: Path, url: str) -> list[str]:
    """Write the configuration, and return how it and the data are mounted."""
    (folder / "etc" / "handlers.d").mkdir(parents=True)
    (folder / "etc" / "fbsessiond.toml").write_text(CONFIGURATION.replace("URL", url))
    (folder / "etc" / "handlers.d" / "slow.py").write_text(SLOW)
    (folder / "password").write_text("simulated\n")
    (folder / "data").mkdir()
    for path in (folder / "password", folder / "data"):
        os.chown(path, USER, USER)
        path.chmod(0o500 if path.is_file() else 0o700)
    places = {"etc": "/etc/fbsessiond:ro", "password": "/run/secrets/gws-password:ro", "data": "/data"}
    return [f"--volume={folder}/{name}:{place}" for name, place in places.items()]


async def stop(podman: Podman, daemon: Daemon, name: str) -> float:
    """Stop a container as Kubernetes does: SIGTERM, then a while of grace. Return how many seconds it took."""
    begun = SystemClock().monotonic()
    status, words = await podman("stop", f"--time={GRACE_SECONDS}", name)
    assert status == 0, words
    assert await daemon.ended() == 0
    return SystemClock().monotonic() - begun


async def until_logged(daemon: Daemon, event: str, **fields: object) -> None:
    """Wait until a container logs an event."""
    await until(lambda: daemon.logged(event, **fields), PATIENCE_SECONDS)


async def until_passed(podman: Podman, name: str, probe: dict[str, Any]) -> None:
    """Ask a container again and again, as Kubernetes does, until a probe's command ends with 0."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await podman("exec", name, *probe["exec"]["command"]))[0]:
            pass


async def test_replay(podman: Podman) -> None:
    """It replays fixtures, without a configuration and without a network."""
    mount = f"--volume={ROOT}/docs/demo:/fixtures:ro"
    replay = ("replay", "--json", "/fixtures/one-session.jsonl")
    status, words = await podman("run", *CONFINED, "--network=none", mount, IMAGE, *replay)
    assert status == 0, words
    assert [json.loads(line)["after"] for line in words.splitlines() if '"after"' in line][-1] == "Completed"


async def test_run(podman: Podman, tmp_path: Path) -> None:
    """It runs as nobody, and can be asked for its health; SIGTERM under load ends it in time, and loses nothing."""
    async with simulating(tmp_path) as url:
        mounts = lay_out(tmp_path, url)
        async with podman.running("one", "--network=host", *mounts) as daemon:
            await until_logged(daemon, "gap.repaired")
            await check_health(podman, "one")
            _, found = await podman("exec", "one", "python3", "-c", PROBE)
            assert json.loads(found) == CONFINEMENT
            await until_logged(daemon, "ended", handler="slow")
            assert await stop(podman, daemon, "one") < GRACE_SECONDS
        begun, ended = (deliveries(daemon, event, "slow") for event in ("begun", "ended"))
        assert begun == ended, "what can end in time ends"
        interrupted = deliveries(daemon, "begun", "stuck")
        (handed_back,) = daemon.logged("deliveries.handed_back", handler="stuck")
        assert handed_back["count"] == len(interrupted)

        configuration = tmp_path / "etc" / "fbsessiond.toml"
        configuration.write_text(configuration.read_text().replace("3600", "0"))
        async with podman.running("two", "--network=host", *mounts) as daemon:
            await until_logged(daemon, "cometd.resumed")
            await until(lambda: interrupted <= deliveries(daemon, "ended", "stuck"), PATIENCE_SECONDS)
            assert await stop(podman, daemon, "two") < GRACE_SECONDS

        journal = ("--journal", f"sqlite:{tmp_path}/data/journal.db")
        notifications = iter([entry["notification"] for entry in await records("export", "--reveal", *journal)])
        assert all(data in notifications for data in acknowledged(url)), "each is there, in their order"
        gaps = [line["cause"] for line in await records("coverage", *journal) if "cause" in line]
        assert gaps == ["start"]


async def check_health(podman: Podman, name: str) -> None:
    """Check that the image's own health check finds it alive, and the other one finds it ready."""
    _, health = await podman("image", "inspect", "--format={{json .HealthCheck.Test}}", IMAGE)
    for command in (json.loads(health)[1:], ["python3", "-m", "fbsessiond", "check", "--ready"]):
        status, words = await podman("exec", name, *command)
        assert status == 0, words


def deliveries(daemon: Daemon, event: str, handler: str) -> set[str]:
    """Return the deliveries about which a handler logged an event."""
    return {line["delivery"] for line in daemon.logged(event, handler=handler)}


def options(container: dict[str, Any], pod: dict[str, Any], folder: Path) -> list[str]:
    """Return a container of a pod in podman's words, with a folder for each of its volumes.

    Podman 4.3 can't play the file itself: it knows no native sidecars, and stumbles over the rest.
    """
    security = {**pod["spec"]["securityContext"], **container["securityContext"]}
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["runAsNonRoot"]
    mounts = [
        f"--volume={folder}/{mount['name']}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"
        for mount in container.get("volumeMounts", [])
    ]
    user = f"--user={security['runAsUser']}:{security['runAsGroup']}"
    return [f"--pod={pod['metadata']['name']}", user, *mounts]


def sidecar_pod() -> dict[str, Any]:
    """Return the pod of the documentation."""
    read = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    with (ROOT / "docs" / "kubernetes-sidecar.yaml").open() as file:
        pod: dict[str, Any] = json.loads(subprocess.check_output([sys.executable, "-c", read], stdin=file))
    return pod


@pytest.mark.skipif(find_spec("yaml") is None, reason="there is no PyYAML (make .venv/.deployment)")
async def test_sidecar(podman: Podman, tmp_path: Path) -> None:
    """In a pod it lives before the desktop is there, is ready with it, can be asked by it, and stops after it."""
    pod = sidecar_pod()
    (sidecar,), (desktop,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    for name in ("data", "configuration", "password"):
        (tmp_path / name).mkdir()
    (tmp_path / "configuration" / "fbsessiond.toml").write_text(
        CONFIGURATION.partition("[http]")[0]
        .replace("URL", "http://127.0.0.1:8090")
        .replace("/run/secrets/", "/run/secrets/fbsessiond/")
    )
    (tmp_path / "password" / "gws-password").write_text("simulated\n")
    os.chown(tmp_path / "data", USER, USER)
    await podman.make_pod(pod["metadata"]["name"])

    async with podman.running("sidecar", *options(sidecar, pod, tmp_path), arguments=sidecar["args"]) as daemon:
        await until_logged(daemon, "daemon.started")
        await until_passed(podman, "sidecar", sidecar["startupProbe"])
        assert (await podman("exec", "sidecar", *sidecar["readinessProbe"]["exec"]["command"]))[0] == 1

        async with podman.running("desktop", *options(desktop, pod, tmp_path), arguments=["simulate"]):
            await until_passed(podman, "sidecar", sidecar["readinessProbe"])
            await until_passed(podman, "sidecar", sidecar["livenessProbe"])
            ask = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8707/livez').read().decode())"
            assert await podman("exec", "desktop", "python3", "-c", ask) == (0, "alive\n\n")
        assert pod["spec"]["terminationGracePeriodSeconds"] == GRACE_SECONDS
        assert await stop(podman, daemon, "sidecar") < GRACE_SECONDS

"""What fbsessiond is deployed with, judged by the linters of those who read it."""

import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SIDECAR = ROOT / "docs" / "kubernetes-sidecar.yaml"
QUADLET = ROOT / "systemd" / "fbsessiond.container"
GENERATOR = Path("/usr/libexec/podman/quadlet")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def judged(name: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Return what a linter says."""
    if not (BIN / name).exists():
        pytest.skip(f"there is no {name} (make .venv/.deployment)")
    return run(BIN / name, *arguments)


def run(*command: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": PATH, **variables})


def test_containerfile() -> None:
    """Hadolint finds nothing in the Containerfile."""
    ended = judged("hadolint", ROOT / "Containerfile")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_sidecar() -> None:
    """Kubernetes' own schema takes the sidecar's pod, and knows each of its keys."""
    ended = judged("kubernetes-validate", "--strict", SIDECAR)
    assert (ended.returncode, ended.stdout.splitlines()[1:]) == (0, [])
    assert "passed for resource pod/agent-desktop" in ended.stdout


def test_quadlet() -> None:
    """The container's unit is as confined as the sidecar, and has as long to stop."""
    unit = parsed(QUADLET.read_text())["Container"]
    assert [unit[key] for key in ("ReadOnly", "DropCapability", "NoNewPrivileges", "User", "Group")] == [
        "true",
        "all",
        "true",
        "10001",
        "10001",
    ]
    assert f"terminationGracePeriodSeconds: {unit['StopTimeout']}\n" in SIDECAR.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_quadlet_without_podman(tmp_path: Path) -> None:
    """Systemd understands all of the container's unit but for what podman makes of it."""
    known = QUADLET.read_text().replace("[Container]", "[X-Container]")
    (tmp_path / "fbsessiond.service").write_text(known.replace("[Service]", "[Service]\nExecStart=/bin/true"))
    ended = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / "fbsessiond.service")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not GENERATOR.exists(), reason=f"there is no {GENERATOR}: podman is older than Quadlets")
def test_quadlet_with_podman(tmp_path: Path) -> None:
    """Podman makes a service of the container's unit, which systemd understands."""
    shutil.copy(QUADLET, tmp_path)
    ended = run(GENERATOR, "--dryrun", QUADLET_UNIT_DIRS=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    service = ended.stdout.partition("---fbsessiond.service---\n")[2]
    (tmp_path / "fbsessiond.service").write_text(service)
    (start,) = (line for line in service.splitlines() if line.startswith("ExecStart="))
    for option in ("--read-only", "--cap-drop all", "no-new-privileges", "--user 10001:10001", "--sdnotify=container"):
        assert option in start
    ended = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / "fbsessiond.service")
    assert (ended.returncode, ended.stderr) == (0, "")


def parsed(unit: str) -> RawConfigParser:
    """Read a unit; of a key that stands there twice the last value is kept."""
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit)
    return parser

"""The image, built from the Containerfile on bases of Debian's packages, and run by podman: no registry is asked.

Everything that podman and buildah keep lies in a folder of the test's.
"""

import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from daemons import Daemon

ROOT = Path(__file__).parents[1]
PYTHON = Path("/usr/bin/python3")
"""The system's, as it is in the bases."""
PROGRAMS = ("mmdebstrap", "buildah", "podman", "runc")
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
IMAGE = "localhost/fbsessiond"

MISSING = [
    *(f"there is no {name} (make debian-packages)" for name in PROGRAMS if shutil.which(name) is None),
    *(["only root can run these containers"] if os.geteuid() != 0 else []),
    *(["the system isn't a Debian, or has no Python"] if not (SOURCES.exists() and PYTHON.exists()) else []),
]

PACKAGES = "base-files,netbase,libc6,python3-minimal,libpython3-stdlib,tzdata,media-types,libstdc++6,python3-pip,dash"
NEVER = ("./etc/apt", "./var/lib/apt")
"""What of them says where packages come from."""
TO_BUILD = (*NEVER, "./bin/dash", "./bin/sh", "./usr/lib/python3/dist-packages")
"""What of them the daemon runs without: pip, and any shell."""

CONFINED = ("--rm", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--stop-timeout=30")

LIMITS = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
"""Podman's own are more than a machine may allow."""


PATIENCE_SECONDS = 180.0
"""How long anything may take: on a busy machine a container is slow to start, and to be asked."""


class Podman:
    """Podman with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """For the storage, and what it is filled from."""
        self.storage = ("--root", f"{folder}/storage", "--runroot", f"{folder}/run")
        tools = (
            "--tmpdir",
            f"{folder}/temporary",
            "--cgroup-manager=cgroupfs",
            "--runtime=runc",
            "--events-backend=none",
        )
        self.program = ("env", f"CONTAINERS_CONF={folder}/containers.conf", "podman", *self.storage, *tools)
        (folder / "containers.conf").write_text(LIMITS)

    def build(self) -> None:
        """Build the image."""
        wheels = self.folder / "wheels"
        (self.folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        version = _ran(PYTHON, "-c", "import platform; print(platform.python_version())").strip()
        only = ("--only-binary=:all:", "--python-version", version)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels, *only)
        _ran(*pip, "--no-deps", "--require-hashes", "-r", ROOT / "requirements-run.lock")
        _ran(*pip, "hatchling>=1.27")
        _make_bases(self.folder)
        for name in ("base", "build"):
            _ran(*self.program, "import", "--quiet", self.folder / f"{name}.tar", f"localhost/{name}")
        arguments = ("--build-arg=BUILD_BASE=localhost/build", "--build-arg=BASE=localhost/base", f"--tag={IMAGE}")
        mounts = (f"--volume={wheels}:/wheels:ro", f"--volume={self.folder}/pip.conf:/etc/pip.conf:ro")
        how = ("--isolation=chroot", "--format=docker", "--quiet", "-f", ROOT / "Containerfile")
        _ran("buildah", *self.storage, "bud", *how, *arguments, *mounts, ROOT)

    def clean_up(self) -> None:
        """End what still runs, and remove all that podman keeps; it leaves a mount there."""
        _ran(*self.program, "pod", "rm", "--all", "--force", "--time=0")
        _ran(*self.program, "rm", "--all", "--force", "--time=0")
        subprocess.run(["umount", "--recursive", self.folder / "storage" / "overlay"], capture_output=True, check=False)
        shutil.rmtree(self.folder)

    async def make_pod(self, name: str) -> None:
        """Make a pod with a network of its own, which has nothing but loopback."""
        waits = "python3 -c __import__('signal').pause()"
        options = ("--network=none", "--infra-image=localhost/base", f"--infra-command={waits}")
        for command in (("pod", "create", f"--name={name}", *options), ("pod", "start", name)):
            status, words = await self(*command)
            assert status == 0, words

    @asynccontextmanager
    async def running(
        self, name: str, *options: str, arguments: Sequence[str] = ("run",)
    ) -> AsyncGenerator[Daemon, None]:
        """Run the image, confined, for as long as a test takes."""
        command = (*self.program, "run", f"--name={name}", *CONFINED, *options, IMAGE, *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, limit=2**24
        )
        daemon = Daemon(process)
        try:
            yield daemon
        finally:
            await self("rm", "--force", "--ignore", "--time=0", name)
            await daemon.ended()

    async def __call__(self, *arguments: str) -> tuple[int, str]:
        """Run podman; return its exit status, and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            *self.program, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode() or errors.decode()


def _make_bases(folder: Path) -> None:
    """Unpack packages of the system's own release; make of them a base to build on, and one to run on."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    how = ("--quiet", "--variant=extract", f"--include={PACKAGES}")
    _ran("mmdebstrap", *how, release, folder / "all.tar", SOURCES)
    for name, left_out in (("build", NEVER), ("base", TO_BUILD)):
        with tarfile.open(folder / "all.tar") as whole, tarfile.open(folder / f"{name}.tar", "w") as base:
            for member in whole:
                if not member.name.startswith(left_out):
                    base.addfile(member, whole.extractfile(member) if member.isreg() else None)


def _ran(*command: str | Path) -> str:
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout

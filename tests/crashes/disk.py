"""A disk of one's own whose power can be cut: ext4 in an image file, on a loop device, mounted in a folder.

After a cut (EXT4_IOC_SHUTDOWN without a flush of its log) writes fail at once, and after the next mount only that is
there which was synced before, as after a real loss of power. Needs root and loop devices.

It is mounted where only this thread and what it starts see it. Whatever makes a namespace of its own meanwhile, as a
container does, would take the mount along, and the disk without power would stay in use: the next mount would be it.
"""

import ctypes
import fcntl
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from struct import pack
from tempfile import TemporaryDirectory
from typing import Final

IMAGE_BYTES: Final = 64 * 1024 * 1024
SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN."""

WITHOUT_FLUSH: Final = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH."""

NEW_MOUNTS: Final = 0x00020000
"""CLONE_NEWNS: of unshare(2) and setns(2)."""


def why_not() -> str | None:
    """Return why this machine can't have such a disk; None where it can."""
    if os.geteuid():
        return "only root can mount a disk whose power is cut"
    missing = [program for program in ("mkfs.ext4", "losetup", "mount", "umount") if shutil.which(program) is None]
    if missing:
        return f"there is no {missing[0]}"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    return None


class Disk:
    """A disk that is mounted most of the time."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self.root = folder / "mounted"
        self.root.mkdir()
        self._device = ""

    def format(self) -> None:
        """Make an empty file system, and mount it."""
        self.detach()
        self._image.unlink(missing_ok=True)
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        _do("mkfs.ext4", "-q", "-F", str(self._image))
        self._device = _do("losetup", "--find", "--show", str(self._image))
        self.mount()

    def mount(self, *, read_only: bool = False) -> None:
        """Mount it, as the system does when power is back."""
        _do("mount", "-t", "ext4", "-o", "ro" if read_only else "rw", self._device, str(self.root))

    def cut(self) -> None:
        """Cut the power: from here on nothing reaches the disk."""
        folder = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, pack("I", WITHOUT_FLUSH))
        finally:
            os.close(folder)

    def abort(self) -> None:
        """Let the file system find an error in itself, for which it can only be read from here on."""
        _do("mount", "-o", "remount,abort", str(self.root))

    def unmount(self) -> None:
        """Unmount it; nothing may use it any more."""
        _do("umount", str(self.root))

    def detach(self) -> None:
        """Leave nothing behind, however far this came."""
        if os.path.ismount(self.root):
            _do("umount", str(self.root))
        if self._device:
            _do("losetup", "--detach", self._device)
            self._device = ""


@contextmanager
def disk() -> Generator[Disk]:
    """Lend a disk for a while."""
    with TemporaryDirectory(prefix="power-") as folder, _own_mounts():
        lent = Disk(Path(folder))
        try:
            lent.format()
            yield lent
        finally:
            lent.detach()


@contextmanager
def _own_mounts() -> Generator[None]:
    """Let nobody else see what is mounted by this thread."""
    system = ctypes.CDLL(None, use_errno=True)
    folder, before = Path.cwd(), os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
    try:
        _check(system.unshare(NEW_MOUNTS))
        _do("mount", "--make-rprivate", "/")
        yield
    finally:
        _check(system.setns(before, NEW_MOUNTS))  # which goes to the root, too
        os.chdir(folder)
        os.close(before)


def _check(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _do(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()

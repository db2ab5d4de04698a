"""Real crashes, a few of each: `make proof` has thousands. The kills have test files of their own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from crashes.bit_flips import BIT_FLIPS
from crashes.crash_points import CRASH_POINTS
from crashes.disk import disk, why_not
from crashes.disk_errors import DISK_ERRORS
from crashes.parts import PARTS
from crashes.power_cuts import POWER_CUTS, cut_power
from crashes.recovery import RECOVERY
from crashes.soak import SOAK, flat
from crashes.trend import Sample, growth
from proof.part import Part

SEED = 1
MIB = 2**20


def can_trace() -> bool:
    """Say whether strace is there and may trace."""
    strace = shutil.which("strace")
    return (
        strace is not None and not subprocess.run([strace, "-qq", "true"], capture_output=True, check=False).returncode
    )


needs_strace = pytest.mark.skipif(not can_trace(), reason="there is no strace, or it may not trace")
needs_disk = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


def problems(part: Part, amount: int) -> list[str]:
    """Run a little of a part; return what didn't hold."""
    return list(part.run(amount, SEED, lambda _: None).problems)


def test_names() -> None:
    """Each part has a name of its own."""
    assert len({part.name for part in PARTS}) == len(PARTS)


@needs_strace
def test_crash_points() -> None:
    """Killed at a system call on the journal's files, a process leaves all that it reported as committed."""
    assert problems(CRASH_POINTS, 4) == []


@needs_strace
@pytest.mark.node
def test_disk_errors() -> None:
    """A write or sync that fails in a commit ends the journal's use, and the daemon with status 74."""
    assert problems(DISK_ERRORS, 4) == []


@needs_disk
def test_power_cuts() -> None:
    """A power cut takes nothing that was reported as committed."""
    assert problems(POWER_CUTS, 4) == []


@needs_disk
def test_power_cut_beside_containers() -> None:
    """After a cut the disk is mounted anew, although another process took along what was mounted before."""
    here = Path.cwd()
    program = ["sh", "-c", "read go; exec unshare --mount --propagation private sh -c 'echo there; read end'"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as other:
        assert other.stdin
        assert other.stdout
        with disk() as lent:
            other.stdin.write(b"go\n")
            assert other.stdout.readline() == b"there\n"
            lent.cut()
            lent.unmount()
            lent.mount()
            (lent.root / "file").write_text("written")
        other.stdin.write(b"end\n")
    assert Path.cwd() == here


@needs_disk
@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_power_cuts_bite(synchronous: str) -> None:
    """A journal that syncs less than the daemon's loses something under the same power cuts: they are real."""
    assert cut_power(3, SEED, lambda _: None, synchronous, checkpoint_pages=(1000,)).problems


def test_bit_flips() -> None:
    """A bit that flips is found, or changes nothing that is read."""
    assert problems(BIT_FLIPS, 100) == []


@pytest.mark.node
def test_recovery() -> None:
    """A daemon that was killed is ready soon after its next start; how soon, only a quiet machine can tell."""
    counts = RECOVERY.run(1_000, SEED, lambda _: None).counts
    assert int(counts["entries at last"]) > 1_000


def test_growth() -> None:
    """Growth is the median of all slopes, so that an outlier doesn't count."""
    assert growth([(second, 5.0 * second + (1e9 if second == 7 else 0)) for second in range(60)]) == 5.0 * 3600
    assert growth([]) == 0


@pytest.mark.parametrize(
    ("leaked_bytes", "opened_at", "closed_at", "found"),
    [(100, 999, 999, 0), (2_000, 999, 999, 1), (0, 30, 40, 0), (0, 60, 999, 1)],
    ids=["flat", "memory grows", "a descriptor for a moment", "a descriptor leaks"],
)
def test_flat(leaked_bytes: int, opened_at: int, closed_at: int, found: int) -> None:
    """Memory that grows by more than 5 % an hour is told, and one file descriptor more."""
    samples = [
        Sample(second, 70 * MIB + second * leaked_bytes, 17 + (opened_at <= second < closed_at))
        for second in range(0, 120, 10)
    ]
    assert len(list(flat(samples, 0, "it"))) == found


def test_soak_is_a_part() -> None:
    """The soak takes minutes: an hour of them in a whole proof."""
    assert (SOAK.unit, SOAK.amount) == ("minutes", 60)

"""Runs of libFuzzer: what is started, and what comes of it."""

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from fbsessiond.environment import variables
from fuzzing.corpus import FOLDER, Sample, samples
from proof.part import Tick

LONGEST_BYTES: Final = 4096
"""The longest input that is made up; the corpus may hold longer ones."""

SLOWEST_SECONDS: Final = 10
MOST_MEGABYTES: Final = 1024
"""What one input may take: more is a finding."""

MEMORY: Final = Path("/dev/shm")  # noqa: S108  each run makes a folder of its own there
"""A folder in memory, where there is one: some targets write a file for each input."""

_LINE: Final = re.compile(r"#(\d+)\s+\w+ +cov: (\d+) ft: (\d+) corp: (\d+)/")


@dataclass
class Run:
    """What a run came to."""

    executions: int = 0
    edges: int = 0
    features: int = 0
    kept: int = 0
    """Inputs that reach something that no other does."""
    crashes: list[bytes] = field(default_factory=list[bytes])
    """Inputs that broke a promise, took too long, or took too much memory: one at most, at which the run ends."""
    words: list[str] = field(default_factory=list[str])
    """The last lines of what was said."""


def has_atheris() -> bool:
    """Say whether there is what it takes; it isn't made for each platform."""
    return importlib.util.find_spec("atheris") is not None


def fuzz(target: str, executions: int, seed: int, tick: Tick, new: Path | None = None) -> Run:
    """Make up so many inputs, from those that are kept on, until one breaks something; `new` gets what is new."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = unpack(samples(target), folder / "known")
        (folder / "new").mkdir()
        options = [f"-runs={executions}", f"-seed={seed}", f"-max_len={LONGEST_BYTES}", f"-artifact_prefix={name}/"]
        run = _run(target, [*options, str(new or folder / "new"), str(known)], tick)
        run.crashes = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
        return run


def merged(target: str, new: Path) -> list[bytes]:
    """Return the fewest inputs, of new ones and those kept so far, that reach what those with a name don't."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        into = unpack([one for one in samples(target) if one.about], folder / "into")
        before = {path.read_bytes() for path in into.iterdir()}
        known = unpack(samples(target), folder / "known")
        _run(target, ["-merge=1", str(into), str(new), str(known)], lambda _: None)
        return [data for path in into.iterdir() if (data := path.read_bytes()) not in before]


def unpack(kept: Sequence[Sample], folder: Path) -> Path:
    """Write inputs as libFuzzer reads them, a file each; return the folder."""
    folder.mkdir(exist_ok=True)
    for number, sample in enumerate(kept):
        (folder / f"{number:04}").write_bytes(sample.data)
    return folder


def _run(target: str, options: Sequence[str], tick: Tick) -> Run:
    command = [sys.executable, "-m", "fuzzing.libfuzzer", target]
    limits = [f"-timeout={SLOWEST_SECONDS}", f"-rss_limit_mb={MOST_MEGABYTES}"]
    here = FOLDER.parent.parent
    folder = {"TMPDIR": str(MEMORY)} if MEMORY.is_dir() else {}
    with subprocess.Popen(
        [*command, *limits, *options],
        cwd=here,
        env={**variables, **folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        run = Run()
        for line in _lines(process.stdout):
            run.words = [*run.words[-40:], line]
            if match := _LINE.match(line):
                run.executions, run.edges, run.features, run.kept = map(int, match.groups())
                tick(run.executions)
    if process.returncode and not any("ERROR: libFuzzer" in line or "Exception" in line for line in run.words):
        raise RuntimeError(f"{command} ended with {process.returncode}:\n" + "\n".join(run.words))
    return run


def _lines(output: IO[str]) -> Iterator[str]:
    for line in output:
        yield line.rstrip("\n")

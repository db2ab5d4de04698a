"""Let a target's corpus grow: `python -m fuzzing TARGET EXECUTIONS SEED`, from the folder `tests`."""

import sys
import tempfile
from pathlib import Path
from typing import Final

from fuzzing.corpus import Sample, keep, samples
from fuzzing.runs import fuzz, merged

MOST_BYTES: Final = 24_000
"""How much a target keeps of what has no name: the shortest inputs."""


def grow(target: str, folder: Path) -> None:
    """Keep the fewest and shortest of the inputs in a folder, and of those kept so far, that reach all of it."""
    kept = [one for one in samples(target) if one.about]
    found = sorted((Sample(data.decode("latin-1")) for data in merged(target, folder)), key=lambda one: len(one.input))
    left = MOST_BYTES
    for sample in found:
        left -= len(sample.input)
        if left < 0:
            break
        kept.append(sample)
    keep(target, kept)


if __name__ == "__main__":
    name, executions, seed = sys.argv[1:]
    with tempfile.TemporaryDirectory() as new:
        run = fuzz(name, int(executions), int(seed), lambda _: None, Path(new))
        sys.stdout.write("\n".join(run.words) + "\n")
        grow(name, Path(new))

"""The inputs that are tried in each `make test`: a file a target, a line an input.

A line is `{"about": …, "input": …}` in JSON; each character of the input is one byte. `about` names what was written
by hand, and what a run found; the rest was kept by a run because it reaches something that nothing else does.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = Path(__file__).with_name("corpus")


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input as it is kept."""

    input: str
    about: str = ""

    @property
    def data(self) -> bytes:
        """The input's bytes."""
        return self.input.encode("latin-1")


def samples(target: str) -> Sequence[Sample]:
    """Return a target's inputs."""
    lines = (FOLDER / f"{target}.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Sample) for line in lines]


def keep(target: str, kept: Iterable[Sample]) -> None:
    """Write a target's inputs: what has a name first, and then the shortest."""
    ordered = sorted(kept, key=lambda one: (not one.about, one.about, len(one.input), one.input))
    lines = (msgspec.json.encode(sample) + b"\n" for sample in ordered)
    (FOLDER / f"{target}.jsonl").write_bytes(b"".join(lines))

"""Mutants that no test notices, and why none should: `survivors.toml`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from mutation.mutant import Key

FILE = Path(__file__).parent / "survivors.toml"


def reasons(file: Path = FILE) -> Mapping[Key, str]:
    """Return the reason for each survivor that has one."""
    written = tomllib.loads(file.read_text())
    return {
        Key(each["file"], each["place"], each["change"], each.get("nth", 1)): each["because"]
        for each in written.get("survivor", [])
    }

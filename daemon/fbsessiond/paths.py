"""Paths as people write them in a configuration."""

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("should be a path: there is no such home directory") from error


HomePath: TypeAlias = Annotated[Path, AfterValidator(_expanded)]
"""A path that may begin with `~`."""

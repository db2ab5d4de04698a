"""Writing files for a person to go on with: never over what is there."""

from collections.abc import Mapping
from pathlib import Path

import typer

from fbsessiond.errors import DiskError


def write_new(files: Mapping[Path, str]) -> None:
    """Write all of the files, their folders included, or none where one of them is there already."""
    for path in files:
        if path.exists() or path.is_symlink():
            raise typer.BadParameter(
                f"{path} is there already, and nothing is overwritten; move it away, or name another"
            )
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise DiskError(f"can't write {error.filename}: {error.strerror}") from error

"""Configurations: settings, or each mistake on a line of its own, with its file or its variable, and its place."""

import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar
from unittest.mock import patch

from fbsessiond import environment, plugins
from fbsessiond.configuration import PREFIX, load
from fbsessiond.errors import ConfigurationError

T = TypeVar("T")

ENTRY_POINTS = functools.cache(plugins.entry_points)
"""What is installed stays as it is: to look takes longer than all the rest."""


def load_configuration(data: bytes) -> None:
    """Load a file, and variables after it, each after a NUL and written `NAME=value`, and look for the handlers."""
    text, *assignments = data.split(b"\0")
    variables = dict(_variable(each) for each in assignments)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(environment, "variables", {"HOME": folder, **variables}),
        patch.object(plugins.importlib, "import_module", _nothing_is_imported),
        patch.object(plugins, "_load", _nothing_is_imported),
        patch.object(plugins, "entry_points", ENTRY_POINTS),
    ):
        path = Path(folder) / "fbsessiond.toml"
        path.write_bytes(text)
        if (configuration := _judged(path, lambda: load(path))) is not None:
            _judged(path, configuration.routes)
            assert configuration.state_directory
            assert repr(configuration.settings)


def _judged(path: Path, read: Callable[[], T]) -> T | None:
    """Return what is read; None where that is a mistake which is told as it should be."""
    try:
        return read()
    except ConfigurationError as error:
        lines = str(error).split("\n")
        assert all(line.startswith((f"{path}: ", PREFIX)) for line in lines), lines
        return None


def _variable(assignment: bytes) -> tuple[str, str]:
    name, _, value = assignment.decode(errors="replace").partition("=")
    return PREFIX + re.sub(r"\W", "_", name.removeprefix(PREFIX), flags=re.ASCII), value


def _nothing_is_imported(name: object) -> NoReturn:
    """Import nothing: a file may name any module of this machine."""
    raise ImportError(f"{name} isn't imported")

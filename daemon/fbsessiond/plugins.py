"""Finding handlers: built in or installed (by entry point), by `module:Class`, or as a file in a folder."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from typing_extensions import TypeIs

from fbsessiond.errors import ConfigurationError
from fbsessiond.handler import Handler

T = TypeVar("T")

ENTRY_POINTS = "fbsessiond.handlers"
"""The group of entry points under which a package offers its handlers."""

TEST = "test_"
"""Begins the name of a handler's test."""


def find_handler(use: str, folder: Path | None = None) -> type[Handler]:
    """Return the handler that a name means.

    `module:Class` is imported; any other name is a file `NAME.py` of the folder (there `-` may stand for `_`), or else
    an entry point; without a folder, an entry point. Raises `ConfigurationError` where there is none, or where what is
    there is no handler.
    """
    if ":" in use:
        return _from_module(use)
    files = files_of(folder)
    for name in (use, use.replace("-", "_")):
        if name in files:
            return _from_file(files[name])
    offered = entry_points(group=ENTRY_POINTS)
    if use in offered.names:
        return _from_entry_point(use, offered)
    known = sorted({*offered.names, *files})
    close = get_close_matches(use, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    own = f"a handler of your own is named 'module:Class', or is a file {use}.py in {folder or 'a folder'}"
    raise ConfigurationError(f"there is no handler {use!r}: {hint} ({own})")


def files_of(folder: Path | None) -> dict[str, Path]:
    """Return the files of a folder that can be handlers, by their names; handlers' tests may lie beside them."""
    files = folder.glob("*.py") if folder else ()
    return {path.stem: path for path in sorted(files) if not path.stem.startswith(TEST)}


def installed() -> list[str]:
    """Return the names of all handlers that are built in or installed."""
    return sorted(entry_points(group=ENTRY_POINTS).names)


def _from_module(use: str) -> type[Handler]:
    name, _, attribute = use.partition(":")
    module = _imported(use, lambda: importlib.import_module(name))
    found = getattr(module, attribute, None)
    if found is None:
        names = [name for name, value in vars(module).items() if _is_handler(value) and value is not Handler]
        raise ConfigurationError(
            f"{use!r}: the module has no {attribute!r}; its handlers: {', '.join(names) or 'none'}"
        )
    return _checked(found, repr(use))


def _from_file(path: Path) -> type[Handler]:
    module = _imported(str(path), lambda: _load(path))
    own = [value for value in vars(module).values() if _is_handler(value) and value.__module__ == module.__name__]
    complete = [handler for handler in own if not inspect.isabstract(handler)] or own
    if len(complete) != 1:
        names = ", ".join(sorted(handler.__name__ for handler in complete)) or "none"
        raise ConfigurationError(f"{path}: should define one handler (a subclass of fbsessiond.Handler), has {names}")
    return _checked(complete[0], str(path))


def _from_entry_point(name: str, offered: EntryPoints) -> type[Handler]:
    values = sorted({entry_point.value for entry_point in offered.select(name=name)})
    if len(values) > 1:
        raise ConfigurationError(f"several packages offer a handler {name!r}: use one of {', '.join(values)}")
    return _checked(_imported(name, offered[name].load), f"entry point {name!r}")


def _load(path: Path) -> ModuleType:
    name = f"fbsessiond_handlers_d.{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None, "a .py file has a loader"  # noqa: PT018, S101
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _imported(use: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{use}: the handler can't be imported: {type(error).__name__}: {error}") from error


def _checked(found: object, where: str) -> type[Handler]:
    if not _is_handler(found):
        raise ConfigurationError(f"{where} is no handler: it should be a subclass of fbsessiond.Handler")
    if inspect.isabstract(found):
        lacking = ", ".join(f"{name}()" for name in sorted(found.__abstractmethods__))
        raise ConfigurationError(f"{where}: the handler {found.__name__} lacks {lacking}")
    return found


def _is_handler(value: object) -> TypeIs[type[Handler]]:
    return inspect.isclass(value) and issubclass(value, Handler)

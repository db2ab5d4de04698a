"""The configuration: one TOML file, `FBSESSIOND_*` variables over it.

Every mistake is a `ConfigurationError` that names the place, what is expected, and for an unknown key the nearest
known one; all mistakes are told at once.
"""

import copy
import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fbsessiond import environment
from fbsessiond.agents_file import with_all_agents
from fbsessiond.configuration_errors import Key, Places, describe, dotted
from fbsessiond.errors import ConfigurationError
from fbsessiond.handler import STATE_DIRECTORY
from fbsessiond.notification import is_too_deep
from fbsessiond.plugins import find_handler
from fbsessiond.route import Route
from fbsessiond.settings import HandlerSettings, Settings
from fbsessiond.toml_file import parsed, read_text

PREFIX = "FBSESSIOND_"
"""Begins the names of variables that override the file: FBSESSIOND_GWS__URL for `url` in `[gws]`."""

WELL_KNOWN = (Path("fbsessiond.toml"), Path("/etc/fbsessiond/fbsessiond.toml"))
"""Where the file is looked for when none is named."""


class Configuration:
    """A configuration that was read and found right, with the place it came from."""

    def __init__(
        self, settings: Settings, path: Path | None, text: str, variables: Mapping[Key, str] | None = None
    ) -> None:
        self.settings = settings
        self._places = Places(path, text, variables or {})

    @property
    def path(self) -> Path | None:
        """The file; None where there is none."""
        return self._places.path

    @property
    def state_directory(self) -> Path:
        """Where the journal and the handlers' files lie."""
        return self.settings.state_directory or environment.state_directory()

    @property
    def handlers_directory(self) -> Path:
        """Where handlers that are single files lie."""
        return (self.path.parent if self.path else Path()) / self.settings.handlers_directory

    def routes(self) -> list[Route]:
        """Find each handler and check its options. Raises `ConfigurationError` with all mistakes."""
        routes: list[Route] = []
        mistakes: list[str] = []
        for name, table in self.settings.handlers.items():
            try:
                routes.append(self._route(name, table))
            except ConfigurationError as error:
                mistakes.append(str(error))
        if mistakes:
            raise ConfigurationError("\n".join(mistakes))
        return routes

    def _route(self, name: str, table: HandlerSettings) -> Route:
        above: Key = ("handlers", name)
        named_by: Key = (*above, "use") if table.use is not None else above
        try:
            found = find_handler(table.use or name, self.handlers_directory)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._places.begin(named_by)}{dotted(named_by)}: {error}") from error
        options = table.model_extra or {}
        try:
            handler = found.model_validate(options, context={STATE_DIRECTORY: self.state_directory})
        except ValidationError as error:
            raise ConfigurationError("\n".join(describe(error, found, options, self._places, above))) from None
        except Exception as error:  # noqa: BLE001  a handler's own code, which can raise anything
            begin = f"{self._places.begin(above)}{dotted(above)}"
            raise ConfigurationError(f"{begin}: the handler's own check of its options fails: {_kind(error)}") from None
        return Route(name, handler, tuple(table.on or ()), table.delivery)


def _kind(error: Exception) -> str:
    """Say which error it is and where; not its text, in which an option can stand, and an option can be a secret."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


def load(path: Path | None) -> Configuration:
    """Read the configuration from a file, or from the first well-known place that has one, or from none.

    Raises `ConfigurationError` with all mistakes, a line each.
    """
    path = path or _given() or next((known for known in WELL_KNOWN if known.is_file()), None)
    text = read_text(path) if path else ""
    in_file = parsed(text, path)
    document, variables = _overridden(in_file)
    try:
        settings = Settings.model_validate(document)
        return Configuration(with_all_agents(settings, path), path, text, variables)
    except ValidationError as error:
        mistakes = list(describe(error, Settings, document, Places(path, text, variables)))
        rest = _without_mistakes(document, error)
    try:
        Configuration(rest, path, text, variables).routes()
    except ConfigurationError as error:
        mistakes.append(str(error))
    raise ConfigurationError("\n".join(mistakes))


def _given() -> Path | None:
    given = environment.variables.get(f"{PREFIX}CONFIG")
    return Path(given) if given else None


def _overridden(in_file: dict[str, Any]) -> tuple[dict[str, Any], dict[Key, str]]:
    """Return a document with what the variables set in it, and the variables' names by the keys that they set.

    `__` leads into a table. Upper and lower case are the same there, and so are `_` and `-`, which the name of a
    variable can't hold: FBSESSIOND_HANDLERS__WRAP_UP__DELIVERY__ATTEMPTS is about `[handlers.wrap-up]`.
    """
    document = copy.deepcopy(in_file)
    names: dict[Key, str] = {}
    for name in sorted(environment.variables):
        if not name.startswith(PREFIX) or name == f"{PREFIX}CONFIG":
            continue
        *tables, last = name.removeprefix(PREFIX).split("__")
        table: Any = document
        key: Key = ()
        for part in tables:
            key = (*key, _as_spelled(part, table))
            table = table.setdefault(key[-1], {})
            if not isinstance(table, dict):
                break  # where the variable wants a table, the file has something else: that is the mistake to tell
        else:
            key = (*key, _as_spelled(last, table))
            table[key[-1]] = _value(environment.variables[name])
            names[key] = name
    return document, names


def _as_spelled(part: str, table: Mapping[str, Any]) -> str:
    """Return the key of a table that a variable's name means; a new one in lower case."""
    plain = part.lower()
    return next((key for key in table if key.lower().replace("-", "_") == plain), plain)


def _value(text: str) -> object:
    """Return a variable's value: a list or a table where it is one in JSON, else the text."""
    if not text.startswith(("[", "{")):
        return text
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text  # an address such as `[::1]:8707`; where a list is wanted, the settings say so
    return text if is_too_deep(value) else value


def _without_mistakes(document: dict[str, Any], error: ValidationError) -> Settings:
    """Return the settings without what is wrong in them: the handlers' own options can still be checked."""
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        match problem["loc"]:
            case ("handlers", name, "on" | "delivery" as key, *_):
                document["handlers"].get(name, {}).pop(key, None)
            case ("handlers", name, *_):
                document["handlers"].pop(name, None)
            case location:
                document.pop(str(location[0]), None)
    return Settings.model_validate(document)

"""Reading a TOML file that a person wrote: what is wrong with it, in words, and where."""

import re
import tomllib
from pathlib import Path
from typing import Any

from fbsessiond import limits
from fbsessiond.errors import ConfigurationError
from fbsessiond.notification import is_too_deep

_SYNTAX_ERROR = re.compile(r"(.*) \(at (?:(line \d+, column \d+)|end of document)\)", re.DOTALL)
"""How tomllib says what is wrong and where."""


def read_text(path: Path) -> str:
    """Read a file. Raises `ConfigurationError` where it isn't there, can't be read, or isn't text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't read the configuration: {error}") from error


def parsed(text: str, path: Path | None) -> dict[str, Any]:
    """Parse what a file says. Raises `ConfigurationError` where it isn't TOML, or too deep."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {_syntax_error(text, error)}") from error
    if is_too_deep(document):
        raise ConfigurationError(f"{path}: tables and lists stand in each other more than {limits.NESTING} deep")
    return document


def _syntax_error(text: str, error: Exception) -> str:
    if match := _SYNTAX_ERROR.fullmatch(str(error)):
        what, where = match.groups()
        lines = text.split("\n")
        where = where or f"line {len(lines)}, column {len(lines[-1]) + 1}"
        return f"{where}: isn't TOML: {what[:1].lower()}{what[1:]}"
    return f"isn't TOML: {error}"

"""Expressions of `when`, in the Common Expression Language (CEL), by the CEL project's own library.

What they can look at has a type, so that what doesn't fit is found when the daemon starts. Attached data can be of any
type: a comparison with it is checked each time. [CEL language definition, gradual type checking]
The library takes 4 ms to import and 10 MB of memory: only where an expression is used.
"""

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from fbsessiond import limits

if TYPE_CHECKING:
    from cel_expr_python.cel import Env

VARIABLES: Final = ("session", "before", "after", "user_data", "participants", "capabilities", "agent", "origin")
"""What an expression can look at; `before` is empty at a session's first sight."""

VALUE_CHARACTERS: Final = 200
"""How much of a value is told."""

_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")
"""How the library tells a mistake."""

_STATUS = re.compile(r"^[A-Z_]+: ")
"""Begins what the library says of an evaluation."""

_TOO_LARGE = "out of range"
"""Is in what the library says of a whole number of more than 64 bits."""

_INTEGERS = 2**63
_FLOATS = 10**308

_NAMES = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""  # a text: what stands in it is no name
    rf"""|(?<![\w.])((?:{"|".join(VARIABLES)})\b(?:\.[A-Za-z_]\w*\b(?!\s*\()|\[(?:"[^"]*"|'[^']*'|\d+)\])*)"""
)
"""A variable, and what is looked up in it: `user_data["DISP_KEY"]`, `session.comment`."""


class ExpressionError(ValueError):
    """An expression means nothing, or can't be evaluated for a session as it is."""


class Expression:
    """An expression that was checked; it is true or false of a session, or can't be evaluated."""

    def __init__(self, text: str) -> None:
        """Compile it. Raises `ExpressionError` with the column of the mistake."""
        self.text = text
        if len(text) > limits.EXPRESSION_CHARACTERS:
            raise ExpressionError(f"should have {limits.EXPRESSION_CHARACTERS:,} characters at most")
        self._program = _compiled(text)
        kind = self._program.return_type().name().lower()
        if kind not in {"bool", "dyn"}:
            raise ExpressionError(f"should be true or false, and is of the type {kind}")
        names = dict.fromkeys(match[2] for match in _NAMES.finditer(text) if match[2])
        self._names = {name: _compiled(name) for name in names}

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """Say whether it is true. Raises `ExpressionError`, as where a key is missing."""
        found = _value(self._program, variables)
        if not isinstance(found, bool):
            raise ExpressionError(f"is neither true nor false, but {_written(found)}")
        return found

    def values(self, variables: Mapping[str, Any]) -> str:
        """Return what stood in it, for a person: `user_data["DISP_KEY"] is "open", before is "Chatting"`."""
        return ", ".join(f"{name} is {_looked_up(program, variables)}" for name, program in self._names.items())


@cache
def compiled(text: str) -> Expression:
    """Return an expression, compiled once. Raises `ExpressionError`."""
    return Expression(text)


@cache
def _environment() -> "Env":
    from cel_expr_python import cel  # noqa: PLC0415  only where an expression is used

    one_map = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    types = {"session": one_map, "user_data": one_map, "participants": cel.Type.List(one_map)}
    types["capabilities"] = cel.Type.List(cel.Type.STRING)
    return cel.NewEnv(variables={name: types.get(name, cel.Type.STRING) for name in VARIABLES})


def _compiled(text: str) -> Any:
    try:
        return _environment().compile(text)
    except RuntimeError as error:
        raise ExpressionError(_mistake(str(error))) from None


def _mistake(told: str) -> str:
    """Say where the mistake is, and which."""
    match = _PLACE.search(told)
    if match is None:
        return _STATUS.sub("", told).partition("\n")[0]
    line, column, what = match.groups()
    return f"column {column}: {what}" if line == "1" else f"line {line}, column {column}: {what}"


def _value(program: Any, variables: Mapping[str, Any]) -> Any:
    """Return what a program makes of variables. Raises `ExpressionError`."""
    try:
        found = program.eval(data=variables)
        if found.type().name() == "ERROR" and _TOO_LARGE in str(found.value()):  # anywhere in the data
            found = program.eval(data=_with_floats(variables))
    except Exception as error:  # noqa: BLE001  what the library can't take: a lone surrogate, for example
        raise ExpressionError(_STATUS.sub("", str(error)).partition("\n")[0]) from None
    if found.type().name() in {"ERROR", "UNKNOWN"}:
        raise ExpressionError(_STATUS.sub("", str(found.value())))
    return found.plain_value()


def _with_floats(value: Any) -> Any:
    """Return data with a float for each whole number that CEL has no room for; others stay as they are."""
    match value:
        case dict():
            return {name: _with_floats(inner) for name, inner in value.items()}
        case list():
            return [_with_floats(inner) for inner in value]
        case int() if not -_INTEGERS <= value < _INTEGERS:
            return float(value) if abs(value) < _FLOATS else math.inf if value > 0 else -math.inf
        case _:
            return value


def _looked_up(program: Any, variables: Mapping[str, Any]) -> str:
    try:
        return _written(_value(program, variables))
    except ExpressionError:
        return "not there"


def _written(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"

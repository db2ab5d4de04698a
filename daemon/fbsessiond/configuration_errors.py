"""What is wrong in a configuration, in words: where, which key, what was expected, the nearest known name.

Where: a line of the file, or the variable that overrides it, as in `fbsessiond.toml: line 3: gws.url: should be …` and
`FBSESSIOND_GWS__URL: gws.url: should be …`. Values aren't repeated: one may be a secret at the wrong place.
"""

import json
import re
import tomllib
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Key: TypeAlias = tuple[int | str, ...]
"""The way to a value: names of tables and keys, and places in lists."""

_BARE = re.compile(r"[\w-]+", re.ASCII)
"""A key that needs no quotes."""

_IN_WORDS = {
    "missing": "is missing",
    "string_type": "should be a text",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "path_type": "should be the path of a file or a folder",
    "url_type": "should be an address, as 'http://gws.example:8090'",
    "url_parsing": "should be an address, as 'http://gws.example:8090'",
    "byte_size": "should be a size, as '500MB' or '2GiB'",
    "byte_size_unit": "should be a size, as '500MB' or '2GiB'",
}
"""TOML's words for what pydantic says in Python's."""

_WRITTEN_AS_JSON = {"list_type", "tuple_type", "dict_type", "model_type"}
"""What a variable can't hold as plain text."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where settings come from: a file, and variables over it."""

    path: Path | None = None
    text: str = ""
    variables: Mapping[Key, str] = field(default_factory=dict[Key, str])
    """The variables' names, by the keys that they set."""

    def begin(self, key: Key) -> str:
        """Return the beginning of an error's line: the file and the line, or the variable; empty where none is known.

        A table can come from both: then both are named.
        """
        if (variable := self.variable(key)) is not None:
            return f"{variable}: "
        inner_variables = [name for set_key, name in self.variables.items() if set_key[: len(key)] == key]
        line = find_line(self.text, key)
        if line is None and inner_variables:
            return f"{', '.join(inner_variables)}: "
        file = f"{self.path}: " if self.path else ""
        return file if line is None else f"{file}{', '.join([f'line {line}', *inner_variables])}: "

    def variable(self, key: Key) -> str | None:
        """Return the name of the variable that sets a key, or a table around it."""
        for end in range(len(key), 0, -1):
            if (name := self.variables.get(key[:end])) is not None:
                return name
        return None


def describe(
    error: ValidationError, model: type[BaseModel], document: Any, places: Places, above: Key = ()
) -> Iterator[str]:
    """Yield a line for each mistake of a document that doesn't fit its model.

    `above` is the key of the table that the document is; empty: it is the whole configuration.
    """
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        inner = _key_in(document, problem)
        key = (*above, *inner)
        is_missing = problem["type"] == "missing"
        hint = ""
        if problem["type"] in _WRITTEN_AS_JSON and places.variable(key) is not None:
            hint = ", in a variable written as JSON"
        yield f"{places.begin(key[:-1] if is_missing else key)}{dotted(key)}: {_expected(problem, inner, model)}{hint}"


def dotted(key: Key) -> str:
    """Return a key as TOML writes it."""
    return ".".join(str(part) if _BARE.fullmatch(str(part)) else _quoted(str(part)) for part in key)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the known name that is nearest, or all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(names) or 'none'}"


def find_line(text: str, key: Key) -> int | None:
    """Return the line of a TOML text where a key is set, counted from 1.

    Where it isn't set by itself: the line of the first key inside it, or else of the innermost table around it.
    """
    inside: int | None = None
    around: int | None = None
    around_length = 0
    for line, found in _keys_by_line(text):
        if found == key:
            return line
        if found[: len(key)] == key:
            inside = inside or line
        elif key[: len(found)] == found and len(found) > around_length:
            around, around_length = line, len(found)
    return inside or around


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=not name.isprintable())


def _keys_by_line(text: str) -> Iterator[tuple[int, Key]]:
    """Yield each key that a valid TOML text sets, with the line on which its statement begins.

    A statement is a line, or more where its value goes on: the parser itself says when it is complete. So quoted and
    dotted keys, inline tables and texts of several lines are understood exactly as they are when they are read.
    """
    table: Key = ()
    lengths: Counter[Key] = Counter()
    begin, statement = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        try:
            document = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _table_of_header(document, lengths)
            yield begin, table
        else:
            yield from ((begin, key) for key in _keys_below(document, table))
        begin, statement = number + 1, ""


def _table_of_header(document: Any, lengths: Counter[Key]) -> Key:
    """Return the key of the table that a header begins. `lengths` counts the tables of each `[[list]]` up to here."""
    table: Key = ()
    while document:
        ((name, document),) = document.items()
        table = (*table, name)
        if isinstance(document, list):
            lengths[table] += 1
            document = document[0]
        if table in lengths:
            table = (*table, lengths[table] - 1)
    return table


def _keys_below(value: Any, above: Key) -> Iterator[Key]:
    parts: Iterable[tuple[int | str, Any]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for part, inner in parts:
        yield (*above, part)
        yield from _keys_below(inner, (*above, part))


def _key_in(document: Any, problem: ErrorDetails) -> Key:
    """Return a problem's place as it stands in its document.

    Pydantic's has more in it: validators, members of unions, and the 0 of one table where a list of tables may stand.
    """
    key: Key = ()
    for part in problem["loc"]:
        is_list = isinstance(document, list)
        is_there = isinstance(part, int) if is_list else isinstance(document, Mapping) and part in document
        if is_there:
            document = document[part]
            key = (*key, part)
    return (*key, problem["loc"][-1]) if problem["type"] == "missing" else key


def _expected(problem: ErrorDetails, key: Key, model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        names = [part for part in key if isinstance(part, str)]
        return f"there is no such key; {nearest(names[-1], _keys_at(model, names[:-1]))}"
    if words := _IN_WORDS.get(problem["type"]):
        return words
    first_line = problem["msg"].partition("\n")[0]
    words = re.sub(r"^(?:Value error, |Assertion failed, |\w+ (?=should ))| after validation.*", "", first_line)
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def _keys_at(model: type[BaseModel], tables: Iterable[str]) -> Iterable[str]:
    """Return the keys that a table of the configuration may have."""
    models = [model]
    names = iter(tables)
    for name in names:
        known = _fields(models).get(name)
        annotation = known.annotation if known else None
        if typing.get_origin(annotation) is dict:
            next(names, None)  # an instance's own name: `wrap-up` in `handlers.wrap-up`
        models = list(_models_in(annotation))
    return _fields(models)


def _fields(models: Iterable[type[BaseModel]]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for model in models for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)

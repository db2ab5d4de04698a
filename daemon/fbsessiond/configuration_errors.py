"""What is wrong in a configuration, in words: file, line, key, what was expected, the nearest known name."""

import re
import typing
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Key: TypeAlias = Sequence[int | str]

_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?")
_ASSIGNMENT = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def describe(error: ValidationError, model: type[BaseModel], text: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a line for each mistake: `line 3: gws.url: should be …`.

    `above` is the table in which the model stands. Values aren't repeated: one may be a secret at the wrong place.
    """
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        key = (*above, *_without_internals(problem["loc"]))
        line = find_line(text, key)
        place = f"line {line}: " if line else ""
        yield f"{place}{dotted(key)}: {_expected(problem, model)}" if key else f"{place}{_expected(problem, model)}"


def dotted(key: Key) -> str:
    """Return a key as TOML writes it."""
    return ".".join(str(part) for part in key)


def find_line(text: str, key: Key) -> int | None:
    """Return the line of a TOML text where a key, or else the innermost table around it, is set; counted from 1."""
    wanted = tuple(str(part) for part in key if isinstance(part, str))
    best, best_length = None, 0
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            table = found = _parts(match[1])
        elif match := _ASSIGNMENT.match(line):
            found = (*table, *_parts(match[1]))
        else:
            continue
        if len(found) > best_length and wanted[: len(found)] == found:
            best, best_length = number, len(found)
    return best


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint: the known name that is nearest, or all of them."""
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"


def _parts(dotted_key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted_key))


def _without_internals(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Leave out what pydantic adds to a place, such as the name of a validator: `function-after[…]`."""
    return tuple(part for part in location if isinstance(part, int) or not re.search(r"[\[\]()]", part))


def _expected(problem: ErrorDetails, model: type[BaseModel]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            known = _names_at(model, problem["loc"][:-1])
            return f"there is no such key; {nearest(str(problem['loc'][-1]), known)}"
        case "missing":
            return "is missing"
        case _:
            words = problem["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
            return words[:1].lower() + words[1:]


def _names_at(model: type[BaseModel], location: Key) -> list[str]:
    """Return the keys that a table of the configuration may have."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    if not location:
        return names
    step, *rest = location
    for name, field in model.model_fields.items():
        if (field.alias or name) == step:
            for inner in _models_in(field.annotation):
                return _names_at(
                    inner, [part for part in rest if isinstance(part, str) and not _is_instance_name(part, inner)]
                )
    return names


def _is_instance_name(part: str, model: type[BaseModel]) -> bool:
    """Whether a key names one of many tables of the same kind, and no field: `wrap-up` in `handlers.wrap-up`."""
    return part not in {field.alias or name for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)

"""Texts with fields in them: `resolved for {user_data.FirstName}`.

A field is a path of names with dots between them; `{{` and `}}` are braces. There is nothing else: no attributes, no
indices, no formats. A text that is one field and nothing else becomes that field's value, a number for example.
"""

from collections.abc import Mapping
from string import Formatter
from typing import Any


class MissingFieldError(Exception):
    """A text names a field that isn't there."""


def check_template(template: object) -> None:
    """Raise `ValueError` where a text in a template can't be read."""
    match template:
        case str():
            for _, field, form, conversion in Formatter().parse(template):
                if field is not None and (not field or form or conversion or not all(field.split("."))):
                    raise ValueError(f"a field is written as {{user_data.KEY}}, a brace as {{{{: {template!r}")
        case Mapping():
            for item in template.values():
                check_template(item)
        case list():
            for item in template:
                check_template(item)
        case _:
            return


def fill_in(template: Any, fields: Mapping[str, Any]) -> Any:
    """Return a template with its fields filled in. Raises `MissingFieldError` where one isn't there."""
    match template:
        case str():
            return _fill_text(template, fields)
        case Mapping():
            return {name: fill_in(item, fields) for name, item in template.items()}
        case list():
            return [fill_in(item, fields) for item in template]
        case _:
            return template


def _fill_text(text: str, fields: Mapping[str, Any]) -> Any:
    parts = list(Formatter().parse(text))
    if len(parts) == 1 and not parts[0][0] and parts[0][1] is not None:
        return _look_up(parts[0][1], fields)
    filled = (literal + ("" if field is None else str(_look_up(field, fields))) for literal, field, _, _ in parts)
    return "".join(filled)


def _look_up(path: str, fields: Mapping[str, Any]) -> Any:
    value: Any = fields
    for name in path.split("."):
        if not isinstance(value, Mapping) or value.get(name) is None:
            raise MissingFieldError(f"the session has no {path}")
        value = value[name]
    return value

"""A configuration with a comment for each setting, made from the schema: what `fbsessiond init` writes.

A setting stands there with its default, behind a `#` without a blank: taking that away changes nothing until the value
is changed, too. One that has no default is shown with an example.
"""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from fbsessiond.configuration_errors import dotted
from fbsessiond.schemas.configuration import RESERVED, Schema

WIDTH = 100

BEGIN = """The configuration of fbsessiond: `fbsessiond check` says whether it is right.
A line that begins with # and no blank is a setting with its default, or, where it has none, with an
example: uncomment it to set it. A variable overrides a setting: FBSESSIOND_GWS__URL is url in [gws]."""

SET = {("gws", "url"), ("gws", "username"), ("gws", "password")}
"""What isn't commented out: there is no starting without it."""

SHOWN = "log"
"""The handler that isn't commented out, and shows the keys that every handler's table may have."""


def commented_configuration(schema: Schema, schema_file: str) -> str:
    """Return the text of a configuration that names its schema's file for an editor."""
    return "\n".join([f"#:schema {schema_file}", "", *_comment(BEGIN), *_tables(schema), ""])


def _tables(schema: Schema) -> Iterator[str]:
    settings: Schema = schema["properties"]
    tables = [name for name, setting in settings.items() if "$ref" in setting]
    yield from _settings((), {name: each for name, each in settings.items() if name not in (*tables, "handlers")}, ())
    for name in tables:
        table = _definition(schema, settings[name])
        yield from _table((name,), table)
    yield from _handlers(schema)


def _handlers(schema: Schema) -> Iterator[str]:
    handlers: Schema = schema["properties"]["handlers"]
    yield ""
    yield from _comment("[handlers.NAME] is an instance of a handler: NAME is its own, `use` says which handler it is.")
    for name, instance in sorted(handlers["properties"].items(), key=lambda item: item[0] != SHOWN):
        options = _definition(schema, instance["then"])
        own = {key: option for key, option in options["properties"].items() if key not in RESERVED}
        yield from _table(("handlers", name), {**options, "properties": own}, is_set=name == SHOWN)
        if name == SHOWN:
            yield from _reserved(schema, _definition(schema, instance), ("handlers", name))


def _reserved(schema: Schema, instance: Schema, above: tuple[str, ...]) -> Iterator[str]:
    """Show the keys that every handler's table may have."""
    keys: Schema = instance["properties"]
    yield from _settings(above, {key: keys[key] for key in RESERVED if "$ref" not in keys[key]}, ())
    for key in RESERVED:
        for one in (keys[key], *keys[key].get("anyOf", ())):
            if "$ref" in one:
                yield from _table((*above, key), _definition(schema, one), is_set=key != "on")


def _table(key: tuple[str, ...], table: Schema, *, is_set: bool = True) -> Iterator[str]:
    yield ""
    yield from _comment(table.get("description", ""))
    yield f"{'' if is_set else '#'}[{dotted(key)}]"
    yield from _settings(key, table["properties"], table.get("required", ()))


def _settings(above: tuple[str, ...], settings: Schema, required: Sequence[str]) -> Iterator[str]:
    for name, setting in settings.items():
        yield ""
        yield from _comment(_said(setting, is_needed=name in required))
        examples = [setting["default"]] if "default" in setting else setting.get("examples", ())
        value = _toml(examples[0]) if examples else "…"
        yield f"{'' if (*above, name) in SET else '#'}{name} = {value}"


def _said(setting: Schema, *, is_needed: bool) -> str:
    said = setting.get("description", "")
    choices = setting.get("enum") or ()
    more = (
        [f"Or {', '.join(_toml(choice) for choice in choices if choice != setting.get('default'))}."] if choices else []
    )
    if "default" not in setting:
        more.append("Needed; for example:" if is_needed else "For example:")
    return " ".join([said, *more]).strip()


def _comment(text: str) -> list[str]:
    return [f"# {line}" for part in text.split("\n") for line in textwrap.wrap(part, WIDTH, break_on_hyphens=False)]


def _definition(schema: Schema, place: Schema) -> Schema:
    definition: Schema = schema["$defs"][place["$ref"].rpartition("/")[2]]
    return definition


def _toml(value: Any) -> str:
    """Return a value as TOML writes it, on one line."""
    match value:
        case dict():
            return f"{{ {', '.join(f'{dotted((key,))} = {_toml(each)}' for key, each in value.items())} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)

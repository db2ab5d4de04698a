"""The JSON Schema of the configuration: for an editor that completes and checks while one writes.

It describes the file as it is written, without the variables that can override it. What the daemon takes, the schema
takes; what only the daemon can judge, such as whether a secret is there, it leaves to `fbsessiond check`.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic.json_schema import models_json_schema

from fbsessiond.handler import Handler
from fbsessiond.schemas.generating import DIALECT, TomlSchema
from fbsessiond.settings import HandlerSettings, Settings

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema."""

RESERVED = tuple(HandlerSettings.model_fields)
"""The keys of a handler's table that aren't the handler's own."""


def configuration_schema(handlers: Mapping[str, type[Handler]]) -> Schema:
    """Return the schema of a whole configuration, with the options of these handlers, by the names that `use` has."""
    models: list[type[Settings | Handler | HandlerSettings]] = [Settings, HandlerSettings, *handlers.values()]
    places, top = models_json_schema([(model, "validation") for model in models], schema_generator=TomlSchema)
    definitions: dict[str, Schema] = top["$defs"]
    options = {name: places[handler, "validation"] for name, handler in handlers.items()}
    for option in options.values():
        _let_reserved_keys_pass(_definition(definitions, option))
    instance = places[HandlerSettings, "validation"]
    _choose_by_use(_definition(definitions, instance), options)
    settings = definitions.pop(_name(places[Settings, "validation"]))
    settings["properties"]["handlers"]["properties"] = {
        name: {**instance, "if": {"not": {"required": ["use"]}}, "then": option} for name, option in options.items()
    }
    return {
        "$schema": DIALECT,
        "title": "fbsessiond.toml",
        **settings,
        "description": "The configuration of fbsessiond.",
        "$defs": definitions,
    }


def _let_reserved_keys_pass(options: Schema) -> None:
    options["properties"] = {**options.get("properties", {}), **dict.fromkeys(RESERVED, True)}


def _choose_by_use(instance: Schema, options: Mapping[str, Schema]) -> None:
    """Have a table that names an installed handler take that handler's options; any other takes any."""
    instance["allOf"] = [
        True,
        *(
            {"if": {"properties": {"use": {"const": name}}, "required": ["use"]}, "then": option}
            for name, option in options.items()
        ),
    ]


def _definition(definitions: Mapping[str, Schema], place: Mapping[str, str]) -> Schema:
    return definitions[_name(place)]


def _name(place: Mapping[str, str]) -> str:
    return place["$ref"].rpartition("/")[2]

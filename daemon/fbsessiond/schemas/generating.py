"""How a schema is made of a model: with the texts under its fields, and, for a configuration, in TOML's words."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema

from fbsessiond.durations import format_duration
from fbsessiond.schemas.field_texts import field_texts

DIALECT = GenerateJsonSchema.schema_dialect
"""JSON Schema 2020-12."""

_SIZES = {"TiB": 1024**4, "GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}


class TextedSchema(GenerateJsonSchema):
    """Describes each field with the text that stands under it."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Leave titles out: they would only repeat the names."""
        del schema
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Add the fields' texts to a model's schema."""
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        texts = field_texts(model)
        for name, field in model.model_fields.items():
            key = field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name
            described = made.get("properties", {}).get(key)
            if described is not None:
                _describe(described, texts.get(name, ""), list(_bounds(field)))
        if made.get("title") == model.__name__:
            del made["title"]
        return made


class TomlSchema(TextedSchema):
    """Describes settings as they are written in TOML: without null, durations and sizes as people write them."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  as pydantic has it

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave null out: what isn't set isn't written."""
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Take no key that doesn't fit the keys' pattern, where they have one."""
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out defaults that say nothing: none, and a table whose settings have their own."""
        default = schema.get("default")
        if default is None or isinstance(default, BaseModel) or default == {}:
            return self.generate_inner(schema["schema"])
        made = super().default_schema(schema)
        if made.get("format") == "duration":  # pydantic's own, which isn't written as ours are
            made["default"] = super().encode_default(default)
        return made

    def encode_default(self, dft: Any) -> Any:
        """Write a default as a person would."""
        match dft:
            case timedelta():
                return format_duration(dft)
            case ByteSize():
                return next((f"{dft // size}{unit}" for unit, size in _SIZES.items() if dft % size == 0), int(dft))
            case Path():
                return str(dft)
            case _:
                return super().encode_default(dft)

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        """Take anything where an option's type has no schema: the daemon checks it all the same."""
        del schema, error_info
        return {}


def _describe(schema: JsonSchemaValue, text: str, bounds: Sequence[str]) -> None:
    for key in ("ge", "gt", "le", "lt"):
        schema.pop(key, None)  # pydantic's own, for what it has no word of JSON Schema's
    said = schema.get("description", text).removesuffix(".")
    if bounds and "minimum" not in schema and "maximum" not in schema:
        said = f"{said} ({', '.join(bounds)})" if said else f"{', '.join(bounds)}".capitalize()
    if said:
        schema["description"] = f"{said}."


def _bounds(field: FieldInfo) -> Iterator[str]:
    """Say between which values a field has to be, where JSON Schema can't compare them, as it can't durations."""
    for bound in field.metadata:
        match bound:
            case Gt(gt=timedelta(days=0, seconds=0, microseconds=0)):
                pass  # a duration is
            case Ge(ge=least):
                yield f"at least {_in_words(least)}"
            case Gt(gt=least):
                yield f"more than {_in_words(least)}"
            case Le(le=most):
                yield f"at most {_in_words(most)}"
            case Lt(lt=most):
                yield f"less than {_in_words(most)}"
            case _:
                pass


def _in_words(value: object) -> str:
    return format_duration(value) if isinstance(value, timedelta) else str(value)

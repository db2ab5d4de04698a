from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ByteSize, Field, PlainValidator
from pydantic.json_schema import SkipJsonSchema

from fbsessiond import Duration, HomePath, Secret
from fbsessiond.schemas.generating import TextedSchema, TomlSchema


class Inner(BaseModel):
    """A table in a table."""

    depth: int = 1


class Options(BaseModel):
    """Options of all kinds."""

    needed: str
    """What can't be left out."""
    wait: Duration = Field(default=timedelta(minutes=5), gt=timedelta(0), le=timedelta(hours=1))
    """How long to wait."""
    pause: Duration = Field(default=timedelta(seconds=90), ge=timedelta(seconds=1), lt=timedelta(days=1))
    least: Annotated[timedelta, Field(gt=timedelta(seconds=1))] = timedelta(seconds=5)
    size: ByteSize = Field(default=ByteSize(64 * 1024**2), ge=4096)
    """How large."""
    odd_size: ByteSize = ByteSize(1_000)
    count: int = Field(default=3, ge=1, le=10)
    """How many."""
    path: HomePath = Path("here")
    maybe: str | None = None
    secret: Secret | None = Field(default=None, examples=[{"env": "SECRET"}])
    """Where it is kept."""
    kind: Literal["a", "b"] = "a"
    inner: Inner = Inner()
    table: dict[str, int] = {}
    pattern: dict[Annotated[str, Field(pattern="^[A-Z]+$")], int] = {}
    renamed: int = Field(default=1, alias="other-name")
    """Called otherwise."""
    own: Annotated[object, PlainValidator(str)] = None
    call: Callable[[], str] = str
    read: Annotated[int, BeforeValidator(int)] = 7
    hidden: SkipJsonSchema[int] = 1
    """What nobody is to set."""
    described: int = Field(default=1, description="Its own words.")
    """The text under it."""


TOML: dict[str, Any] = Options.model_json_schema(schema_generator=TomlSchema)["properties"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("needed", {"type": "string", "description": "What can't be left out."}),
        ("count", {"type": "integer", "default": 3, "minimum": 1, "maximum": 10, "description": "How many."}),
        ("path", {"type": "string", "format": "path", "default": "here"}),
        ("maybe", {"type": "string"}),
        ("kind", {"enum": ["a", "b"], "default": "a", "type": "string"}),
        ("inner", {"$ref": "#/$defs/Inner"}),
        ("table", {"type": "object", "additionalProperties": {"type": "integer"}}),
        (
            "pattern",
            {"type": "object", "patternProperties": {"^[A-Z]+$": {"type": "integer"}}, "additionalProperties": False},
        ),
        ("other-name", {"type": "integer", "default": 1, "description": "Called otherwise."}),
        ("own", {}),
        ("call", {}),
        ("read", {"type": "integer", "default": 7}),
        ("described", {"type": "integer", "default": 1, "description": "Its own words."}),
        (
            "secret",
            {"$ref": "#/$defs/Secret", "description": "Where it is kept.", "examples": [{"env": "SECRET"}]},
        ),
    ],
)
def test_settings(name: str, expected: dict[str, Any]) -> None:
    """A setting is described as it is written in TOML, without null, with its text and the default that it has."""
    assert TOML[name] == expected


def test_durations() -> None:
    """A duration's default is written as people write it; between which values it has to be is said in words."""
    assert (TOML["wait"]["default"], TOML["pause"]["default"]) == ("5m", "90s")
    assert TOML["wait"]["description"] == "How long to wait (at most 1h)."
    assert TOML["pause"]["description"] == "At least 1s, less than 1d."
    assert not {"ge", "gt", "le", "lt", "format"} & {*TOML["wait"], *TOML["pause"], *TOML["size"]}


def test_durations_of_pydantic() -> None:
    """An option that takes only pydantic's own spelling of a duration has its default in that."""
    assert TOML["least"] == {
        "type": "string",
        "format": "duration",
        "default": "PT5S",
        "description": "More than 1s.",
    }


def test_sizes() -> None:
    """A size's default is written with the largest unit that fills it."""
    assert (TOML["size"]["default"], TOML["odd_size"]["default"]) == ("64MiB", 1000)
    assert TOML["size"]["description"] == "How large (at least 4096)."


def test_models() -> None:
    """A table is described with its model's text; titles, which only repeat names, are left out."""
    schema = Options.model_json_schema(schema_generator=TomlSchema)
    assert (schema["description"], schema["$defs"]["Inner"]["description"]) == (
        "Options of all kinds.",
        "A table in a table.",
    )
    assert "title" not in str(schema)


def test_hidden() -> None:
    """What a model hides isn't described."""
    assert "hidden" in Options.model_fields
    assert "hidden" not in TOML


def test_own_title() -> None:
    """A title that isn't the model's name stays."""

    class Titled(BaseModel, title="something else"):
        pass

    assert Titled.model_json_schema(schema_generator=TomlSchema)["title"] == "something else"


def test_null() -> None:
    """In JSON, null is there; the texts are, too."""

    class Arriving(BaseModel):
        state: str | None = None
        """E.g. `Chatting`."""

    assert Arriving.model_json_schema(schema_generator=TextedSchema)["properties"]["state"]["anyOf"][1] == {
        "type": "null"
    }

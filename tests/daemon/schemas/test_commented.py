import re
import tomllib
from pathlib import Path

import pytest

from fbsessiond.configuration import load
from fbsessiond.plugins import find_handler, installed
from fbsessiond.schemas.commented import commented_configuration
from fbsessiond.schemas.configuration import Schema, configuration_schema

SCHEMA = configuration_schema({name: find_handler(name) for name in installed()})
TEXT = commented_configuration(SCHEMA, "./fbsessiond.schema.json")
LINES = TEXT.split("\n")


def section(begin: str) -> list[str]:
    """Return the lines from one that begins so to the next table."""
    start = next(number for number, line in enumerate(LINES) if line.startswith(begin))
    rest = LINES[start + 1 :]
    end = next((number for number, line in enumerate(rest) if re.match(r"#?\[", line)), len(rest))
    return [LINES[start], *rest[:end]]


def test_begin() -> None:
    """It begins with the line that tells an editor where the schema is."""
    assert LINES[0] == "#:schema ./fbsessiond.schema.json"


def test_as_it_is(tmp_path: Path) -> None:
    """As it is, the daemon takes it: GWS with an example of each thing that is needed, and the handler log."""
    path = tmp_path / "fbsessiond.toml"
    path.write_text(TEXT)
    configuration = load(path)
    assert [route.name for route in configuration.routes()] == ["log"]
    assert configuration.settings.gws is not None
    assert tomllib.loads(TEXT)["gws"] == {
        "url": "http://gws.example:8090",
        "username": "agent1",
        "password": {"file": "/etc/fbsessiond/password"},
    }


def said(number: int) -> str:
    """Return the comment above a line."""
    above = next(above for above in range(number - 1, -1, -1) if not LINES[above].startswith("# "))
    return " ".join(line.removeprefix("# ") for line in LINES[above + 1 : number])


COMMENTED = [number for number, line in enumerate(LINES) if re.match("#[a-z_]+ =", line)]


def test_defaults(tmp_path: Path) -> None:
    """Settings of the daemon that are uncommented as they stand change nothing, where they aren't examples."""
    path = tmp_path / "fbsessiond.toml"
    path.write_text(TEXT)
    before = load(path).settings
    lines = list(LINES)
    defaults = [each for each in COMMENTED if each < LINES.index("[handlers.log]") and "example:" not in said(each)]
    for number in defaults:
        lines[number] = lines[number].removeprefix("#")
    path.write_text("\n".join(lines))
    assert len(defaults) > 10
    assert load(path).settings == before


@pytest.mark.parametrize("number", COMMENTED, ids=[LINES[number] for number in COMMENTED])
def test_each(tmp_path: Path, number: int) -> None:
    """Each setting, default or example, is right as it stands, together with its table and what that needs."""
    lines = list(LINES)
    header = next((above for above in range(number, -1, -1) if re.match(r"#?\[", lines[above])), 0)
    end = next((below for below in range(number, len(lines)) if re.match(r"#?\[", lines[below])), len(lines))
    inside = [each for each in COMMENTED if header < each < end]
    needed = [each for each in inside if "Needed;" in said(each)]
    if lines[number].startswith("#once_per"):
        needed += [each for each in inside if lines[each].startswith("#once_within")]
    for each in (header, number, *needed):
        lines[each] = re.sub(r"^#(?=[\[a-z])", "", lines[each])
    text = "\n".join(lines)
    if lines[header] == "[gws]" and lines[number].startswith("token"):
        text = re.sub(r"^password.*$", "", text, flags=re.MULTILINE)
    path = tmp_path / "fbsessiond.toml"
    path.write_text(text)
    (tmp_path / "agents.toml").touch()
    assert load(path).routes()


def test_texts() -> None:
    """What a setting means stands above it, with the other values where there are few."""
    log = section("[handlers.log]")
    assert log[1:4] == ["", '# The level of the line in the log. Or "debug", "warning".', '#level = "info"']
    assert "# How long entries are kept." in section("[journal]")


def test_every_table() -> None:
    """Each table is there, each handler too, and the keys that every handler may have."""
    tables = [line.strip("#[]") for line in LINES if re.match(r"#?\[", line)]
    daemon = [name for name in SCHEMA["properties"] if "$ref" in SCHEMA["properties"][name]]
    handlers = [f"handlers.{name}" for name in installed() if name != "log"]
    assert tables == [*daemon, "handlers.log", "handlers.log.on", "handlers.log.delivery", *handlers]


def test_unknown_values() -> None:
    """What is needed and has no example, as a handler of somebody else's may have it, is a gap to be filled in."""
    schema: Schema = {
        "properties": {"handlers": {"properties": {"own": {"then": {"$ref": "#/$defs/Own"}, "$ref": "#/$defs/Any"}}}},
        "$defs": {
            "Own": {"properties": {"x": {}, "y": {"enum": ["a", "b"]}}, "required": ["x"]},
            "Any": {"properties": {}},
        },
    }
    lines = commented_configuration(schema, "s").split("\n")
    assert lines[lines.index("#[handlers.own]") + 1 :] == [
        "",
        "# Needed; for example:",
        "#x = …",
        "",
        '# Or "a", "b". For example:',
        "#y = …",
        "",
    ]

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from fbsessiond.configuration import load
from fbsessiond.errors import ConfigurationError
from fbsessiond.plugins import find_handler, installed
from fbsessiond.schemas.configuration import configuration_schema

ROOT = Path(__file__).parents[3]
SCHEMA = configuration_schema({name: find_handler(name) for name in installed()})
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)

GWS = '[gws]\nurl = "http://gws.example:8090"\n'
SIGNED_IN = f'{GWS}username = "agent1"\npassword = {{ env = "X" }}\n'

RIGHT = [
    "",
    SIGNED_IN,
    f'{GWS}token = {{ file = "/run/token" }}\nusername = "agent1"',
    f'{SIGNED_IN}channels = ["/v2/me/*", "/v2/me/facebooksession"]\ntransports = ["websocket", "long-polling"]',
    'state_directory = "/var/lib/x"\nhandlers_directory = "~/handlers"',
    '[journal]\nurl = "sqlite:j.db"\nretain = "12.5 h"\nretain_bytes = "10GB"\nreserve = 1000000',
    '[snapshots]\nevery = "90s"\nsettling = "1500ms"\n[follow_ups]\nattempts = 1\n[http]\nlisten = ""',
    "[handlers.log]",
    '[handlers.log]\nlevel = "debug"\non = { to = "LeftChat" }',
    '[handlers.quiet]\nuse = "log"\nlevel = "debug"\non = [{ from = ["A", "B"] }, { not_to = "C", origin = "live" }]',
    '[handlers.log]\ndelivery = { attempts = 3, timeout = "10s", backoff = "5s", snapshot = "skip" }',
    '[handlers.log]\non = { for = "5m", when = \'user_data["X"] == "y"\' }\ndelivery = { late = "skip" }',
    '[handlers.log]\non = { once_within = "1h", once_per = "contact" }\ndelivery = { max_late = "10m" }',
    '[handlers.log]\nuse = "audit"\npath = "x.jsonl"\nrotate_bytes = "1MiB"',
    '[handlers.command]\nargv = ["/bin/true", "-x"]\nenvironment = { TEAM = "north" }',
    '[handlers.x]\nuse = "operations"\nsteps = [{ operation = "AddComment", comment = "{agent}" }]',
    '[handlers.webhook]\nurl = "https://crm.example/x"\nsecrets = [{ env = "A" }, { file = "~/b" }]\ntimeout = "1s"',
    '[handlers.mine]\ngreeting = "hello"',
    '[handlers.mine2]\nuse = "mine"\ngreeting = "hello"\non = { to = "LeftChat" }',
]

WRONG = [
    "jurnal = {}",
    "gws = 1",
    GWS,
    "[gws]\nusername = 'a'",
    f'{GWS}username = "agent1"',
    f'{GWS}password = {{ env = "X" }}',
    f'{GWS}username = "agent1"\npassword = "inline"',
    f'{GWS}username = "agent1"\npassword = {{ }}',
    f'{GWS}username = "agent1"\npassword = {{ env = "X", file = "y" }}',
    f'{GWS}username = "agent1"\npassword = {{ path = "x" }}',
    f'{SIGNED_IN}token = {{ env = "Y" }}',
    f"{SIGNED_IN}channels = []",
    f'{SIGNED_IN}channels = ["v2/me"]',
    f'{SIGNED_IN}transports = ["carrier-pigeon"]',
    f'{SIGNED_IN}resume = "perhaps"',
    "[journal]\nretain = 30",
    '[journal]\nretain = "30 days"',
    '[journal]\nretain_bytes = "much"',
    '[snapshots]\nevery = "5"',
    "[follow_ups]\nattempts = 0",
    "[follow_ups]\nconcurrency = 100000",
    "[handlers]\nlog = 1",
    '[handlers.log]\nlevel = "loud"',
    "[handlers.log]\nlevle = 1",
    '[handlers.quiet]\nuse = "log"\nlevel = "loud"',
    "[handlers.log]\nuse = 1",
    '[handlers.log]\non = "LeftChat"',
    "[handlers.log]\non = []",
    '[handlers.log]\non = { too = "LeftChat" }',
    "[handlers.log]\non = { to = [] }",
    "[handlers.log]\non = { for = 5 }",
    '[handlers.log]\non = { once_within = "1h", once_per = "moon" }',
    '[handlers.log]\ndelivery = { late = "perhaps" }',
    "[handlers.log]\non = { to = 1 }",
    '[handlers.log]\non = [{ origin = "heaven" }]',
    "[handlers.log]\ndelivery = { attempts = 0 }",
    '[handlers.log]\ndelivery = { snapshot = "perhaps" }',
    "[handlers.log]\ndelivery = { tries = 3 }",
    "[handlers.command]",
    "[handlers.command]\nargv = []",
    '[handlers.command]\nargv = ["/bin/true"]\nenvironment = { "1X" = "y" }',
    '[handlers.x]\nuse = "operations"',
    '[handlers.x]\nuse = "operations"\nsteps = [{ comment = "x" }]',
    '[handlers.webhook]\nurl = "https://crm.example/x"\nsecrets = ["inline"]',
    '[handlers.webhook]\nsecrets = [{ env = "A" }]',
]

HANDLER = """
from fbsessiond import Delivery, Done, Handler, Outcome

class Mine(Handler):
    greeting: str = "hi"

    async def handle(self, delivery: Delivery) -> Outcome:
        return Done()
"""


@pytest.fixture(autouse=True)
def _mine(tmp_path: Path) -> None:
    """A handler of one's own beside the configuration."""
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "mine.py").write_text(HANDLER)


def is_taken(text: str, folder: Path) -> bool:
    """Say whether the daemon takes a configuration."""
    path = folder / "fbsessiond.toml"
    path.write_text(text)
    try:
        load(path).routes()
    except ConfigurationError:
        return False
    return True


def test_dialect() -> None:
    """The schema is itself valid JSON Schema 2020-12."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(SCHEMA)


@pytest.mark.parametrize("text", RIGHT)
def test_right(tmp_path: Path, text: str) -> None:
    """What the daemon takes, the schema takes."""
    assert is_taken(text, tmp_path)
    assert list(VALIDATOR.iter_errors(tomllib.loads(text))) == []


@pytest.mark.parametrize("text", WRONG)
def test_wrong(tmp_path: Path, text: str) -> None:
    """What the schema refuses, the daemon refuses."""
    assert not VALIDATOR.is_valid(tomllib.loads(text))
    assert not is_taken(text, tmp_path)


def shown() -> Iterator[str]:
    """Yield the configurations that the documentation shows."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        yield from re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    yield (ROOT / "docs/demo/demo.toml").read_text()


@pytest.mark.parametrize("text", [text for text in shown() if "entry-points" not in text])
def test_documentation(text: str) -> None:
    """What the documentation shows, the schema takes."""
    assert list(VALIDATOR.iter_errors(tomllib.loads(text))) == []


SETTINGS = [
    (f"{table}.{name}", setting)
    for table, definition in {"": SCHEMA, **SCHEMA["$defs"]}.items()
    for name, setting in definition.get("properties", {}).items()
    if table != "Secret" and name != "handlers" and setting is not True and "$ref" not in setting
]


@pytest.mark.parametrize(("way", "setting"), SETTINGS, ids=[way for way, _ in SETTINGS])
def test_every_setting(way: str, setting: dict[str, Any]) -> None:
    """Each setting, of the handlers that come with fbsessiond too, says what it means, and shows a value.

    So that `fbsessiond init` can: give it a text under it, and a default or `Field(examples=[…])`.
    """
    assert setting.get("description"), f"{way} has no text under it"
    assert {"default", "examples"} & setting.keys(), f"{way} has neither a default nor an example"


def test_handlers_of_the_same_class() -> None:
    """Two names of one class, and two classes of one name, are kept apart."""
    log, audit = find_handler("log"), find_handler("audit")
    other = type("Log", (audit,), {"__doc__": "Another.", "__module__": "elsewhere"})
    validator = jsonschema_rs.validator_for(configuration_schema({"log": log, "again": log, "other": other}))
    assert validator.is_valid({"handlers": {"again": {"level": "debug"}, "other": {"path": "x"}}})
    assert not validator.is_valid({"handlers": {"again": {"path": "x"}}})
    assert not validator.is_valid({"handlers": {"x": {"use": "other", "level": "debug"}}})


def test_no_handlers() -> None:
    """Without any handler known, each takes any option."""
    assert jsonschema_rs.validator_for(configuration_schema({})).is_valid({"handlers": {"log": {"level": "loud"}}})

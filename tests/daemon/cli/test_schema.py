import json
from pathlib import Path

import jsonschema_rs
import pytest

from cli_parts import Command, notification
from fbsessiond.configuration import load

HANDLER = """
from fbsessiond import Delivery, Done, Handler, Outcome

class Greet(Handler):
    greeting: str = "hi"

    async def handle(self, delivery: Delivery) -> Outcome:
        return Done()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for handlers beside the configuration."""
    folder = tmp_path / "handlers.d"
    folder.mkdir()
    return folder


def test_config(fbsessiond: Command) -> None:
    """The schema of the configuration is printed as JSON, and judges a configuration."""
    ran = fbsessiond("schema", "config")
    assert (ran.status, ran.err) == (0, "")
    validator = jsonschema_rs.validator_for(json.loads(ran.out))
    assert validator.is_valid({"handlers": {"audit": {"path": "x"}}})
    assert not validator.is_valid({"handlers": {"audit": {"pth": "x"}}})


def test_handlers_beside_the_configuration(fbsessiond: Command, folder: Path) -> None:
    """Handlers in handlers.d are known, too; a test that lies beside them is none."""
    (folder / "greet.py").write_text(HANDLER)
    (folder / "test_greet.py").write_text("raise SystemExit(99)")
    ran = fbsessiond("schema", "config")
    assert (ran.status, ran.err) == (0, "")
    assert not jsonschema_rs.validator_for(json.loads(ran.out)).is_valid({"handlers": {"greet": {"greting": "x"}}})


def test_broken_handler(fbsessiond: Command, folder: Path) -> None:
    """A handler that can't be used is said to be left out, and doesn't stand in the way of the rest."""
    (folder / "greet.py").write_text("class Half(")
    ran = fbsessiond("schema", "config")
    assert ran.status == 0
    assert ran.err.startswith(f"fbsessiond: a handler is left out: {Path('handlers.d/greet.py')}: ")
    assert "greet" not in json.loads(ran.out)["properties"]["handlers"]["properties"]


def test_wrong_configuration(fbsessiond: Command, folder: Path) -> None:
    """With a wrong configuration there is still a schema: it is to help with that."""
    (folder / "greet.py").write_text(HANDLER)
    Path("fbsessiond.toml").write_text("jurnal = 1\nhtpt = 2\n")
    ran = fbsessiond("schema", "config")
    assert ran.status == 0
    assert [line.split(": ")[:2] for line in ran.err.splitlines()] == [
        ["fbsessiond", "handlers.d is left out, since the configuration is wrong"],
        ["fbsessiond", "fbsessiond.toml"],
    ]
    assert "journal" in json.loads(ran.out)["properties"]


def test_notification(fbsessiond: Command) -> None:
    """The schema of a notification judges a notification."""
    validator = jsonschema_rs.validator_for(json.loads(fbsessiond("schema", "notification").out))
    right = notification("Chatting")["data"]
    assert validator.is_valid(right)
    assert not validator.is_valid({**right, "facebooksession": {"state": "Chatting"}})


def test_asyncapi(fbsessiond: Command) -> None:
    """The AsyncAPI document is printed as JSON."""
    document = json.loads(fbsessiond("schema", "asyncapi").out)
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["facebooksession"]["address"] == "/v2/me/facebooksession"


def test_shown_names(fbsessiond: Command) -> None:
    """What the help shows is what an editor reads: a file named so takes the schema, and the daemon the file."""
    schema = fbsessiond("schema", "config").out
    Path("fbsessiond.schema.json").write_text(schema)
    Path("fbsessiond.toml").write_text("#:schema ./fbsessiond.schema.json\n[handlers.log]\n")
    assert "#:schema ./fbsessiond.schema.json" in " ".join(fbsessiond("schema", "config", "--help").out.split())
    assert [route.name for route in load(None).routes()] == ["log"]

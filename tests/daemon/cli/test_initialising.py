import json
import os
import re
import shlex
import tomllib
from pathlib import Path

import jsonschema_rs
import pytest

from cli_parts import Command


def test_init(fbsessiond: Command) -> None:
    """A configuration is written that is right as it is, with the schema beside it that an editor is to use."""
    ran = fbsessiond("init")
    assert (ran.status, ran.err) == (0, "")
    assert sorted(path.name for path in Path().iterdir()) == ["fbsessiond.schema.json", "fbsessiond.toml"]
    text = Path("fbsessiond.toml").read_text()
    assert text.startswith("#:schema ./fbsessiond.schema.json\n")
    schema = json.loads(Path("fbsessiond.schema.json").read_text())
    assert list(jsonschema_rs.validator_for(schema).iter_errors(tomllib.loads(text))) == []
    assert json.loads(fbsessiond("schema", "config").out) == schema
    checked = fbsessiond("check", "--no-environment")
    assert (checked.status, checked.out) == (0, "configuration: fine, with the handlers log\n")


def test_next_steps(fbsessiond: Command) -> None:
    """The steps that are printed are commands that work so far: what is missing then is the password's file."""
    steps = re.findall(r"^  fbsessiond (\S.*?)\s*(?:#.*)?$", fbsessiond("init").out, re.MULTILINE)
    assert steps == ["check", "run"]
    ran = fbsessiond("check")
    assert ran.status == os.EX_CONFIG
    assert "gws.password: can't read the secret: " in ran.err


def test_elsewhere(fbsessiond: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written where one says, and the steps name it."""
    path = tmp_path / "a folder" / "floor.toml"
    ran = fbsessiond("init", "--config", path)
    assert path.read_text().startswith("#:schema ./floor.schema.json\n")
    assert path.with_name("floor.schema.json").exists()
    assert f"  fbsessiond run --config {shlex.quote(str(path))}\n" in ran.out
    monkeypatch.setenv("FBSESSIOND_CONFIG", "other.toml")
    assert fbsessiond("init").status == 0
    assert Path("other.toml").exists()


@pytest.mark.parametrize("name", ["fbsessiond.toml", "fbsessiond.schema.json"])
def test_nothing_is_overwritten(fbsessiond: Command, name: str) -> None:
    """Where a file is there already, that is said, and nothing is written."""
    Path(name).write_text("mine")
    ran = fbsessiond("init")
    assert (ran.status, ran.out) == (2, "")
    assert f"{name} is there already, and nothing is overwritten" in ran.err
    assert [path.name for path in Path().iterdir()] == [name]
    assert Path(name).read_text() == "mine"

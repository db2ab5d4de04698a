import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

import fbsessiond
from fbsessiond import settings
from fbsessiond.errors import ConfigurationError
from fbsessiond.secret import Secret

TEXT = "hunter2"


def test_public_name() -> None:
    """Handlers have secrets of the same kind as the daemon's own."""
    assert fbsessiond.Secret is settings.Secret is Secret


@pytest.mark.parametrize("content", [TEXT, f"{TEXT}\n", f"{TEXT}\r\n"])
def test_file(tmp_path: Path, content: str) -> None:
    """A secret in a file is its text, without the line break at its end."""
    file = tmp_path / "password"
    file.write_bytes(content.encode())
    assert Secret(file=file).read("gws.password").get_secret_value() == TEXT


def test_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in a variable is its value."""
    monkeypatch.setenv("GWS_PASSWORD", TEXT)
    assert Secret(env="GWS_PASSWORD").read("gws.password").get_secret_value() == TEXT


def test_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential of systemd's is a file of that name in the unit's folder."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "gws-password").write_text(TEXT)
    assert Secret(credential="gws-password").read("gws.password").get_secret_value() == TEXT


def test_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read shows its text to nobody who doesn't ask for it."""
    monkeypatch.setenv("GWS_PASSWORD", TEXT)
    read = Secret(env="GWS_PASSWORD").read("gws.password")

    class Holding(BaseModel):
        secret: SecretStr

    holding = Holding(secret=read)
    shown = [repr(read), str(read), f"{read}", f"{read!s:>20}", json.dumps({"secret": read}, default=str)]
    shown += [repr(holding), str(holding.model_dump()), holding.model_dump_json(), str([read]), repr({"a": (read,)})]
    with pytest.raises(ValidationError) as error:
        Secret.model_validate(read)
    shown += [str(error.value), repr(error.value.errors())]
    assert not any(TEXT in one for one in shown)


def test_missing_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that isn't set is told by the setting's key and its own name."""
    monkeypatch.delenv("GWS_PASSWORD", raising=False)
    with pytest.raises(ConfigurationError, match=r"gws\.password: the variable GWS_PASSWORD isn't set"):
        Secret(env="GWS_PASSWORD").read("gws.password")


def test_missing_file(tmp_path: Path) -> None:
    """A file that isn't there is told by its name."""
    with pytest.raises(ConfigurationError, match=r"gws\.password: can't read the secret: .*nowhere"):
        Secret(file=tmp_path / "nowhere").read("gws.password")


def test_missing_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no credentials at all, the error says what the unit needs."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigurationError, match="LoadCredential=gws-password:FILE"):
        Secret(credential="gws-password").read("gws.password")


def test_file_that_is_no_text(tmp_path: Path) -> None:
    """A file that isn't UTF-8 is told without what is in it."""
    file = tmp_path / "password"
    file.write_bytes(TEXT.encode() + b"\xff")
    with pytest.raises(ConfigurationError, match="isn't UTF-8") as error:
        Secret(file=file).read("gws.password")
    assert error.value.__cause__ is None
    assert TEXT not in str(error.value)


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty(tmp_path: Path, content: str) -> None:
    """An empty secret is none."""
    file = tmp_path / "password"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"gws\.password: the secret is empty"):
        Secret(file=file).read("gws.password")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (TEXT, "a secret is never inline"),
        ({}, "should name one place"),
        ({"env": "A", "file": "b"}, "should name one place"),
        ({"text": TEXT}, "Extra inputs"),
    ],
)
def test_wrong(given: Any, words: str) -> None:
    """A secret is one place where it is kept, and never the text itself."""
    with pytest.raises(ValidationError, match=words):
        Secret.model_validate(given)

"""fbsessiond.settings: what each key may be, beside what its type says."""

import pytest
from pydantic import BaseModel, ValidationError

from fbsessiond.errors import ConfigurationError
from fbsessiond.settings import (
    AgentSettings,
    GwsSettings,
    HandlerSettings,
    HttpSettings,
    JournalSettings,
    Settings,
    TracesSettings,
)

URL = "http://gws.example:8090"
PASSWORD = {"env": "PASSWORD"}


@pytest.mark.parametrize(
    ("agent", "name"),
    [({"agent": "a", "username": "b"}, "a"), ({"username": "b"}, "b"), ({}, "me")],
)
def test_agent_name(agent: dict[str, str], name: str) -> None:
    """An agent is called as the configuration says, else by its username, else as the platform calls it."""
    settings = GwsSettings.model_validate({"url": "http://gws.example", "token": {"env": "TOKEN"}, **agent})
    assert settings.agent_name == name
    assert settings.notifications_url == "http://gws.example/api/v2/notifications"


@pytest.mark.parametrize("token", ["0123456789abcdef", "a-token-that-nobody-guesses"])
def test_token(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """The token is fetched from where it is kept; there needn't be one."""
    monkeypatch.setenv("T", token)
    assert HttpSettings.model_validate({"token": {"env": "T"}}).read_token() == token
    assert HttpSettings().read_token() is None


@pytest.mark.parametrize(
    "token", ["short", "0123456789abcde", "with a space at its end ", "0123456789abcde\t0", "é" * 20]
)
def test_token_that_could_be_guessed(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """A token that is too short, or can't be sent in a header, is refused, and isn't told."""
    monkeypatch.setenv("T", token)
    with pytest.raises(ConfigurationError, match=r"^http\.token: should be 16 or more letters and digits") as refused:
        HttpSettings.model_validate({"token": {"env": "T"}}).read_token()
    assert token not in str(refused.value)


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        (TracesSettings, {"endpoint": "http://me:secret@h"}, "should hold no username and no password"),
        (TracesSettings, {"endpoint": "http://h/?a=1"}, "should end before '?' and '#'"),
        (GwsSettings, {"notifications": "http://h/cometd"}, "should be a path below the url"),
        (GwsSettings, {"channels": ["v2/me/*"]}, "should be a channel, as '/v2/me/*'"),
        (Settings, {"gws": {"username": "a", "url": URL}}, "needs username and password, or a token"),
        (Settings, {"gws": {"password": PASSWORD, "url": URL}}, "needs username and password, or a token"),
        (
            Settings,
            {"gws": {"username": "a", "password": PASSWORD, "token": PASSWORD, "url": URL}},
            "needs username and pass",
        ),
        (Settings, {"gws": {"url": URL}}, "needs username and password, or a token"),
        (Settings, {"gws": {"url": URL, "agent": "a"}, "agents": [{"token": PASSWORD}]}, "needs username and password"),
        (AgentSettings, {"username": "a"}, "needs username and password, or a token"),
        (JournalSettings, {"url": "journal.db"}, "should be a journal's address, as 'sqlite:journal.db'"),
        (HttpSettings, {"listen": "[::]:80"}, "should be a loopback address or unix:PATH"),
        (HandlerSettings, {"on": "LeftChat"}, "should be a table or a list of tables"),
    ],
)
def test_wrong_values(table: type[BaseModel], values: dict[str, object], words: str) -> None:
    """What can't be is refused, in words for the person who wrote it."""
    with pytest.raises(ValidationError) as refused:
        table.model_validate(values)
    assert words in str(refused.value)


def test_options_are_not_shown() -> None:
    """A handler's options aren't shown where its table is: only the handler knows which of them are secret."""
    table = HandlerSettings.model_validate({"use": "log", "on": {"to": "LeftChat"}, "key": "hunter2"})
    assert "use='log'" in repr(table)
    assert "hunter2" not in repr(table)


def test_right_values() -> None:
    """What is right is taken as it stands."""
    gws = GwsSettings.model_validate(
        {"username": "a", "password": PASSWORD, "url": URL, "channels": ["/v3/me/*"], "notifications": "cometd"}
    )
    assert (gws.channels, gws.notifications_url) == (["/v3/me/*"], f"{URL}/cometd")
    assert JournalSettings(url="sqlite:here.db").url == "sqlite:here.db"


def test_agents() -> None:
    """Each agent comes to the same platform with its own name and credentials; the one of `[gws]` is the first."""
    agents = [{"username": "b", "password": PASSWORD}, {"agent": "c", "token": PASSWORD}]
    several = Settings.model_validate({"gws": {"url": URL, "channels": ["/v3/*"]}, "agents": agents})
    assert [(each.agent_name, each.channels) for each in several.watched] == [("b", ["/v3/*"]), ("c", ["/v3/*"])]
    assert [each.token is None for each in several.watched] == [True, False]
    one_more = Settings.model_validate({"gws": {"url": URL, "agent": "a", "token": PASSWORD}, "agents": agents})
    assert [each.agent_name for each in one_more.watched] == ["a", "b", "c"]
    assert Settings.model_validate({"gws": {"url": URL}, "agents_file": "agents.toml"}).watched == []
    assert Settings.model_validate({"agents": agents}).watched == []

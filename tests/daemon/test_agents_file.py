"""fbsessiond.agents_file: further agents, in a file of their own."""

from pathlib import Path

import pytest

from fbsessiond import limits
from fbsessiond.agents_file import with_all_agents
from fbsessiond.errors import ConfigurationError
from fbsessiond.settings import Settings

URL = "http://gws.example:8090"

TABLE = """
[[agents]]
username = "agent{0}"
password = {{ file = "/etc/fbsessiond/agent{0}" }}
"""


def settings(folder: Path, text: str, **tables: object) -> Settings:
    """Return settings that name a file with this text."""
    (folder / "agents.toml").write_text(text)
    return Settings.model_validate({"gws": {"url": URL}, "agents_file": "agents.toml", **tables})


def test_file(tmp_path: Path) -> None:
    """Its agents come after those of the configuration, beside which it lies."""
    here = {"agents": [{"username": "a", "password": {"env": "A"}}]}
    all_together = with_all_agents(settings(tmp_path, TABLE.format(1) + TABLE.format(2), **here), tmp_path / "c.toml")
    assert [each.agent_name for each in all_together.watched] == ["a", "agent1", "agent2"]


def test_no_file() -> None:
    """Without one the settings stay as they are."""
    plain = Settings.model_validate({"gws": {"url": URL, "username": "a", "password": {"env": "A"}}})
    assert with_all_agents(plain, None) is plain


def test_place_without_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configuration file its path counts from where one is."""
    monkeypatch.chdir(tmp_path)
    assert len(with_all_agents(settings(tmp_path, TABLE.format(1)), None).watched) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[agents", "agents.toml: line 1, column 9: isn't TOML"),
        ("[gws]", "agents.toml: line 1: gws: there is no such key; known here: agents"),
        (TABLE.format(1) + "passwort = 1", "agents.toml: line 5: agents.0.passwort: there is no such key"),
        ("[[agents]]\nusername = 'a'", "agents.toml: line 1: agents.0: needs username and password, or a token"),
        (TABLE.format(1) * 2, "agents: there more than once: 'agent1'; `agent` gives each a name of its own"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, words: str) -> None:
    """A mistake is told with the file and the line."""
    with pytest.raises(ConfigurationError) as refused:
        with_all_agents(settings(tmp_path, text), tmp_path / "c.toml")
    assert words in str(refused.value)


def test_missing_file(tmp_path: Path) -> None:
    """A file that isn't there is told."""
    named = Settings.model_validate({"gws": {"url": URL}, "agents_file": "nowhere.toml"})
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: can't read the configuration"):
        with_all_agents(named, tmp_path / "c.toml")


def test_no_platform(tmp_path: Path) -> None:
    """Agents without a platform are told what is missing."""
    with pytest.raises(ConfigurationError, match=r"^gws: is missing; the agents need to know the platform's url"):
        with_all_agents(settings(tmp_path, TABLE.format(1), gws=None), tmp_path / "c.toml")


def test_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All places together hold no more than one daemon can watch."""
    here = {"agents": [{"username": "a", "password": {"env": "A"}}]}
    together = settings(tmp_path, TABLE.format(1), **here)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "GROUPS", 0)
        with pytest.raises(ConfigurationError, match=r"^agents: of 1 groups, and there can be 0 at most"):
            with_all_agents(together, tmp_path / "c.toml")
    monkeypatch.setattr(limits, "AGENTS", 1)
    with pytest.raises(ConfigurationError, match=r"^agents: 2, and one daemon watches 1 at most"):
        with_all_agents(together, tmp_path / "c.toml")

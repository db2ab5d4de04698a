import os
import pwd
from pathlib import Path

import pytest

from fbsessiond import environment
from fbsessiond.environment import credentials_directory, journal_stream, notify_socket, state_directory, user


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which only the home directory is known."""
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/operator")


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are shown as they are now, not as they were at the start."""
    monkeypatch.setenv("FBSESSIOND_GWS__URL", "http://gws.example:8090")
    assert environment.variables["FBSESSIOND_GWS__URL"] == "http://gws.example:8090"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "/home/operator/.local/state/fbsessiond"),
        ({"XDG_STATE_HOME": ""}, "/home/operator/.local/state/fbsessiond"),
        ({"XDG_STATE_HOME": "/state"}, "/state/fbsessiond"),
        ({"STATE_DIRECTORY": ""}, "/home/operator/.local/state/fbsessiond"),
        ({"STATE_DIRECTORY": "/var/lib/fbsessiond"}, "/var/lib/fbsessiond"),
        ({"STATE_DIRECTORY": "/var/lib/fbsessiond:/var/lib/other"}, "/var/lib/fbsessiond"),
        ({"STATE_DIRECTORY": "/var/lib/fbsessiond", "XDG_STATE_HOME": "/state"}, "/var/lib/fbsessiond"),
    ],
)
def test_state_directory(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    """State is kept where systemd says, else where the desktop's standard says, else under the home directory."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert state_directory() == Path(expected)


def test_credentials_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials lie where systemd says; without it there is no such folder."""
    assert credentials_directory() is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/fbsessiond.service")
    assert credentials_directory() == Path("/run/credentials/fbsessiond.service")


def test_notify_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd says where it wants to be told; without it nobody does."""
    assert notify_socket() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    assert notify_socket() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    assert notify_socket() == "/run/systemd/notify"


def test_journal_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd says which file its journal reads; elsewhere nobody does."""
    assert journal_stream() is None
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    assert journal_stream() == "8:1234"
    monkeypatch.setenv("JOURNAL_STREAM", "")
    assert journal_stream() is None


def test_user(tmp_path: Path) -> None:
    """Who runs a process is said by name and number; and as whom that person logged in, where that is somebody else."""
    login = tmp_path / "loginuid"
    uid = os.getuid()
    name = pwd.getpwuid(uid).pw_name
    assert user(login) == f"{name} (uid {uid})"
    for same in (str(uid), "4294967295", "", "nobody knows"):
        login.write_text(same)
        assert user(login) == f"{name} (uid {uid})"
    login.write_text("987654321")
    assert user(login) == f"{name} (uid {uid}), logged in as uid 987654321"


def test_user_by_default() -> None:
    """As whom somebody logged in, the kernel says."""
    assert f"(uid {os.getuid()})" in user()

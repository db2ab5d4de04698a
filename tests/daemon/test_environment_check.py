import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from cometd_servers import Answer, ScriptedServer, scripted
from fbsessiond import environment_check
from fbsessiond.chance import SeededChance
from fbsessiond.configuration import Configuration, load
from fbsessiond.environment_check import check_environment
from fbsessiond.errors import ConfigurationError, FbsessiondError, JournalError, RefusedError, UnavailableError
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.testing import VirtualClock
from journal_parts import NOW
from virtual_network import run_networked

Found = list[tuple[str, str]]

NOBODY = 9
"""A port on which nobody listens."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the configuration is, with a password beside it."""
    (tmp_path / "password").write_text("secret\n")
    return tmp_path


def configured(folder: Path, port: int, rest: str = "[handlers.audit]\n", **changed: str) -> Configuration:
    """Return a configuration for a server on this machine."""
    gws = {
        "url": f'"http://127.0.0.1:{port}"',
        "username": '"agent1"',
        "password": f'{{ file = "{folder / "password"}" }}',
        "notifications": '"/notifications"',
    }
    lines = "".join(f"{key} = {value}\n" for key, value in (gws | changed).items())
    path = folder / "fbsessiond.toml"
    path.write_text(f'state_directory = "{folder / "state"}"\n[gws]\n{lines}{rest}')
    return load(path)


async def check(configuration: Configuration, found: Found) -> None:
    """Check, and note what is said."""

    def say(what: str, words: str) -> None:
        found.append((what, words))

    await check_environment(configuration, configuration.routes(), say, VirtualClock(), SeededChance(1))


def failing(work: Coroutine[Any, Any, None], error: type[FbsessiondError], words: str) -> int:
    """Run what fails, and return the exit status."""
    with pytest.raises(error, match=words) as raised:
        run_networked(work)
    return raised.value.exit_status


def test_fine(folder: Path) -> None:
    """Where all is as it should be each step says so, in the order in which the daemon needs it, and all is closed."""
    found: Found = []

    async def main() -> ScriptedServer:
        async with scripted() as server:
            await check(configured(folder, server.port), found)
            assert asyncio.get_running_loop().time() < 1
            return server

    server = run_networked(main())
    assert [what for what, _ in found] == ["secrets", "journal", "handlers", "gws"]
    assert all(words.startswith("fine") for _, words in found)
    assert found[1][1] == f"fine, sqlite:journal.db in {folder / 'state'}"
    assert found[3][1] == f"fine, http://127.0.0.1:{server.port}/notifications"
    channels = [message["channel"] for message in server.received if message["channel"] != "GET"]
    assert channels[:3] == ["/meta/handshake", "/meta/subscribe", "/meta/connect"]
    assert channels[-1] == "/meta/disconnect"
    SqliteJournal(folder / "state" / "journal.db", NOW).close()


def test_no_platform(folder: Path) -> None:
    """Without a platform in the configuration there is nothing to check: 78."""
    (folder / "fbsessiond.toml").write_text("[handlers.log]\n")
    found: Found = []
    assert failing(check(load(folder / "fbsessiond.toml"), found), ConfigurationError, "gws: is missing") == 78
    assert found == []


def test_no_secret(folder: Path) -> None:
    """A secret that can't be read is a matter of the configuration: 78."""
    configuration = configured(folder, NOBODY)
    (folder / "password").unlink()
    found: Found = []
    assert failing(check(configuration, found), ConfigurationError, "can't read the secret") == 78
    assert found == []


def test_journal_in_use(folder: Path) -> None:
    """A journal that can't be used, for instance because a daemon writes it: 74."""
    journal = SqliteJournal(folder / "state" / "journal.db", NOW)
    found: Found = []
    assert failing(check(configured(folder, NOBODY), found), JournalError, "another fbsessiond") == 74
    assert [what for what, _ in found] == ["secrets"]
    journal.close()


def test_handler_that_cannot_start(folder: Path) -> None:
    """A handler that can't start is a matter of the configuration: 78."""
    (folder / "state" / "audit.jsonl").mkdir(parents=True)
    found: Found = []
    words = r"handlers\.audit: can't start"
    assert failing(check(configured(folder, NOBODY), found), ConfigurationError, words) == 78
    assert [what for what, _ in found] == ["secrets", "journal"]


def test_unreachable(folder: Path) -> None:
    """A platform that can't be reached: 69, with its address and what is wrong; what is before it is fine."""
    found: Found = []
    words = f"http://127.0.0.1:{NOBODY}/notifications: unreachable: Connect"
    assert failing(check(configured(folder, NOBODY), found), UnavailableError, words) == 69
    assert [what for what, _ in found] == ["secrets", "journal", "handlers"]


def against(folder: Path, channel: str, *answers: Answer, **changed: str) -> Coroutine[Any, Any, None]:
    """Check against a server that answers on a channel like this."""

    async def main() -> None:
        async with scripted() as server:
            server.script(channel, *answers)
            await check(configured(folder, server.port, **changed), [])

    return main()


def denied(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Deny what a message asks for."""
    asked = {key: message[key] for key in ("channel", "id", "subscription") if key in message}
    return [asked | {"successful": False, "error": "403::denied"}]


def test_refused(folder: Path) -> None:
    """Refused credentials: 77; they are tried once."""
    assert failing(against(folder, "/meta/handshake", 401), RefusedError, "refused the credentials") == 77


def test_not_a_platform(folder: Path) -> None:
    """A server that is something else: 69."""
    assert failing(against(folder, "/meta/handshake", 404), UnavailableError, "HTTP status 404") == 69
    assert failing(against(folder, "/meta/handshake", b"<html>"), UnavailableError, "notifications: ") == 69


def test_subscription_refused(folder: Path) -> None:
    """A platform that refuses the subscription, so that nothing would ever arrive: 69, with the channel."""
    words = "the subscription to /v2/me/calls is refused: 403"
    work = against(folder, "/meta/subscribe", denied, channels='["/v2/me/calls"]')
    assert failing(work, UnavailableError, words) == 69


def test_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that accepts the connection and says nothing: 69, after the time that a person waits for it."""
    monkeypatch.setattr(environment_check, "ANSWER_SECONDS", 3.0)

    async def main() -> None:
        begun = asyncio.get_running_loop().time()
        try:
            await against(folder, "/meta/handshake", None)
        finally:
            assert asyncio.get_running_loop().time() - begun < 4

    assert failing(main(), UnavailableError, "no answer within 3 s") == 69


def test_notification_at_once(folder: Path) -> None:
    """A notification that comes with the first answer is proof enough."""

    def answer(connect: dict[str, Any]) -> list[dict[str, Any]]:
        reply = {"channel": "/meta/connect", "id": connect["id"], "successful": True}
        return [{"channel": "/v2/me/calls", "data": {}}, reply]

    run_networked(against(folder, "/meta/connect", answer))


def test_cancelled(folder: Path) -> None:
    """Whoever is tired of waiting for it can stop it, and it leaves nothing running."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await against(folder, "/meta/handshake", None)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_networked(main())


def test_several_agents(folder: Path) -> None:
    """Where there are several agents each is tried; what is wrong is said of each, and the first's trouble ends it."""
    found: Found = []
    tables = "".join(
        f'[[agents]]\nusername = "agent{number}"\npassword = {{ file = "{folder / "password"}" }}\n'
        for number in (2, 3)
    )

    async def main() -> None:
        async with scripted() as server:
            server.script("/meta/handshake", 401)
            await check(configured(folder, server.port, tables), found)

    assert failing(main(), RefusedError, "refused the credentials") == 77
    assert sorted(what for what, _ in found[3:]) == ["gws agent1", "gws agent2", "gws agent3"]
    assert sum(words.startswith("fine") for _, words in found[3:]) == 2

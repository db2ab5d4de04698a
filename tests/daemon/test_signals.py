"""fbsessiond.signals: what is asked of the daemon while it runs."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fbsessiond.configuration import Configuration, load
from fbsessiond.errors import ConfigurationError, RefusedError
from fbsessiond.service_manager import ServiceManager
from fbsessiond.settings import GwsSettings
from fbsessiond.signals import SIGNALS, Asked, asking, examine
from fbsessiond.testing import VirtualClock, run_virtual

GWS = '[gws]\nurl = "http://gws.example:8090"\nusername = "agent1"\npassword = { file = "PASSWORD" }\n'


def configured(folder: Path, rest: str = "", gws: str = GWS) -> Configuration:
    """Return a configuration that is right, but for what is added."""
    (folder / "password").write_text("the-secret-of-agent1")
    path = folder / "fbsessiond.toml"
    state = "" if rest.startswith("state_directory") else f'state_directory = "{folder / "state"}"\n'
    path.write_text(f"{state}{rest}\n{gws.replace('PASSWORD', str(folder / 'password'))}")
    return load(path)


def hearing(configuration: Configuration, reload: Callable[[], Configuration], *signals: signal.Signals) -> Asked:
    """Let signals come, the last of which ends the waiting."""
    asked = Asked(configuration, reload, ServiceManager(None), VirtualClock())
    for number in signals:
        asked.hear(number)
    run_virtual(asked.until_asked())
    return asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(tmp_path: Path, number: signal.Signals) -> None:
    """After SIGTERM or SIGINT it goes on with nothing."""
    first = configured(tmp_path)
    assert hearing(first, lambda: first, number).following is None


def test_reload(tmp_path: Path) -> None:
    """After SIGHUP it goes on with what is read then."""
    first, second = configured(tmp_path), configured(tmp_path, '[snapshots]\nevery = "1m"')
    with capture_logs() as lines:
        assert hearing(first, lambda: second, signal.SIGHUP).following is second
    assert [line["event"] for line in lines] == ["configuration.reloaded"]


def test_nothing_to_read(tmp_path: Path) -> None:
    """Without a way to read the configuration again, a reload begins anew with the same."""
    first = configured(tmp_path)
    asked = Asked(first, None, ServiceManager(None), VirtualClock())
    asked.hear(signal.SIGHUP)
    run_virtual(asked.until_asked())
    assert asked.following is first


@pytest.mark.parametrize(
    ("rest", "gws", "words"),
    [
        ("[handlers.lgo]", GWS, "handlers.lgo"),
        ("[handlers.log]\nvolume = 11", GWS, "volume"),
        ("", "", "gws: is missing"),
        ("", GWS.replace("PASSWORD", "/nowhere"), "gws.password: can't read the secret"),
        ("", f'{GWS}ca_file = "/nowhere"\n', "/nowhere: no CA certificates can be read"),
        ('[journal]\nurl = "sqlite:other.db"', GWS, "journal.url: can't be changed from 'sqlite:journal.db' to"),
        ('state_directory = "/elsewhere"', GWS, "state_directory: can't be changed from "),
    ],
)
def test_wrong_reload(tmp_path: Path, rest: str, gws: str, words: str) -> None:
    """What can be seen to be wrong is refused with the reason, and the daemon runs on undisturbed until it is asked."""
    first = configured(tmp_path)
    with capture_logs() as lines:
        manager = ServiceManager(None)
        asked = Asked(first, lambda: configured(tmp_path, rest, gws), manager, VirtualClock())
        asked.hear(signal.SIGHUP)

        async def main() -> None:
            waiting = asyncio.create_task(asked.until_asked())
            await asyncio.sleep(60)
            assert not waiting.done()
            assert asked.following is first
            asked.hear(signal.SIGTERM)
            await waiting

        run_virtual(main())
    assert [line["event"] for line in lines] == ["configuration.refused"]
    assert words in lines[0]["error"]
    assert words in manager.remark


def refused(asked: Asked) -> tuple[bool, bool]:
    """Say whether it goes back when it can't start, and when GWS refuses it."""
    assert asked.following is not None
    return (
        asked.can_go_back(asked.following, ConfigurationError("can't start")),
        asked.can_go_back(asked.following, RefusedError("refused")),
    )


def test_nothing_to_go_back_to(tmp_path: Path) -> None:
    """With the configuration of its start the daemon ends where that turns out to be wrong."""
    assert refused(Asked(configured(tmp_path), None, ServiceManager(None), VirtualClock())) == (False, False)


def test_go_back(tmp_path: Path) -> None:
    """From a new configuration that it can't start with it goes back, once; to the same credentials never."""
    first, second = configured(tmp_path), configured(tmp_path, "[handlers.log]")
    asked = hearing(first, lambda: second, signal.SIGHUP)
    assert refused(asked) == (True, False)
    with capture_logs() as lines:
        asked.go_back(ConfigurationError("can't start"))
    assert [(line["event"], line["error"]) for line in lines] == [("configuration.refused", "can't start")]
    assert asked.following is first
    assert refused(asked) == (False, False)


def test_other_credentials(tmp_path: Path) -> None:
    """Where GWS refuses new credentials at once it goes back to the ones before; not where they were good."""
    first, second = configured(tmp_path), configured(tmp_path, gws=GWS.replace("agent1", "agent2"))
    asked = hearing(first, lambda: second, signal.SIGHUP)
    assert refused(asked) == (True, True)
    asked.has_connected = True
    assert refused(asked) == (True, False)


async def test_asking(tmp_path: Path) -> None:
    """The process's own signals are heard for as long as that lasts."""
    with asking(configured(tmp_path), None, ServiceManager(None), VirtualClock()) as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        await asked.until_asked()
    assert asked.following is None
    loop = asyncio.get_running_loop()
    assert [loop.remove_signal_handler(number) for number in SIGNALS] == [False] * len(SIGNALS)


async def test_examine(tmp_path: Path) -> None:
    """What is right is looked at, and nothing is begun with it."""
    await examine(configured(tmp_path, "[handlers.log]\n[handlers.audit]"))
    assert not (tmp_path / "state").exists()


AGENTS = '[gws]\nurl = "http://gws.example:8090"\n' + "".join(
    f'[[agents]]\nusername = "agent{number}"\npassword = {{ file = "PASSWORD" }}\n' for number in range(3)
)
TWO = AGENTS.rpartition("[[agents]]")[0]


def changed(tmp_path: Path, first: str, second: str, rest: str = "") -> tuple[list[list[str]], Asked]:
    """Have the agents reloaded, then the daemon stopped; return the agents that were put in their place."""
    changes: list[list[str]] = []
    before, after = configured(tmp_path, gws=first), configured(tmp_path, rest, second)

    async def change(tables: Sequence[GwsSettings]) -> None:
        changes.append([gws.agent_name for gws in tables])

    asked = Asked(before, lambda: after, ServiceManager(None), VirtualClock())
    asked.change_agents = change
    for number in (signal.SIGHUP, signal.SIGTERM):
        asked.hear(number)
    run_virtual(asked.until_asked())
    return changes, asked


@pytest.mark.parametrize(("first", "second", "names"), [(AGENTS, TWO, [0, 1]), (TWO, AGENTS, [0, 1, 2])])
def test_agents_alone(tmp_path: Path, first: str, second: str, names: list[int]) -> None:
    """Where only the agents have changed, those are changed, and nothing begins anew."""
    with capture_logs() as lines:
        changes, asked = changed(tmp_path, first, second)
    assert changes == [[f"agent{number}" for number in names]]
    assert asked.following is None
    assert [(line["event"], line["agents"]) for line in lines] == [("agents.reloaded", len(names))]


@pytest.mark.parametrize(
    ("first", "second", "rest"),
    [(AGENTS, TWO, "[handlers.log]"), (AGENTS, AGENTS, ""), (AGENTS, GWS, ""), (GWS, AGENTS, "")],
    ids=["a handler, too", "nothing", "one alone", "from one alone"],
)
def test_more_than_agents(tmp_path: Path, first: str, second: str, rest: str) -> None:
    """Where anything else has changed, or nothing, all begins anew: secrets and handlers are read again."""
    changes, asked = changed(tmp_path, first, second, rest)
    assert changes == []
    assert asked.following is not None


async def test_examine_several(tmp_path: Path) -> None:
    """Where there are several agents, a secret that is missing is that agent's own trouble."""
    await examine(configured(tmp_path, gws=AGENTS.replace("PASSWORD", "/nowhere")))

"""fbsessiond.cli.operate: one operation by hand."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cli_parts import Command
from fbsessiond.chance import SeededChance
from fbsessiond.clock import SystemClock
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating

T = TypeVar("T")

SECONDS = 20.0
"""How long the platform's thread may take for anything on a slow machine."""

SCENARIO = {"customers": {"per_minute": 0}, "gws": {"delay": ["1ms", "5ms"]}}


class Platform:
    """The simulated GWS, in a thread of its own: the command has this one."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self.simulator: Simulator

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        assert self._ready.wait(SECONDS)

    def stop(self) -> None:
        """Close the port."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(SECONDS)
        self._loop.close()

    def chat(self) -> str:
        """Let a customer come, and the agent accept; return the session."""
        return self._do(self._chat)

    def switch(self, **faults: Any) -> None:
        """Switch faults on."""
        self._do(lambda: self.simulator.faults.switch(FaultTable.model_validate(faults)))

    def effects(self) -> dict[str, dict[str, Any]]:
        """Return the operations that a client asked for and that took effect."""
        return self._do(
            lambda: {
                applied.operation: self.simulator.platform.sessions(applied.agent)[0]
                for applied in self.simulator.platform.effects
                if applied.by == "http"
            }
        )

    def _chat(self) -> str:
        platform = self.simulator.platform
        session = platform.arrive()
        platform.invite("agent1", session)
        order = platform.request("agent1", session, {"operationName": "Accept", "nickname": "Marat"}, by="desktop")
        platform.carry_out(order)  # pyright: ignore[reportArgumentType]
        return session

    def _do(self, what: Callable[[], T]) -> T:
        async def do() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(SECONDS)

    async def _serve(self) -> None:
        scenario = Scenario.model_validate(SCENARIO)
        async with simulating(scenario, clock=SystemClock(), chance=SeededChance(1)) as self.simulator:
            self._ready.set()
            await self._stopped.wait()


@pytest.fixture
def platform() -> Generator[Platform, None, None]:
    """The simulated GWS."""
    platform = Platform()
    platform.start()
    yield platform
    platform.stop()


def configure(folder: Path, url: str, password: str = "simulated") -> Path:  # noqa: S107  of agents that don't exist
    """Write a configuration."""
    (folder / "password").write_text(password)
    path = folder / "fbsessiond.toml"
    gws = f'[gws]\nurl = "{url}"\nusername = "agent1"\npassword = {{ file = "{folder / "password"}" }}\n'
    path.write_text(f'{gws}[follow_ups]\nconfirmation = "300ms"\nsettling = "100ms"\n')
    return path


@pytest.fixture
def config(tmp_path: Path, platform: Platform) -> Path:
    """A configuration for it."""
    return configure(tmp_path, platform.simulator.url)


def test_done(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """One line says what became of it."""
    session = platform.chat()
    ran = fbsessiond("operate", session, "Leave", "--config", config)
    assert (ran.status, ran.err) == (0, "")
    assert ran.lines == [f"Leave on {session}: done: a notification shows it"]
    assert platform.effects()["Leave"]["state"] == "LeftChat"


def test_as_one_of_several(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """Where there are several agents, it is said as which; none of that name is told with the nearest one."""
    password = config.parent / "password"
    config.write_text(f'{config.read_text()}[[agents]]\nusername = "agent2"\npassword = {{ file = "{password}" }}\n')
    session = platform.chat()
    assert fbsessiond("operate", session, "Leave", "--config", config).status == 78
    stranger = fbsessiond("operate", session, "Leave", "--agent", "1", "--config", config)
    assert stranger.err == "fbsessiond: agents: none is called '1'; known here: agent1, agent2\n"
    assert fbsessiond("operate", session, "Leave", "--agent", "agent1", "--config", config).status == 0


def test_as_json(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """With --json the same as one line of JSON."""
    session = platform.chat()
    (record,) = fbsessiond("operate", session, "Leave", "--config", config, "--json").records
    assert record == {
        "session": session,
        "operation": "Leave",
        "state": "confirmed",
        "because": None,
        "attempts": 1,
    }


def test_no_waiting(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """With --no-wait it is enough that GWS took it."""
    session = platform.chat()
    ran = fbsessiond("operate", session, "Leave", "--no-wait", "--config", config)
    assert (ran.status, ran.lines) == (0, [f"Leave on {session}: passed on; not waited for"])


def test_already_so(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """What the session shows already is done, with the reason."""
    session = platform.chat()
    command = ("operate", session, "AddComment", "--with", "comment=seen", "--config", config)
    assert fbsessiond(*command).status == 0
    ran = fbsessiond(*command)
    assert (ran.status, ran.lines) == (
        0,
        [f"AddComment on {session}: done: the session shows it (the session shows it already)"],
    )


def test_unconfirmed(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """What nothing tells of was passed on, and that is said."""
    session = platform.chat()
    platform.switch(lose={})
    ran = fbsessiond("operate", session, "SendMessage", "--with", "text=hello", "--config", config)
    assert ran.status == 0
    assert ran.lines[0].startswith(f"SendMessage on {session}: passed on; nothing tells what became of it (")


def test_in_doubt(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """A doubt that nothing clears is status 1."""
    session = platform.chat()
    platform.switch(**{"drop-request": {"on": ["operations"]}})
    ran = fbsessiond("operate", session, "SendMessage", "--with", "text=hello", "--config", config)
    assert ran.status == 1
    assert ran.lines[0].startswith(f"SendMessage on {session}: in doubt: nothing tells whether it was done (")


def test_no_such_session(fbsessiond: Command, config: Path) -> None:
    """A session that the agent doesn't have is status 1."""
    ran = fbsessiond("operate", "0002NOTTHERE", "Leave", "--config", config)
    assert (ran.status, ran.lines) == (
        1,
        ["Leave on 0002NOTTHERE: failed (not sent: the agent has no such session)"],
    )


@pytest.mark.parametrize(
    ("operation", "given", "key", "expected"),
    [
        ("SetDisposition", ["disposition=a=b"], "DISP_KEY", "a=b"),
        ("SetDisposition", ["disposition=7", "dispositionKey=Code"], "Code", "7"),
        ("AttachUserData", ['userData={"Case": 7}'], "Case", 7),
        ("UpdateUserData", ['userData={"Subject": null}'], "Subject", None),
    ],
    ids=["text with =", "digits are a text", "a table", "null"],
)
def test_parameters(
    fbsessiond: Command, platform: Platform, config: Path, operation: str, given: list[str], key: str, expected: object
) -> None:
    """A value is the text after the first `=`; JSON where the operation wants a table or a list."""
    options = [word for text in given for word in ("--with", text)]
    ran = fbsessiond("operate", platform.chat(), operation, *options, "--config", config)
    assert ran.status == 0, ran
    assert platform.effects()[operation]["userData"][key] == expected


def test_list_of_keys(fbsessiond: Command, platform: Platform, config: Path) -> None:
    """A list is JSON."""
    ran = fbsessiond("operate", platform.chat(), "DeleteUserData", "--with", 'keys=["Subject"]', "--config", config)
    assert ran.status == 0
    assert "Subject" not in platform.effects()["DeleteUserData"]["userData"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Leaf"], "there is no operation 'Leaf'; there are Accept, Reject, Leave"),
        (["Leave", "--with", "text=x"], "Leave has no parameter 'text'; it has none"),
        (["Accept"], "Accept needs nickname"),
        (["Accept", "--with", "nickname"], "--with nickname: should be KEY=VALUE"),
        (["Leaf", "--with", "nickname=x"], "there is no operation 'Leaf'"),
        (["DeleteUserData", "--with", "keys=Subject"], "DeleteUserData: keys should be a list of keys"),
        (["AttachUserData", "--with", 'userData={"a":'], "userData should be a table"),
        (["SendUrl", "--with", "url=ftp://x"], "url should be an address"),
    ],
)
def test_usage(fbsessiond: Command, tmp_path: Path, arguments: list[str], words: str) -> None:
    """What GWS would refuse is found before the configuration is read or anything sent, with status 2."""
    ran = fbsessiond("operate", "0002X", *arguments, "--config", tmp_path / "none.toml")
    assert ran.status == 2
    said = " ".join(ran.err.replace("│", " ").split())
    assert words in said


def test_refused(fbsessiond: Command, tmp_path: Path, platform: Platform) -> None:
    """Wrong credentials are status 77."""
    ran = fbsessiond("operate", "0002X", "Leave", "--config", configure(tmp_path, platform.simulator.url, "wrong"))
    assert ran.status == 77
    assert "fbsessiond: GWS refused the credentials" in ran.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_unreachable(fbsessiond: Command, tmp_path: Path, platform: Platform, options: list[str]) -> None:
    """A platform that doesn't answer is status 69; nothing is on standard output."""
    url = platform.simulator.url
    platform.switch(**{"5xx": {"on": ["reads"]}})
    ran = fbsessiond("operate", "0002X", "Leave", "--no-wait", "--config", configure(tmp_path, url), *options)
    assert (ran.status, ran.out) == (69, "")
    assert "GET /me/facebooksessions" in ran.err


@pytest.mark.parametrize("text", ["", "[gws]\n", "[gws"], ids=["no platform", "incomplete", "no TOML"])
def test_configuration(fbsessiond: Command, tmp_path: Path, text: str) -> None:
    """A configuration that can't be used is status 78."""
    path = tmp_path / "fbsessiond.toml"
    path.write_text(text)
    assert fbsessiond("operate", "0002X", "Leave", "--config", path).status == 78


def test_process(platform: Platform, config: Path) -> None:
    """A process of its own does the same, and says nothing besides."""
    session = platform.chat()
    program = [sys.executable, "-W", "error", "-m", "fbsessiond", "operate", session, "Complete"]
    ran = subprocess.run(
        [*program, "--config", str(config), "--json"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["state"] == "confirmed"

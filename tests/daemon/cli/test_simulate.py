"""fbsessiond.cli.simulate: a GWS on this machine."""

import json
import os
import signal
import socket
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cli_parts import Command
from fbsessiond.cli.simulate import WORDS
from fbsessiond.gws.access import Basic
from fbsessiond.simulator.happening import What

SHORT = """
duration = "400ms"
[agents]
answer = ["1ms", "2ms"]
accept = 0.5
reject = 0.5
complete_at_once = 0.5
[gws]
delay = ["1ms", "2ms"]
[customers]
per_minute = 6000
queue = ["1ms", "2ms"]
chat = ["1ms", "2ms"]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A scenario in which nobody comes, and which is over at once."""
    path = tmp_path / "scenario.toml"
    path.write_text('duration = "1ms"\n[agents]\ncount = 3\npassword = "hush"\n[customers]\nper_minute = 0\n')
    return path


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def listening(port: int) -> None:
    """Wait until somebody listens on a port."""
    while True:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return


def subscribe(port: int) -> None:
    """Shake hands as agent1, and subscribe to two channels."""
    listening(port)
    url = f"http://127.0.0.1:{port}/api/v2/notifications"
    headers = {"Authorization": Basic("agent1", "simulated").authorization()}

    def send(message: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps([message]).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
            reply: dict[str, Any] = json.loads(response.read())[0]
        return reply

    client = send({"channel": "/meta/handshake"})["clientId"]
    send({"channel": "/meta/subscribe", "clientId": client, "subscription": ["/v2/me/*", "/x"]})


def test_it_says_where_it_listens_and_who_can_sign_in(fbsessiond: Command, scenario: Path) -> None:
    """The address, the agents, the password and a token; it ends when the scenario is over."""
    port = free_port()
    ran = fbsessiond("simulate", "--scenario", scenario, "--port", str(port))
    assert ran.status == 0
    assert ran.out.splitlines() == [
        f"A simulated GWS listens at http://127.0.0.1:{port}",
        "Agents: agent1 … agent3; password hush, or bearer token token-of-agent1",
    ]


def test_one_agent_is_named_alone(fbsessiond: Command, scenario: Path) -> None:
    """Without dots."""
    scenario.write_text('duration = "1ms"')
    assert "Agents: agent1; password" in fbsessiond("simulate", "--scenario", scenario, "--port", "0").out


def test_as_json(fbsessiond: Command, scenario: Path) -> None:
    """The first line says the same."""
    ran = fbsessiond("simulate", "--scenario", scenario, "--port", "0", "--json")
    first: dict[str, Any] = json.loads(ran.out)
    assert first.pop("url").startswith("http://127.0.0.1:")
    assert first == {"what": "listening", "agents": ["agent1", "agent2", "agent3"], "password": "hush"}


def test_a_line_for_each_thing_that_happens(fbsessiond: Command, scenario: Path) -> None:
    """Customers who wait, invitations, and what took effect, with the time; what was accepted isn't told before."""
    scenario.write_text(SHORT)
    lines = fbsessiond("simulate", "--scenario", scenario, "--port", "0").out.splitlines()[2:]
    for words in (" waits", "  invited: ", "Accept took effect (desktop): Chatting", "Reject took effect (desktop)"):
        assert any(words in line for line in lines), words
    assert all(line[2] == line[5] == ":" for line in lines)


def test_what_happens_as_json(fbsessiond: Command, scenario: Path) -> None:
    """Each line has time, kind, agent and session, and its own details."""
    scenario.write_text(SHORT)
    lines = fbsessiond("simulate", "--scenario", scenario, "--port", "0", "--json").out.splitlines()[1:]
    first: dict[str, Any] = json.loads(lines[0])
    assert first.keys() == {"at", "what", "agent", "session", "customer"}
    assert (first["what"], first["agent"]) == ("session.waiting", None)
    assert first["at"].endswith("Z")


def test_a_client_is_told_of(fbsessiond: Command, scenario: Path) -> None:
    """Its channels stand there as they are."""
    scenario.write_text('duration = "500ms"\n[customers]\nper_minute = 0\n')
    port = free_port()
    thread = threading.Thread(target=subscribe, args=(port,))
    thread.start()
    lines = fbsessiond("simulate", "--scenario", scenario, "--port", str(port)).out.splitlines()
    thread.join()
    assert [line[28:].strip() for line in lines[2:]] == [
        "a CometD client shook hands",
        "subscribed: /v2/me/*, /x",
        "a CometD client is gone: the server stops",
    ]


def test_every_kind_has_words_but_one() -> None:
    """What was accepted is told by its effect."""
    assert set(What) - WORDS.keys() == {What.ACCEPTED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(fbsessiond: Command, number: signal.Signals) -> None:
    """With status 0; without a scenario it would run for ever."""
    port = free_port()

    def stop() -> None:
        listening(port)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        assert fbsessiond("simulate", "--port", str(port)).status == 0
    finally:
        thread.join()


def test_a_port_in_use_is_said_clearly(fbsessiond: Command, scenario: Path) -> None:
    """With the port, and what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        ran = fbsessiond("simulate", "--scenario", scenario, "--port", str(port))
    assert ran.status == 2
    words = " ".join(ran.err.split())
    assert f"can't listen on 127.0.0.1, port {port}: " in words
    assert "in use" in words
    assert "choose another --port" in words


def test_a_wrong_scenario_is_told_with_its_line(fbsessiond: Command, scenario: Path) -> None:
    """As a wrong configuration is, with status 78."""
    scenario.write_text("[agents]\ncuont = 3\n")
    ran = fbsessiond("simulate", "--scenario", scenario)
    assert ran.status == 78
    assert f"{scenario}: line 2: agents.cuont: there is no such key; did you mean 'count'?" in ran.err

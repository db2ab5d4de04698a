"""fbsessiond.agents: many agents side by side, each with its own trouble."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from structlog.testing import capture_logs

from fbsessiond.agent import Agent
from fbsessiond.agents import AGAIN, NAMED, Agents, all_watched
from fbsessiond.chance import SeededChance
from fbsessiond.cometd.events import NOTHING_TRIED, ConnectionStatus
from fbsessiond.errors import ConfigurationError, DiskError, JournalError, RefusedError
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.readiness import Check, Standing
from fbsessiond.settings import GwsSettings
from fbsessiond.testing import VirtualClock, run_virtual
from journal_parts import NOW, after, break_chain, prove

Value = TypeVar("Value")

HEALTHY = replace(NOTHING_TRIED, connected=True, acknowledged=("/v2/me/*",), since=NOW, last_connect_at=NOW)
LONG = AGAIN * 1.3


def gws(name: str, **values: object) -> GwsSettings:
    """Return the platform as an agent comes to it."""
    return GwsSettings.model_validate(
        {"url": "http://gws.example:8090", "username": name, "password": {"env": "P"}, **values}
    )


class Platform:
    """What becomes of agents who are watched: each waits in its conversation, until it is told otherwise."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.errors: dict[str, Exception] = {}
        """What an agent's conversation raises after a second."""
        self.missing: set[str] = set()
        """Agents whose credentials aren't to be had."""
        self.status = HEALTHY
        self.moving = True

    @asynccontextmanager
    async def watch(self, settings: GwsSettings) -> AsyncGenerator[Agent, None]:
        """Put one's parts together."""
        name = settings.agent_name
        if name in self.missing:
            raise ConfigurationError(f"{name} has no password")
        self.begun.append(name)
        source = SimpleNamespace(name=name, status=self.status, is_moving=self.moving)
        reconciler = SimpleNamespace(run=self._wait)
        try:
            yield Agent(name, *(cast("Any", part) for part in (f"rest of {name}", source, reconciler)))
        finally:
            self.ended.append(name)

    async def take_all(self, source: Any) -> None:
        """Converse."""
        await asyncio.sleep(1)
        if (error := self.errors.get(source.name)) is not None:
            raise error
        await self._wait()

    @staticmethod
    async def _wait() -> None:
        await asyncio.Event().wait()

    def running(self, *names: str) -> Any:
        """Watch agents for a while."""
        return all_watched([gws(name) for name in names], self.watch, VirtualClock(), SeededChance(1))


def played(names: str, play: Callable[[Platform, Agents], Coroutine[Any, Any, Value]], platform: Platform) -> Value:
    """Watch agents, let something happen on virtual time, and stop; raise what they fail of meanwhile."""

    async def main() -> Value:
        async with platform.running(*names.split()) as agents:
            running = asyncio.create_task(agents.run(platform.take_all))
            playing = asyncio.create_task(play(platform, agents))
            await asyncio.wait([running, playing], return_when=asyncio.FIRST_COMPLETED)
            for task in (running, playing):
                task.cancel()
            await asyncio.wait([running, playing])
            if not running.cancelled():
                running.result()
            return playing.result()

    return run_virtual(main())


async def sleep(platform: Platform, agents: Agents) -> None:
    """Let time go by."""
    del platform, agents
    await asyncio.sleep(LONG.total_seconds())


@pytest.fixture
def platform() -> Platform:
    """Where the agents are."""
    return Platform()


def test_side_by_side(platform: Platform) -> None:
    """All are begun, each with its REST client; when they are stopped, all is given back."""

    async def look(_: Platform, agents: Agents) -> None:
        assert agents.rests == {"a": "rest of a", "b": "rest of b"}
        assert (agents.told, agents.has_connected, agents.is_moving) == ({"agents": 2}, True, True)

    played("a b", look, platform)
    assert (platform.begun, sorted(platform.ended)) == (["a", "b"], ["a", "b"])


def test_nobody(platform: Platform) -> None:
    """Without any agent there is nothing to run."""
    with pytest.raises(ConfigurationError, match="gws: is missing"):
        played("", sleep, platform)


def test_the_only_one(platform: Platform) -> None:
    """The only agent's trouble ends the daemon: refused credentials, and those that aren't to be had."""

    async def look(_: Platform, agents: Agents) -> object:
        with pytest.raises(RefusedError):
            agents.bear("a", RefusedError("an operation"))
        return agents.told

    assert played("a", look, platform) == {"agent": "a"}
    platform.errors["a"] = RefusedError("no")
    with pytest.raises(RefusedError, match="no"):
        played("a", sleep, platform)
    platform.missing = {"a"}
    with pytest.raises(ConfigurationError, match="a has no password"):
        played("a", sleep, platform)


def test_refused(platform: Platform) -> None:
    """One of several that is refused is left for some minutes, and tried again with secrets fetched anew."""
    platform.errors["b"] = RefusedError("GWS refused the credentials")
    with capture_logs() as logged:
        played("a b", sleep, platform)
    assert platform.begun == ["a", "b", "b"]
    lines = [(line["agent"], line["because"]) for line in logged if line["event"] == "agent.left"]
    assert lines == [("b", "GWS refused the credentials")] * 2


def test_without_credentials(platform: Platform) -> None:
    """One of several whose credentials aren't to be had is begun when they are; its REST client is there then."""
    platform.missing = {"b"}

    async def look(platform: Platform, agents: Agents) -> None:
        assert agents.rests == {"a": "rest of a", "b": None}
        platform.missing = set()
        await asyncio.sleep(LONG.total_seconds())
        assert agents.rests["b"] == "rest of b"

    played("a b", look, platform)
    assert platform.begun == ["a", "b"]


def test_refused_operation(platform: Platform) -> None:
    """One of several of whom GWS refuses an operation is left, and tried again as well."""

    async def look(platform: Platform, agents: Agents) -> None:
        for _ in range(2):
            agents.bear("b", RefusedError("no"))
        await asyncio.sleep(1)
        assert agents.checks(SqliteJournal(MEMORY, NOW).reader())[0].words == "1 of 2; not b: no"
        await sleep(platform, agents)

    with capture_logs() as logged:
        played("a b", look, platform)
    assert [line["agent"] for line in logged if line["event"] == "agent.left"] == ["b"]
    assert platform.begun == ["a", "b", "b"]


@pytest.mark.parametrize("names", ["a", "a b"])
def test_disk(platform: Platform, names: str) -> None:
    """A disk that fails ends the daemon, however many there are."""
    platform.errors["a"] = DiskError("the disk")
    with pytest.raises(DiskError, match="the disk"):
        played(names, sleep, platform)


def test_disk_at_the_beginning(platform: Platform) -> None:
    """So does one that fails when an agent is begun; the others are given back."""

    @asynccontextmanager
    async def watch(settings: GwsSettings) -> AsyncGenerator[Agent, None]:
        if settings.agent_name == "b":
            raise JournalError("the disk")
        async with platform.watch(settings) as agent:
            yield agent

    async def main() -> None:
        async with all_watched([gws("a"), gws("b")], watch, VirtualClock(), SeededChance(1)):
            raise AssertionError

    with pytest.raises(JournalError, match="the disk"):
        run_virtual(main())
    assert (platform.begun, platform.ended) == (["a"], ["a"])


def test_disk_at_the_end(platform: Platform) -> None:
    """What one fails of while it is stopped is raised."""

    async def take_all(source: Any) -> None:
        del source
        try:
            await asyncio.Event().wait()
        finally:
            raise JournalError("the last batch")

    async def main() -> None:
        async with platform.running("a", "b") as agents:
            running = asyncio.create_task(agents.run(take_all))
            await asyncio.sleep(1)
            running.cancel()
            await running

    with pytest.raises(JournalError, match="the last batch"):
        run_virtual(main())


def test_change(platform: Platform) -> None:
    """Who is new is begun, who isn't among them is left, who has changed is begun anew; nobody else notices."""

    async def look(platform: Platform, agents: Agents) -> None:
        rests = agents.rests
        await asyncio.sleep(5)
        await agents.change([gws("b"), gws("c", ca_file="/ca.pem"), gws("d")])
        assert (platform.begun, platform.ended) == (["a", "b", "c", "c", "d"], ["a", "c"])
        assert rests is agents.rests
        assert sorted(rests) == ["b", "c", "d"]
        platform.errors["d"] = RefusedError("no")
        await asyncio.sleep(5)
        assert agents.standings(SqliteJournal(MEMORY, NOW).reader(), NOW)[0].connected == 2

    played("a b c", look, platform)


def test_change_of_one_that_fails(platform: Platform) -> None:
    """What one fails of while it is left is raised."""

    async def take_all(source: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if source.name == "a":
                raise JournalError("the last batch")

    async def main() -> None:
        async with platform.running("a", "b") as agents:
            running = asyncio.create_task(agents.run(take_all))
            await asyncio.sleep(1)
            with pytest.raises(JournalError, match="the last batch"):
                await agents.change([gws("b")])
            with pytest.raises(JournalError, match="the last batch"):
                await running

    run_virtual(main())


async def standing_of(platform: Platform, names: str) -> tuple[Agents, SqliteJournal]:
    """Return agents that were begun, and a journal."""
    agents = Agents(platform.watch, VirtualClock(), SeededChance(1))
    await agents.change([gws(name) for name in names.split()])
    return agents, SqliteJournal(MEMORY, NOW)


def status(platform: Platform, **values: object) -> ConnectionStatus:
    """Have the next agents be so."""
    platform.status = replace(NOTHING_TRIED, **cast("Any", values))
    return platform.status


def test_checks(platform: Platform) -> None:
    """Of several it is told how many are well, and which aren't, and of each; all must have been tried, one be well."""

    async def main() -> None:
        status(platform, words="not tried yet")
        agents, journal = await standing_of(platform, "a b")
        reader = journal.reader()
        for name in ("a", "b"):
            await journal.watch(name, NOW)
        connections, coverage = agents.checks(reader)
        assert connections == Check("connections", False, "0 of 2; not a: not tried yet; b: not tried yet")
        assert (coverage.is_ok, coverage.words[:14]) == (False, "0 of 2; not a:")
        platform.status = HEALTHY
        platform.missing = {"c"}
        await agents.change([gws("c"), gws("d")])
        for name in ("c", "d", "e"):
            await journal.watch(name, NOW)
        await prove(journal, "one", 0, 60, agent="d")
        connections, coverage = agents.checks(reader)
        assert connections == Check("connections", True, "1 of 2; not c: c has no password")
        assert coverage.words.startswith("0 of 2; not c: ")
        assert {name: one.is_ok for name, one in agents.connections().items()} == {"c": False, "d": True}
        platform.status, platform.missing = NOTHING_TRIED, set()
        await agents.change([gws("d"), gws("f")])
        assert not agents.checks(reader)[0].is_ok
        journal.close()

    run_virtual(main())


def test_checks_of_one(platform: Platform) -> None:
    """One that is alone is told by its name."""

    async def main() -> None:
        agents, journal = await standing_of(platform, "a")
        await journal.watch("a", NOW)
        assert [check.name for check in agents.checks(journal.reader())] == ["connection a", "coverage a"]
        journal.close()

    run_virtual(main())


def test_many_in_trouble(platform: Platform) -> None:
    """Only some of many in trouble are named."""

    async def main() -> None:
        names = [f"agent{number}" for number in range(NAMED + 2)]
        platform.missing = set(names[1:])
        agents, journal = await standing_of(platform, " ".join(names))
        words = agents.checks(journal.reader())[0].words
        assert words.startswith(f"1 of {NAMED + 2}; not agent1: agent1 has no password; agent2: ")
        assert words.endswith(f"agent{NAMED} has no password; …")
        journal.close()

    run_virtual(main())


def test_stuck(platform: Platform) -> None:
    """When one of them doesn't get on, they don't."""

    async def main() -> None:
        agents, journal = await standing_of(platform, "a")
        platform.moving = False
        await agents.change([gws("a"), gws("b")])
        assert not agents.is_moving
        journal.close()

    run_virtual(main())


def test_standing(platform: Platform) -> None:
    """The figures add up over a group's agents; of those who aren't watched nothing counts."""

    async def main() -> None:
        agents, journal = await standing_of(platform, "agent1")
        status(platform)
        await agents.change([gws("agent1"), gws("agent2")])
        reader = journal.reader()
        seconds = timedelta(seconds=30)
        assert agents.standings(reader, after(30)) == [Standing(agents=2, connected=1, silent_for=seconds)]
        for name in ("agent1", "agent2", "agent3"):
            await journal.watch(name, NOW)
        await prove(journal, "one", 10, 100)
        await prove(journal, "two", 0, 60, agent="agent2")
        assert agents.standings(reader, after(500))[0].coverage == 150 / 160
        await break_chain(journal, agent="agent2")
        (found,) = agents.standings(reader, after(100))
        assert (found.in_gap, found.coverage) == (1, 150 / 200)
        await agents.change([gws("agent1", group="night"), gws("agent2")])
        found = agents.standings(reader, after(100))
        assert [(one.group, one.agents, one.in_gap) for one in found] == [("default", 1, 1), ("night", 1, 0)]
        journal.close()

    run_virtual(main())

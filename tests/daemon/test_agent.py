"""fbsessiond.agent: one agent's parts, from its configuration; how it stands, in words and in figures."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from fbsessiond.agent import (
    RESUMABLE,
    Agent,
    access_of,
    gws_of,
    position_of,
    source_settings,
    watching,
)
from fbsessiond.chance import SeededChance
from fbsessiond.cometd.events import NOTHING_TRIED
from fbsessiond.configuration import load
from fbsessiond.errors import ConfigurationError
from fbsessiond.gap import GapCause
from fbsessiond.gws.access import Basic, Bearer
from fbsessiond.intake import Intake
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.readiness import Check
from fbsessiond.reconciling import SnapshotSettings
from fbsessiond.service import Pipeline
from fbsessiond.settings import GwsSettings, Settings
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock
from journal_parts import NOW, after, break_chain, prove, watched
from virtual_network import networked

# From the configuration.

BASIC = '[gws]\nurl = "http://gws.example:8090/"\nusername = "agent1"\npassword = SECRET\n'
BEARER = '[gws]\nurl = "http://gws.example"\ntoken = SECRET\n'


def configured(folder: Path, gws: str) -> Settings:
    """Return a configuration's settings, its secret in a file."""
    (folder / "password").write_text("simulated\n")
    path = folder / "fbsessiond.toml"
    path.write_text(gws.replace("SECRET", f'{{ file = "{folder / "password"}" }}'))
    return load(path).settings


def test_platform(tmp_path: Path) -> None:
    """The platform's addresses, and what to subscribe to, come from the configuration."""
    settings = source_settings(gws_of(configured(tmp_path, BASIC)))
    assert settings.agent == "agent1"
    assert settings.url == "http://gws.example:8090/api/v2/notifications"
    assert settings.sign_in_url == "http://gws.example:8090/api/v2/me"
    assert (settings.channels, settings.transports) == (("/v2/me/*",), ("long-polling",))
    assert not settings.keep


def test_no_platform(tmp_path: Path) -> None:
    """Without a platform there is nothing to run."""
    with pytest.raises(ConfigurationError, match="gws: is missing"):
        gws_of(configured(tmp_path, ""))


MANY = """
[gws]
url = "http://gws.example:8090/"
[[agents]]
username = "agent1"
password = SECRET
[[agents]]
username = "agent2"
password = SECRET
"""


def test_one_of_many(tmp_path: Path) -> None:
    """Of several agents one has to be named, by its own name."""
    settings = configured(tmp_path, MANY)
    assert gws_of(settings, "agent2").agent_name == "agent2"
    assert gws_of(configured(tmp_path, BASIC), "agent1").agent_name == "agent1"
    with pytest.raises(ConfigurationError, match=r"^agents: there are 2: name one of them with --agent"):
        gws_of(settings)
    with pytest.raises(ConfigurationError, match=r"^agents: none is called 'agnet2'; did you mean 'agent2'\?"):
        gws_of(settings, "agnet2")


@pytest.mark.parametrize(
    ("gws", "credentials"),
    [(BASIC, Basic("agent1", "simulated")), (BEARER, Bearer("simulated"))],
    ids=["name", "token"],
)
async def test_credentials(tmp_path: Path, gws: str, credentials: Basic | Bearer) -> None:
    """The agent signs in with name and password, or with a token, whichever is configured."""
    async with access_of(gws_of(configured(tmp_path, gws))) as access:
        assert access.headers("GET") == {"Authorization": credentials.authorization()}


@networked
async def test_no_credentials(tmp_path: Path) -> None:
    """A secret that isn't there is a mistake of the configuration, and named; nothing is watched then."""
    gws = gws_of(configured(tmp_path, BASIC))
    (tmp_path / "password").unlink()
    journal = SqliteJournal(MEMORY, NOW)
    with pytest.raises(ConfigurationError, match=r"gws\.password: can't read the secret"):
        async with agent_of(gws, journal):
            pass
    assert list(journal.reader().watched()) == []
    journal.close()


@pytest.mark.parametrize(("age", "is_taken"), [(0, True), (599, True), (600, False), (86400, False), (-60, True)])
def test_position(age: float, is_taken: bool) -> None:
    """A session is taken up if its last proof is recent: no server keeps one for long."""
    assert timedelta(seconds=600) == RESUMABLE
    found = position_of(watched(1000, position=b"there"), after(1000 + age))
    assert found == (b"there" if is_taken else None)


# One agent's parts.

SNAPSHOTS = SnapshotSettings()


@asynccontextmanager
async def agent_of(
    gws: GwsSettings, journal: Journal, snapshots: SnapshotSettings = SNAPSHOTS
) -> AsyncGenerator[Agent]:
    """Run an agent's parts on a journal, as the daemon does."""
    clock, chance = VirtualClock(), SeededChance(1)
    intake = Intake(journal, [], clock)
    async with watching(gws, journal, intake, clock, chance, snapshots) as agent:
        pipeline = Pipeline(journal, [], clock, chance, intake=intake)
        tasks = [asyncio.create_task(part) for part in (pipeline.take_all(agent.source), agent.reconciler.run())]
        yield agent
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def platform(folder: Path) -> AsyncGenerator[tuple[Simulator, GwsSettings]]:
    """Serve a quiet platform, with the configuration that fits it."""
    scenario = Scenario.model_validate({"customers": {"per_minute": 0}})
    async with simulating(scenario, clock=VirtualClock(), chance=SeededChance(1)) as simulator:
        yield simulator, gws_of(configured(folder, BASIC.replace("http://gws.example:8090/", simulator.url)))


def switch(simulator: Simulator, **faults: Any) -> None:
    """Switch faults on, or off."""
    simulator.faults.switch(FaultTable.model_validate(faults))


async def said(agent: Agent, journal: Journal, *words: str) -> Sequence[Check]:
    """Wait until the checks say this; return them."""
    reader = journal.reader()
    async with asyncio.timeout(600):
        while [check.words for check in agent.checks(reader)] != list(words):  # noqa: ASYNC110  virtual time
            await asyncio.sleep(0.1)
    return agent.checks(reader)


@networked
async def test_checks(tmp_path: Path) -> None:
    """The checks say whether notifications arrive, and whether all is known that may have been missed."""
    journal = SqliteJournal(MEMORY, NOW)
    async with platform(tmp_path) as (simulator, gws), agent_of(gws, journal) as agent:
        assert agent.name == "agent1"
        assert agent.checks(journal.reader()) == [
            Check("connection agent1", False, "not tried yet", None),
            Check("coverage agent1", False, "nothing is proved: start", NOW),
        ]
        switch(simulator, **{"no-list": {}})
        checks = await said(agent, journal, "connected", "what was missed isn't known yet: start")
        (found,) = journal.reader().gaps()
        assert [(check.is_ok, check.since) for check in checks] == [
            (True, agent.source.status.since),
            (False, found.begin),
        ]
        switch(simulator, **{"no-list": None})
        checks = await said(agent, journal, "connected", "proved")
        assert [(check.is_ok, check.since) for check in checks] == [(True, agent.source.status.since), (True, None)]
        switch(simulator, **{"5xx": {"on": ["notifications"]}})
        checks = await said(agent, journal, "status: HTTP status 500", "nothing is proved: network")
        (row,) = journal.reader().watched()
        assert [check.since for check in checks] == [agent.source.status.since, row.proven_until]
        assert not any(check.is_ok for check in checks)
    journal.close()


@networked
async def test_silence(tmp_path: Path) -> None:
    """Where a change wasn't notified the agent's own CometD session begins anew."""
    journal = SqliteJournal(MEMORY, NOW)
    often = SnapshotSettings(every=timedelta(seconds=20), settling=timedelta(seconds=1))
    async with platform(tmp_path) as (simulator, gws), agent_of(gws, journal, often) as agent:
        await said(agent, journal, "connected", "proved")
        switch(simulator, unsubscribe={"count": 1})
        await asyncio.sleep(60)
        (before,) = simulator.bayeux.clients
        simulator.platform.invite("agent1", simulator.platform.arrive())
        await asyncio.sleep(60)
        assert before not in simulator.bayeux.clients
        assert [gap.cause for gap in journal.reader().gaps()] == [GapCause.START, GapCause.SILENT]
        assert len(await journal.open_sessions("agent1")) == 1
    journal.close()


@pytest.mark.parametrize(
    ("resumes", "away", "is_kept"),
    [((True, True), 5, True), ((True, True), 700, False), ((True, False), 5, False), ((False, False), 5, False)],
    ids=["kept", "old", "not wanted", "not kept"],
)
@networked
async def test_restart(tmp_path: Path, resumes: tuple[bool, bool], away: float, is_kept: bool) -> None:
    """The CometD session is taken up after a short stop; told not to resume, none is, and its own ends with it."""
    async with platform(tmp_path) as (_, gws):
        causes: list[GapCause] = []
        for number, resume in enumerate(resumes):
            journal = open_journal("sqlite:journal.db", tmp_path, VirtualClock().now())
            with capture_logs() as logged:
                async with agent_of(gws.model_copy(update={"resume": resume}), journal) as agent:
                    await said(agent, journal, "connected", "proved")
                    causes = [gap.cause for gap in journal.reader().gaps()]
            journal.close()
            assert ("cometd.resumed" in {line["event"] for line in logged}) == (number == 1 and is_kept)
            assert [line["farewell"] for line in logged if line["event"] == "cometd.closed"] == [not resume]
            await asyncio.sleep(away)
        assert causes == [GapCause.START, *([] if is_kept else [GapCause.STOPPED])]


# How agents stand.


def agent_who(name: str, *, is_healthy: bool, refused: tuple[str, ...] = ()) -> Agent:
    """Return an agent of whom only this is known."""
    status = replace(NOTHING_TRIED, connected=is_healthy, acknowledged=("/v2/me/*",), refused=refused)
    return Agent(name, *(cast("Any", part) for part in (None, SimpleNamespace(status=status), None)))


@networked
async def test_what_is_said_first() -> None:
    """A refused channel counts as no connection; what isn't proved now is said before any gap, of those the first."""
    journal = SqliteJournal(MEMORY, NOW)
    reader, agent = journal.reader(), agent_who("agent1", is_healthy=True, refused=("/v2/me/calls",))
    assert [check.is_ok for check in agent.checks(reader)] == [False]
    await journal.watch("agent1", NOW)
    await prove(journal, "one", 10, 100)
    await break_chain(journal)
    await prove(journal, "two", 200, 300)
    unknown = Check("coverage agent1", False, "what was missed isn't known yet: start", NOW)
    assert agent.checks(reader)[1:] == [unknown]
    await break_chain(journal, GapCause.REFUSED)
    assert agent.checks(reader)[1:] == [Check("coverage agent1", False, "nothing is proved: refused", after(300))]
    journal.close()

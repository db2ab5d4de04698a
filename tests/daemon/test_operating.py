"""fbsessiond.operating: one operation by hand, with a connection of its own, against the simulated GWS."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fbsessiond import Operation
from fbsessiond.carrying import Patience
from fbsessiond.chance import SeededChance
from fbsessiond.errors import RefusedError, UnavailableError
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.operating import READY_SECONDS, operate_once
from fbsessiond.settings import GwsSettings
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock
from virtual_network import networked

AGENT = "agent1"
PATIENCE = Patience(confirmation=timedelta(seconds=30), settling=timedelta(seconds=5), attempts=1)


@dataclass
class Desk:
    """The simulated platform, and a person who does one operation on it."""

    simulator: Simulator
    folder: Path
    password: str = "simulated"  # noqa: S105  of agents that don't exist

    async def operate(self, operation: Operation, patience: Patience = PATIENCE, *, wait: bool = True) -> Progress:
        """Do an operation."""
        password = self.folder / "password"
        password.write_text(self.password)
        table = {"url": self.simulator.url, "username": AGENT, "password": {"file": str(password)}}
        gws = GwsSettings.model_validate(table)
        chance = SeededChance(1)
        return await operate_once(operation, gws, patience, wait=wait, clock=VirtualClock(), chance=chance)

    async def chat(self) -> str:
        """Let a customer come, and the agent accept at the desktop; return the session."""
        session = self.simulator.platform.arrive()
        self.simulator.back_end.tell(self.simulator.platform.invite(AGENT, session))
        accept = {"operationName": "Accept", "nickname": "Marat"}
        self.simulator.back_end.request(AGENT, session, accept, by="desktop")
        await asyncio.sleep(1)
        return session

    def switch(self, **faults: Any) -> None:
        """Switch faults on, or off."""
        self.simulator.faults.switch(FaultTable.model_validate(faults))


@asynccontextmanager
async def desk(folder: Path) -> AsyncGenerator[Desk]:
    """Serve a quiet platform."""
    scenario = Scenario.model_validate({"customers": {"per_minute": 0}})
    async with simulating(scenario, clock=VirtualClock(), chance=SeededChance(1)) as simulator:
        yield Desk(simulator, folder)


@networked
async def test_confirmed(tmp_path: Path) -> None:
    """It listens first, sends then, and waits for the notification that shows the effect; then it takes its leave."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        progress = await here.operate(Operation.leave(session))
        assert (progress.state, progress.attempts) == (FollowUpState.CONFIRMED, 1)
        assert here.simulator.platform.count(session, "Leave") == 1
        assert here.simulator.bayeux.clients == {}


@networked
async def test_other_notifications(tmp_path: Path) -> None:
    """What is notified of other sessions, or of something else, or can't be understood, confirms nothing."""
    async with desk(tmp_path) as here:
        session, other = await here.chat(), await here.chat()
        here.switch(ignore={})
        going = asyncio.ensure_future(here.operate(Operation.leave(session)))
        await asyncio.sleep(3)
        data = {"facebooksession": {"state": "LeftChat"}}
        here.simulator.bayeux.publish(AGENT, "/v2/me/facebooksession", data)
        here.simulator.back_end.request(AGENT, other, {"operationName": "Leave"}, by="desktop")
        here.simulator.back_end.tell(here.simulator.platform.customer_writes(session, "Are you still there?"))
        progress = await going
        assert (progress.state, progress.because) == (
            FollowUpState.FAILED,
            "GWS took it, and the session shows that it didn't happen",
        )


@networked
async def test_notification_lost(tmp_path: Path) -> None:
    """Without a notification it waits its time, and reads the session back."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        here.switch(lose={})
        assert (await here.operate(Operation.leave(session))).state is FollowUpState.OBSERVED


@networked
async def test_in_doubt(tmp_path: Path) -> None:
    """Where nothing tells whether it was done, it is in doubt: it isn't sent again."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        here.switch(**{"drop-request": {"count": 1, "on": ["operations"]}})
        progress = await here.operate(Operation.send_message(session, "hello"))
        assert progress.state is FollowUpState.PARKED
        assert here.simulator.faults.state()["struck"] == {"drop-request": 1}


@networked
async def test_in_doubt_and_unreadable(tmp_path: Path) -> None:
    """Where the session can't be read back after it was sent, it is in doubt, too."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        here.switch(lose={})
        going = asyncio.ensure_future(here.operate(Operation.leave(session)))
        await asyncio.sleep(5)
        here.switch(**{"5xx": {"on": ["reads"]}})
        progress = await going
        assert progress.state is FollowUpState.PARKED
        assert "can't be read back" in (progress.because or "")


@networked
async def test_not_now(tmp_path: Path) -> None:
    """By hand nothing is sent again: a person decides, even where there are attempts left."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        here.switch(**{"5xx": {"on": ["operations"]}})
        patience = Patience(PATIENCE.confirmation, PATIENCE.settling, attempts=2)
        progress = await here.operate(Operation.leave(session), patience)
        assert (progress.state, progress.attempts) == (FollowUpState.FAILED, 1)
        assert "status code 4" in (progress.because or "")


@networked
async def test_no_waiting(tmp_path: Path) -> None:
    """Without waiting it ends when GWS took it, and listens to nothing."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        progress = await here.operate(Operation.leave(session), wait=False)
        assert progress.state is FollowUpState.ACCEPTED
        assert here.simulator.bayeux.clients == {}
        await asyncio.sleep(1)
        assert here.simulator.platform.count(session, "Leave") == 1


@networked
async def test_no_waiting_in_doubt(tmp_path: Path) -> None:
    """A doubt is looked into even so: there is nobody else to do it."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        here.switch(drop={"count": 1, "on": ["operations"]})
        progress = await here.operate(Operation.leave(session), wait=False)
        assert (progress.state, progress.because) == (FollowUpState.OBSERVED, "in doubt, and the session shows it")


@pytest.mark.parametrize("wait", [True, False])
@networked
async def test_no_such_session(tmp_path: Path, wait: bool) -> None:
    """A session that the agent doesn't have is told, and nothing is sent."""
    async with desk(tmp_path) as here:
        progress = await here.operate(Operation.leave("0002NOTTHERE"), wait=wait)
        assert (progress.state, progress.attempts) == (FollowUpState.FAILED, 0)
        assert progress.because == "not sent: the agent has no such session"


@networked
async def test_not_allowed(tmp_path: Path) -> None:
    """What the session doesn't allow isn't sent."""
    async with desk(tmp_path) as here:
        progress = await here.operate(Operation.reject(await here.chat()))
        assert (progress.state, progress.attempts) == (FollowUpState.FAILED, 0)


@pytest.mark.parametrize("wait", [True, False])
@networked
async def test_refused(tmp_path: Path, wait: bool) -> None:
    """Wrong credentials end it."""
    async with desk(tmp_path) as here:
        here.password = "wrong"  # noqa: S105  as it says
        with pytest.raises(RefusedError):
            await here.operate(Operation.leave("0002X"), wait=wait)


@networked
async def test_unreachable(tmp_path: Path) -> None:
    """Where the notification connection isn't there in time nothing is sent, and the reason is told."""
    async with desk(tmp_path) as here:
        session = await here.chat()
        here.switch(**{"5xx": {"on": ["notifications"]}})
        began = VirtualClock().monotonic()
        with pytest.raises(UnavailableError, match=r"/api/v2/notifications: .*; nothing was sent"):
            await here.operate(Operation.leave(session))
        assert VirtualClock().monotonic() - began == pytest.approx(READY_SECONDS, abs=1)
        assert here.simulator.platform.count(session, "Leave") == 0

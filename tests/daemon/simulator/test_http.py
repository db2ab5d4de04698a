"""fbsessiond.simulator.http: requests from sockets, and answers back."""

import asyncio

import aiohttp
import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.gws.access import Access, Basic
from fbsessiond.simulator.faults import FaultKind
from fbsessiond.simulator.scenario import QUIET
from fbsessiond.simulator.simulator import simulating
from fbsessiond.testing import VirtualClock
from virtual_network import run_networked


def test_a_request_and_its_answer() -> None:
    """Query, headers, cookies and body arrive; status, body, type and headers come back."""

    async def scenario() -> None:
        async with (
            simulating(QUIET, clock=VirtualClock(), chance=SeededChance(1)) as simulator,
            Access(Basic("agent1", "simulated")) as access,
        ):
            url = f"{simulator.url}/api/v2/me/facebooksessions"
            async with access.session.get(url, params={"fields": "*"}, headers=access.headers("GET")) as response:
                assert response.status == 200
                assert response.content_type == "application/json"
                assert await response.json() == {"statusCode": 0, "facebooksessions": []}
            async with access.session.post(f"{url}/x", json={"operationName": "Leave"}) as response:  # by its cookie
                assert response.status == 404
                assert (await response.json())["statusCode"] == 6

    run_networked(scenario())


def test_a_cut_connection() -> None:
    """There is no answer at all, and the next request gets one."""

    async def scenario() -> None:
        async with (
            simulating(QUIET, clock=VirtualClock(), chance=SeededChance(1)) as simulator,
            aiohttp.ClientSession() as session,
        ):
            await session.post(f"{simulator.url}/simulator/faults", json={"drop": {"count": 2}})
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.post(f"{simulator.url}/api/v2/me")
            async with session.get(f"{simulator.url}/simulator/state") as response:
                assert (await response.json())["faults"]["struck"]["drop"] >= 1

    run_networked(scenario())


def test_an_answer_that_is_cut_short() -> None:
    """Its headers announce all of it, half of its body comes, and the connection is gone; the next answer is whole."""

    async def scenario() -> None:
        async with (
            simulating(QUIET, clock=VirtualClock(), chance=SeededChance(1)) as simulator,
            Access(Basic("agent1", "simulated")) as access,
        ):
            await access.session.post(f"{simulator.url}/simulator/faults", json={"cut": {"count": 1}})
            url, headers = f"{simulator.url}/api/v2/me", access.headers("GET")
            async with access.session.get(url, headers=headers) as response:
                assert (response.status, response.content_type) == (200, "application/json")
                assert "JSESSIONID" in response.cookies
                announced = int(response.headers["Content-Length"])
                half = await response.content.readexactly(announced // 2)
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.content.read()
            async with access.session.get(url, headers=headers) as response:
                whole = await response.read()
            assert len(whole) == announced
            assert whole.startswith(half)

    run_networked(scenario())


def test_a_request_that_hangs() -> None:
    """Who hangs up waits no longer, and the simulator can be stopped while another one waits."""

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            async with simulating(QUIET, clock=VirtualClock(), chance=SeededChance(1)) as simulator:
                await session.post(f"{simulator.url}/simulator/faults", json={"hang": {}})
                url = f"{simulator.url}/api/v2/me"
                with pytest.raises(TimeoutError):
                    await session.post(url, timeout=aiohttp.ClientTimeout(total=60))
                other = asyncio.create_task(session.post(url))
                await asyncio.sleep(1)
                assert simulator.faults.struck[FaultKind.HANG] == 2
                assert not other.done()
            with pytest.raises(aiohttp.ClientConnectionError):
                await other

    run_networked(scenario())

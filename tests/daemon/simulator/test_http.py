"""fbsessiond.simulator.http: requests from sockets, and answers back."""

import aiohttp
import pytest

from cometd_servers import run_with_sockets
from fbsessiond.chance import SeededChance
from fbsessiond.gws.access import Access, Basic
from fbsessiond.simulator.scenario import QUIET
from fbsessiond.simulator.simulator import simulating
from fbsessiond.testing import VirtualClock


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

    run_with_sockets(scenario())


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

    run_with_sockets(scenario())

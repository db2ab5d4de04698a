"""The CometD source against other projects' servers, with connections reset, responses cut and servers killed.

cometd-nodejs-server has the acknowledgement extension, and long-polling only. faye has websocket as well, but no
acknowledgements, and its session outlives nothing: so losses are measured on the first, and recovery on both.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from cometd_servers import NodeServer, Proxy, Receiver, receiving
from fbsessiond.cometd import rules
from fbsessiond.cometd.events import Connected, Handshaken, Lost, SinkSlow, Subscribed, SubscriptionRefused
from fbsessiond.cometd.rules import Cause
from fbsessiond.errors import RefusedError
from fbsessiond.gap import Proof

pytestmark = pytest.mark.node

COMETD = "cometd"
FAYE = "faye"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a handshake follow the last one soon: how long it waits is tested on virtual time."""
    monkeypatch.setattr(rules, "HANDSHAKE_SPACING_SECONDS", 0.2)


KINDS = [(COMETD, "long-polling"), (FAYE, "long-polling"), (FAYE, "websocket")]


@asynccontextmanager
async def serving(program: str, **options: object) -> AsyncGenerator[NodeServer]:
    """Run a server for as long as a test takes."""
    server = await NodeServer.start(program, **options)
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def chain(
    program: str, transport: str = "long-polling", channels: tuple[str, ...] = ("/v2/me/*",), **options: object
) -> AsyncGenerator[tuple[NodeServer, Proxy, Receiver]]:
    """Run a server, a proxy before it, and a receiver that is connected through it."""
    async with (
        serving(program, **options) as server,
        Proxy(server.port) as proxy,
        receiving(f"http://127.0.0.1:{proxy.port}/", transports=(transport,), channels=channels) as receiver,
    ):
        await receiver.until_heard(Connected)
        yield server, proxy, receiver


@pytest.mark.parametrize(("program", "transport"), KINDS)
async def test_bursts_and_single_notifications(program: str, transport: str) -> None:
    """Thousands of notifications arrive complete and in order, in bursts and one by one."""
    async with chain(program, transport, acknowledge=True) as (server, _, receiver):
        for _ in range(4):
            await server.order("publish", count=1000)
        await receiver.until_received(4000)
        for number in range(4000, 4300):
            await server.order("publish", count=1)
            if number % 3 == 0:
                await receiver.until_received(number + 1)
        await receiver.until_received(4300)
        assert receiver.numbers == list(range(4300))
        assert receiver.heard(Handshaken)[0].transport == transport
        assert not receiver.heard(Lost)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "reset"])
async def test_acknowledged_batches_survive_a_broken_connection(cut: bool) -> None:
    """With acknowledgements nothing is lost and nothing comes twice, however often responses are cut or reset."""
    async with chain(COMETD, acknowledge=True) as (server, proxy, receiver):
        assert receiver.heard(Handshaken)[0].acknowledged
        for attempt in range(30):
            if cut:
                proxy.cut_after_bytes = 40 + attempt * 97
                await server.order("publish", count=50)
            else:
                await server.order("publish", count=25)
                proxy.reset()
                await server.order("publish", count=25)
            await receiver.until_received((attempt + 1) * 50)
        assert receiver.numbers == list(range(1500))
        assert len(receiver.heard(Lost)) >= 25
        assert {lost.cause for lost in receiver.heard(Lost)} == {Cause.CUT}
        assert len(receiver.heard(Handshaken)) == 1


@pytest.mark.parametrize(("program", "transport"), [(FAYE, "long-polling"), (FAYE, "websocket")])
async def test_a_server_without_acknowledgements_recovers_from_resets(program: str, transport: str) -> None:
    """After each reset the same session goes on; what was on the way may be missing, and an event says that it may."""
    async with chain(program, transport) as (server, proxy, receiver):
        for attempt in range(1, 6):
            proxy.reset()
            await receiver.until_heard(Lost, attempt)
            await receiver.until(lambda: isinstance(receiver.events[-1], Connected))
            await server.order("publish", count=100, first=attempt * 1000)
            await receiver.until_received(attempt * 100)
        assert receiver.numbers == [attempt * 1000 + number for attempt in range(1, 6) for number in range(100)]
        assert not receiver.heard(Handshaken)[0].acknowledged


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(("program", "transport"), KINDS)
async def test_a_killed_and_restarted_server(program: str, transport: str) -> None:
    """A new server doesn't know the session: a new one begins by itself, subscribed again."""
    async with chain(program, transport, acknowledge=True) as (server, proxy, receiver):
        await server.order("publish", count=10)
        await receiver.until_received(10)
        await server.kill()
        await receiver.until_heard(Lost, 3)
        assert not receiver.source.status.connected
        async with serving(program, acknowledge=True) as another:
            proxy.upstream_port = another.port
            await receiver.until_heard(Subscribed, 2)
            await receiver.until(lambda: receiver.source.status.connected)
            await another.order("publish", count=10, first=100)
            await receiver.until_received(20)
            assert receiver.numbers == [*range(10), *range(100, 110)]
            await receiver.batches.aclose()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(("program", "transport"), KINDS)
async def test_a_dropped_session(program: str, transport: str) -> None:
    """A server that forgets the session is asked for a new one, and the daemon isn't deaf afterwards."""
    async with chain(program, transport, acknowledge=True, timeout=500, timeoutSeconds=0.5) as (server, _, receiver):
        await server.order("drop")
        await receiver.until_heard(Subscribed, 2)
        await receiver.until(lambda: receiver.source.status.connected)
        await server.order("publish", count=10)
        await receiver.until_received(10)
        assert receiver.heard(Lost)[-1].cause is Cause.SESSION_GONE
        assert (await server.order("state"))["handshakes"] == 2


@pytest.mark.parametrize(("program", "transport"), KINDS)
async def test_one_refused_channel_of_two(program: str, transport: str) -> None:
    """The channel that exists delivers; the one that is refused is tried again, and makes the status unhealthy."""
    channels = ("/v2/me/facebooksession", "/v2/me/facebooksessions")
    refused = channels[1]
    async with chain(program, transport, channels, acknowledge=True, refused=refused) as (server, _, receiver):
        await server.order("publish", count=5)
        await receiver.until_received(5)
        await receiver.until_heard(SubscriptionRefused, 3)
        status = receiver.source.status
        assert (status.acknowledged, status.refused, status.healthy) == (channels[:1], (refused,), False)
        assert receiver.heard(SubscriptionRefused)[0].words.startswith("403")


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("program", [COMETD, FAYE])
async def test_a_subscription_refused_once(program: str) -> None:
    """A refusal after a re-handshake doesn't leave the daemon deaf."""
    async with chain(program, acknowledge=True, timeout=500, timeoutSeconds=0.5) as (server, _, receiver):
        await server.order("refuse", times=1)
        await server.order("drop")
        await receiver.until_heard(Subscribed, 2)
        assert len(receiver.heard(SubscriptionRefused)) == 1
        assert receiver.source.status.acknowledged == ("/v2/me/*",)


@pytest.mark.parametrize(("program", "transport"), KINDS)
async def test_a_consumer_that_stalls(program: str, transport: str) -> None:
    """While a batch waits to be committed nothing is acknowledged, and what is sent meanwhile arrives afterwards."""
    async with chain(program, transport, acknowledge=True) as (server, _, receiver):
        receiver.stall()
        await server.order("publish", count=100)
        await receiver.until(lambda: receiver.numbers)
        before = await server.order("state")
        await server.order("publish", count=2000)
        await receiver.until_heard(SinkSlow)
        assert await server.order("state") == before
        receiver.go_on()
        await receiver.until_received(2100)
        assert receiver.numbers == list(range(2100))


@asynccontextmanager
async def process(server: NodeServer, transport: str, position: bytes | None) -> AsyncGenerator[Receiver]:
    """Receive like one process, which keeps its session at the end."""
    url = f"http://127.0.0.1:{server.port}/"
    async with receiving(url, position=position, transports=(transport,), keep=True) as receiver:
        await receiver.until(lambda: receiver.proved)
        yield receiver
        await receiver.until(lambda: isinstance(receiver.everything[-1].proof, Proof))


@pytest.mark.parametrize(("program", "transport"), KINDS)
async def test_another_process_goes_on(program: str, transport: str) -> None:
    """The session is taken up without a handshake; with acknowledgements what waited in it comes once, in one chain."""
    position, numbers, chains = None, list[int](), set[str]()
    async with serving(program, acknowledge=True, timeout=500, timeoutSeconds=0.5) as server:
        for first in (0, 10, 20):
            async with process(server, transport, position) as receiver:
                await server.order("publish", count=5, first=first)
                await receiver.until(lambda last=first + 4, numbers=receiver.numbers: last in numbers)
            position = receiver.position
            numbers += receiver.numbers
            chains |= {proof.chain for proof in receiver.proved}
            if program == COMETD:
                await server.order("publish", count=5, first=first + 5)
        assert (await server.order("state"))["handshakes"] == 1
    if program == COMETD:
        assert (numbers, len(chains)) == (list(range(25)), 1)
    else:
        assert (numbers, len(chains)) == ([*range(5), *range(10, 15), *range(20, 25)], 3)


@pytest.mark.parametrize(("program", "transport"), KINDS)
async def test_a_session_that_is_renewed(program: str, transport: str) -> None:
    """The old session is gone at once, and the new one delivers, in another chain."""
    async with chain(program, transport, acknowledge=True) as (server, _, receiver):
        await receiver.until(lambda: receiver.proved)
        receiver.source.renew()
        await receiver.until_heard(Connected, 2)
        await server.order("publish", count=5)
        await receiver.until_received(5)
        assert (await server.order("state"))["handshakes"] == 2
        assert len({proof.chain for proof in receiver.proved}) == 2
        assert not receiver.heard(Lost)


async def test_wrong_credentials() -> None:
    """A server that refuses the credentials gets them once."""
    async with (
        serving(COMETD, authorization="Basic somebody-else") as server,
        receiving(f"http://127.0.0.1:{server.port}/") as receiver,
    ):
        await receiver.until(lambda: receiver.error)
        assert isinstance(receiver.error, RefusedError)
        assert (await server.order("state"))["handshakes"] == 0


async def test_leaving_and_coming_back() -> None:
    """Closing ends the session on the server at once."""
    async with serving(COMETD) as server:
        for _ in range(3):
            async with receiving(f"http://127.0.0.1:{server.port}/") as receiver:
                await receiver.until(lambda: receiver.source.status.connected)
                assert (await server.order("state"))["sessions"] == 1
            assert (await server.order("state"))["sessions"] == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

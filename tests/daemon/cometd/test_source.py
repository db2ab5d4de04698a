"""fbsessiond.cometd.source: batches, each asked for only after the one before is committed."""

import asyncio
from contextlib import aclosing, suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from cometd_servers import Json, ScriptedServer, receiving, receiving_from, scripted
from fbsessiond.chance import SeededChance
from fbsessiond.cometd.events import Closed, Connected, Handshaken, SinkSlow, Subscribed
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.errors import RefusedError
from fbsessiond.gap import Break, GapCause, Proof
from fbsessiond.gws.access import Access, Basic
from fbsessiond.message import Origin
from fbsessiond.testing import EPOCH, VirtualClock
from virtual_network import networked


@networked
async def test_batches_carry_agent_origin_time_and_the_bytes_as_they_stood() -> None:
    """What arrives together is one batch, word for word."""
    async with receiving_from() as (server, receiver):
        raw = b'{"channel":"/v2/me/facebooksession", "data": {"number" : 1.0e1,"name":"\\u00e9"} }'
        server.script("/meta/connect", b"[" + raw + b', {"channel":"/meta/connect","successful":true}]')
        await receiver.until(lambda: receiver.taken)
        batch = receiver.taken[0]
        assert (batch.agent, batch.origin) == ("agent1", Origin.LIVE)
        assert batch.received_at >= EPOCH
        assert batch.messages[0].raw == raw
        assert batch.messages[0].data == b'{"number" : 1.0e1,"name":"\\u00e9"}'
        assert batch.messages[0].channel == "/v2/me/facebooksession"


@networked
async def test_no_connect_leaves_before_the_batch_is_committed() -> None:
    """While a batch isn't committed nothing is sent, and the next connect acknowledges it."""
    async with receiving_from(ScriptedServer(acknowledge=True)) as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        receiver.stall()
        server.publish(1, 2)
        await receiver.until(lambda: receiver.numbers == [1, 2])
        sent = len(server.received)
        acknowledged = [message["ext"]["ack"] for message in server.seen("/meta/connect")]
        await receiver.until(lambda: receiver.heard(SinkSlow))
        assert len(server.received) == sent
        receiver.go_on()
        server.publish(3)
        await receiver.until(lambda: receiver.numbers == [1, 2, 3])
        assert server.seen("/meta/connect")[-1]["ext"]["ack"] > max(acknowledged)


@networked
async def test_a_slow_sink_is_reported_once_while_it_stalls() -> None:
    """After two seconds without a commit an event says so; a quick commit says nothing."""
    async with receiving_from() as (server, receiver):
        server.publish(1)
        await receiver.until(lambda: receiver.numbers == [1])
        assert not receiver.heard(SinkSlow)
        receiver.stall()
        server.publish(2)
        await receiver.until(lambda: receiver.heard(SinkSlow))
        slow = receiver.heard(SinkSlow)
        assert slow[0].seconds == 2.0
        assert slow[0].at - receiver.taken[-1].received_at == timedelta(seconds=2)


@networked
async def test_a_sink_that_hangs_is_no_progress() -> None:
    """A source gets on until its batch isn't committed for minutes."""
    async with receiving_from() as (server, receiver):
        receiver.stall()
        server.publish(1)
        await receiver.until(lambda: receiver.numbers == [1])
        assert receiver.source.is_moving
        await asyncio.sleep(300)
        assert not receiver.source.is_moving


@networked
async def test_cancelling_a_wait_loses_nothing() -> None:
    """What is read while nobody waits comes with the next call."""
    async with scripted() as server, Access(Basic("agent1", "secret")) as access:
        settings = CometdSettings("agent1", server.url)
        batches = aiter(CometdSource(settings, access, clock=VirtualClock(), chance=SeededChance(1)))
        got: list[bytes] = []
        async with aclosing(batches):
            while len(got) < 50:
                waiting = asyncio.create_task(anext(batches))
                await asyncio.wait([waiting], timeout=0.0001)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    got += [message.data or b"" for message in (await waiting).messages]
                if server.published < 50:
                    server.publish(server.published)
            assert got == [b'{"number": %d}' % number for number in range(50)]


@networked
async def test_closing_says_goodbye_and_ends_the_iteration() -> None:
    """After aclose the server has no session, the status says so, and there are no more batches."""
    async with receiving_from() as (server, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        await receiver.batches.aclose()
        await receiver.batches.aclose()
        assert len(server.seen("/meta/disconnect")) == 1
        assert receiver.heard(Closed)[0].farewell
        assert receiver.source.status.words == "closed"
        with pytest.raises(StopAsyncIteration):
            await anext(receiver.batches)
        assert receiver.error is None


@networked
async def test_closing_for_a_warm_resume_keeps_the_session() -> None:
    """Without a farewell nothing is sent at the end, and each proof has said where another source can go on."""
    async with receiving_from(keep=True) as (server, receiver):
        await receiver.until(lambda: receiver.proved)
        assert receiver.position is not None
        await receiver.batches.aclose()
        assert not server.seen("/meta/disconnect")
        assert not receiver.heard(Closed)[0].farewell


@networked
async def test_an_iterator_that_was_never_asked_closes_without_a_trace() -> None:
    """Nothing is opened before the first batch is asked for."""
    async with scripted() as server, Access(Basic("agent1", "secret")) as access:
        source = CometdSource(
            CometdSettings("agent1", server.url), access, clock=VirtualClock(), chance=SeededChance(1)
        )
        batches = aiter(source)
        assert aiter(batches) is batches
        await batches.aclose()
        assert not server.received
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


@networked
async def test_refused_credentials_end_the_iteration() -> None:
    """A wrong password is sent once, and never again."""
    async with scripted() as server, Access(Basic("agent1", "secret")) as access:
        server.script("/meta/handshake", 401, 401, 401)
        settings = CometdSettings("agent1", server.url)
        source = CometdSource(settings, access, clock=VirtualClock(), chance=SeededChance(1))
        batches = aiter(source)
        assert (await anext(batches)).proof == Break(GapCause.REFUSED)
        with pytest.raises(RefusedError):
            await anext(batches)
        with pytest.raises(RefusedError):
            await anext(batches)
        assert len(server.received) == 1
        assert not source.status.connected


@networked
async def test_events_come_in_the_order_of_what_happened() -> None:
    """A session begins, its subscription is confirmed, and a connect proves it."""
    async with receiving_from() as (_, receiver):
        await receiver.until(lambda: receiver.source.status.connected)
        assert [type(event) for event in receiver.events] == [Handshaken, Subscribed, Connected]
        assert receiver.source.status.acknowledged == ("/v2/me/*",)


@networked
async def test_no_connect_leaves_before_a_proof_is_committed() -> None:
    """A batch without messages is to be committed like any other."""
    async with scripted() as server, Access(Basic("agent1", "secret")) as access:
        settings = CometdSettings("agent1", server.url)
        batches = aiter(CometdSource(settings, access, clock=VirtualClock(), chance=SeededChance(1)))
        async with aclosing(batches):
            batch = await anext(batches)
            assert (batch.messages, isinstance(batch.proof, Proof)) == ((), True)
            await asyncio.sleep(10)
            assert len(server.seen("/meta/connect")) == 1
            asking = asyncio.create_task(anext(batches))
            await asyncio.sleep(10)
            assert len(server.seen("/meta/connect")) == 2
            asking.cancel()


@networked
async def test_a_position_is_for_the_first_iterator() -> None:
    """It goes on with the session that it names, and the next iterator begins one of its own."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        async with receiving(server.url, clock=VirtualClock(), keep=True) as one:
            await one.until(lambda: one.proved)
        async with receiving(server.url, clock=VirtualClock(), position=one.position, keep=True) as two:
            await two.until(lambda: two.proved)
            await two.batches.aclose()
            assert server.handshakes == 1
            async with aclosing(aiter(two.source)) as batches:
                await anext(batches)
            assert server.handshakes == 2


@networked
async def test_there_is_nothing_to_renew_before_the_first_batch_is_asked_for() -> None:
    """Nor is it made up for: the session that then begins is a new one anyway."""
    async with scripted() as server, Access(Basic("agent1", "secret")) as access:
        settings = CometdSettings("agent1", server.url)
        source = CometdSource(settings, access, clock=VirtualClock(), chance=SeededChance(1))
        source.renew()
        async with aclosing(aiter(source)) as batches:
            source.renew()
            await anext(batches)
            await asyncio.sleep(10)
            assert server.handshakes == 1
            source.renew()
            await asyncio.sleep(1)
            await anext(batches)
            assert server.handshakes == 2


@networked
async def test_a_channel_that_is_always_refused_does_not_fill_the_log() -> None:
    """The 1st, 2nd, 4th, 8th … refusal is a warning, those in between aren't."""
    denied: list[Json] = [{"channel": "/meta/subscribe", "successful": False, "error": "403:/v2/me/*:denied"}]
    server = ScriptedServer()
    server.script("/meta/subscribe", *[denied] * 9)
    with capture_logs() as logged:
        async with receiving_from(server) as (_, receiver):
            await receiver.until(lambda: receiver.source.status.healthy, seconds=60)
    told = [line for line in logged if line["event"] == "cometd.subscription.refused"]
    assert [line["times"] for line in told if line["log_level"] == "warning"] == [1, 2, 4, 8]
    assert len(told) == 9

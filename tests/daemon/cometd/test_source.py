"""fbsessiond.cometd.source: batches, each asked for only after the one before is committed."""

import asyncio
from contextlib import aclosing, suppress
from datetime import timedelta

import pytest

from cometd_servers import ScriptedServer, receiving_from, run_with_sockets, scripted
from fbsessiond.chance import SeededChance
from fbsessiond.cometd.events import Closed, Connected, Handshaken, SinkSlow, Subscribed
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.errors import RefusedError
from fbsessiond.gws.access import Access, Basic
from fbsessiond.message import Origin
from fbsessiond.testing import EPOCH, VirtualClock


def test_batches_carry_agent_origin_time_and_the_bytes_as_they_stood() -> None:
    """What arrives together is one batch, word for word."""

    async def scenario() -> None:
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

    run_with_sockets(scenario())


def test_no_connect_leaves_before_the_batch_is_committed() -> None:
    """While a batch isn't committed nothing is sent, and the next connect acknowledges it."""

    async def scenario() -> None:
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

    run_with_sockets(scenario())


def test_a_slow_sink_is_reported_once_while_it_stalls() -> None:
    """After two seconds without a commit an event says so; a quick commit says nothing."""

    async def scenario() -> None:
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

    run_with_sockets(scenario())


def test_cancelling_a_wait_loses_nothing() -> None:
    """What is read while nobody waits comes with the next call."""

    async def scenario() -> None:
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

    run_with_sockets(scenario())


def test_closing_says_goodbye_and_ends_the_iteration() -> None:
    """After aclose the server has no session, the status says so, and there are no more batches."""

    async def scenario() -> None:
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

    run_with_sockets(scenario())


def test_closing_for_a_warm_resume_keeps_the_session() -> None:
    """Without a farewell nothing is sent at the end."""

    async def scenario() -> None:
        async with receiving_from(farewell=False) as (server, receiver):
            await receiver.until(lambda: receiver.source.status.connected)
            await receiver.batches.aclose()
            assert not server.seen("/meta/disconnect")
            assert not receiver.heard(Closed)[0].farewell

    run_with_sockets(scenario())


def test_an_iterator_that_was_never_asked_closes_without_a_trace() -> None:
    """Nothing is opened before the first batch is asked for."""

    async def scenario() -> None:
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

    run_with_sockets(scenario())


def test_refused_credentials_end_the_iteration() -> None:
    """A wrong password is sent once, and never again."""

    async def scenario() -> None:
        async with scripted() as server, Access(Basic("agent1", "secret")) as access:
            server.script("/meta/handshake", 401, 401, 401)
            settings = CometdSettings("agent1", server.url)
            source = CometdSource(settings, access, clock=VirtualClock(), chance=SeededChance(1))
            batches = aiter(source)
            with pytest.raises(RefusedError):
                await anext(batches)
            with pytest.raises(RefusedError):
                await anext(batches)
            assert len(server.received) == 1
            assert not source.status.connected

    run_with_sockets(scenario())


def test_events_come_in_the_order_of_what_happened() -> None:
    """A session begins, its subscription is confirmed, and a connect proves it."""

    async def scenario() -> None:
        async with receiving_from() as (_, receiver):
            await receiver.until(lambda: receiver.source.status.connected)
            assert [type(event) for event in receiver.events] == [Handshaken, Subscribed, Connected]
            assert receiver.source.status.acknowledged == ("/v2/me/*",)

    run_with_sockets(scenario())

"""fbsessiond.cometd.handover: between the socket and the journal."""

import asyncio

import pytest

from fbsessiond import limits
from fbsessiond.cometd.handover import Handover
from fbsessiond.message import Message
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual


def message(number: int, size: int = 0) -> Message:
    """Return a message of which only the number matters."""
    data = b"%d" % number
    return Message(data + b" " * size, "/a", data)


def is_settled(handover: Handover) -> bool:
    """Say whether a request may leave now."""
    waiting = handover.settled()
    try:
        waiting.send(None)
    except StopIteration:
        return True
    waiting.close()
    return False


def test_what_is_offered_is_taken_in_order() -> None:
    """A batch carries the agent and the time at which it arrived."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(1), message(2)])
        handover.offer([message(3)])
        first, second = await handover.take(), await handover.take()
        assert [each.data for each in first.messages + second.messages] == [b"1", b"2", b"3"]
        assert (first.agent, first.received_at) == ("agent1", EPOCH)

    run_virtual(scenario())


def test_a_long_response_is_cut_into_batches() -> None:
    """No batch has more messages than one commit takes."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(number) for number in range(2 * limits.BATCH_MESSAGES + 1)])
        sizes = [len((await handover.take()).messages) for _ in range(3)]
        assert sizes == [limits.BATCH_MESSAGES, limits.BATCH_MESSAGES, 1]

    run_virtual(scenario())


def test_it_is_settled_once_the_next_batch_is_asked_for() -> None:
    """To take a batch isn't to commit it; to ask for the next is."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        assert not is_settled(handover)
        handover.offer([])
        handover.offer([message(1), message(2)])
        await handover.take()
        assert not is_settled(handover)
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        assert is_settled(handover)
        handover.offer([message(3)])
        assert not is_settled(handover)
        assert (await asking).messages[0].data == b"3"
        assert not is_settled(handover)

    run_virtual(scenario())


@pytest.mark.parametrize("steps", range(5))
def test_a_cancelled_wait_takes_nothing_along(steps: int) -> None:
    """Whenever it is cancelled: either it returns the batch, or the next wait does."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        handover.offer([message(1)])
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        try:
            batch = await asking
        except asyncio.CancelledError:
            batch = await handover.take()
        assert batch.messages[0].data == b"1"

    run_virtual(scenario())


def test_there_is_room_until_more_lies_there_than_a_response_may_hold() -> None:
    """A socket on which the server sends unasked is read on, up to the same limit."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        await handover.room()
        handover.offer([message(1)])
        await handover.room()
        handover.offer([message(2, limits.RESPONSE_BYTES)])
        waiting = asyncio.create_task(handover.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        await handover.take()
        await handover.take()
        asking = asyncio.create_task(handover.take())
        await waiting
        await handover.room()
        asking.cancel()

    run_virtual(scenario())


def test_many_small_batches_are_too_much_as_well() -> None:
    """Their number is limited like their bytes."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        for number in range(limits.BATCH_MESSAGES + 1):
            handover.offer([message(number)])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handover.room(), 60)

    run_virtual(scenario())


def test_after_the_end_what_is_left_can_be_taken() -> None:
    """Then the reader's error is raised, each time."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(1)])
        handover.end(OSError("broken"))
        assert (await handover.take()).messages[0].data == b"1"
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                await handover.take()

    run_virtual(scenario())


def test_an_end_without_an_error_ends_the_iteration() -> None:
    """Whoever waits is told."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        handover.end()
        with pytest.raises(StopAsyncIteration):
            await asking

    run_virtual(scenario())

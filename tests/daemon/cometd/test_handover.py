"""fbsessiond.cometd.handover: between the socket and the journal."""

import asyncio
from datetime import timedelta

import pytest

from fbsessiond import limits
from fbsessiond.cometd.handover import Handover
from fbsessiond.gap import Break, GapCause, Proof
from fbsessiond.message import Message, Origin
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual

PROOF = Proof("chain", EPOCH, EPOCH + timedelta(seconds=1))
BREAK = Break(GapCause.NETWORK)


def message(number: int, size: int = 0) -> Message:
    """Return a message of which only the number matters."""
    data = b"%d" % number
    return Message(data + b" " * size, "/a", data)


def passed_on(handover: Handover, number: int, size: int = 0) -> None:
    """Offer one message, and let it be taken."""
    handover.offer([message(number, size)])
    handover.pass_on()


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
    """A batch carries the agent and the time at which it was passed on."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(1), message(2)])
        handover.pass_on()
        await asyncio.sleep(5)
        passed_on(handover, 3)
        first, second = await handover.take(), await handover.take()
        assert [each.data for each in first.messages + second.messages] == [b"1", b"2", b"3"]
        assert (first.agent, first.origin, first.received_at, first.proof) == ("agent1", Origin.LIVE, EPOCH, None)
        assert second.received_at == EPOCH + timedelta(seconds=5)

    run_virtual(scenario())


@pytest.mark.parametrize("proof", [PROOF, BREAK], ids=["proof", "break"])
def test_what_was_offered_is_one_batch_with_what_it_proves(proof: Proof | Break) -> None:
    """Both are committed at once, however often something was offered; the next batch has neither."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(1)])
        handover.offer([message(2), message(3)])
        handover.pass_on(proof)
        passed_on(handover, 4)
        first, second = await handover.take(), await handover.take()
        assert ([each.data for each in first.messages], first.proof) == ([b"1", b"2", b"3"], proof)
        assert ([each.data for each in second.messages], second.proof) == ([b"4"], None)

    run_virtual(scenario())


@pytest.mark.parametrize("proof", [PROOF, BREAK], ids=["proof", "break"])
def test_a_proof_alone_is_an_empty_batch(proof: Proof | Break) -> None:
    """It is to be committed like messages: nothing is settled before the next batch is asked for."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        handover.pass_on(proof)
        assert not is_settled(handover)
        batch = await asking
        assert (batch.messages, batch.proof) == ((), proof)
        assert not is_settled(handover)
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        assert is_settled(handover)
        asking.cancel()

    run_virtual(scenario())


@pytest.mark.parametrize("proof", [PROOF, BREAK, None], ids=["proof", "break", "neither"])
def test_a_burst_is_several_batches(proof: Proof | Break | None) -> None:
    """A burst comes in parts, in order, the last one with what it proves; it is settled when all are committed."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        numbers = range(2 * limits.BATCH_MESSAGES + 1)
        handover.offer([message(number) for number in numbers])
        handover.pass_on(proof)
        batches = []
        for _ in range(3):
            assert not is_settled(handover)
            batches.append(await handover.take())
        assert [len(each.messages) for each in batches] == [limits.BATCH_MESSAGES, limits.BATCH_MESSAGES, 1]
        assert [each.data for batch in batches for each in batch.messages] == [b"%d" % number for number in numbers]
        assert [each.proof for each in batches] == [None, None, proof]
        assert {each.received_at for each in batches} == {EPOCH}
        assert not is_settled(handover)
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        assert is_settled(handover)
        handover.end()
        await asyncio.wait([asking])

    run_virtual(scenario())


def test_a_whole_batch_is_not_parted() -> None:
    """As many as go into one batch are one, with what it proves."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(number) for number in range(limits.BATCH_MESSAGES)])
        handover.pass_on(PROOF)
        batch = await handover.take()
        assert (len(batch.messages), batch.proof) == (limits.BATCH_MESSAGES, PROOF)

    run_virtual(scenario())


def test_nothing_is_no_batch() -> None:
    """Where nothing was offered and nothing is proved, there is nothing to take, and nothing to commit."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        handover.offer([])
        handover.pass_on()
        await asyncio.sleep(60)
        assert is_settled(handover)
        assert not asking.done()
        asking.cancel()

    run_virtual(scenario())


def test_what_is_only_offered_can_not_be_taken_yet() -> None:
    """It waits for what it proves."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(1)])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handover.take(), 60)
        handover.pass_on(PROOF)
        assert (await handover.take()).messages[0].data == b"1"

    run_virtual(scenario())


def test_it_is_settled_once_the_next_batch_is_asked_for() -> None:
    """To take a batch isn't to commit it; to ask for the next is."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        assert not is_settled(handover)
        passed_on(handover, 1)
        passed_on(handover, 2)
        await handover.take()
        await handover.take()
        assert not is_settled(handover)
        asking = asyncio.create_task(handover.take())
        await asyncio.sleep(0)
        assert is_settled(handover)
        passed_on(handover, 3)
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
        handover.pass_on(PROOF)
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        try:
            batch = await asking
        except asyncio.CancelledError:
            batch = await handover.take()
        assert (batch.messages[0].data, batch.proof) == (b"1", PROOF)

    run_virtual(scenario())


def test_there_is_room_until_more_lies_there_than_a_response_may_hold() -> None:
    """A socket on which the server sends unasked is read on, up to the same limit."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        await handover.room()
        passed_on(handover, 1)
        await handover.room()
        passed_on(handover, 2, limits.RESPONSE_BYTES)
        waiting = asyncio.create_task(handover.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        await handover.take()
        await handover.take()
        await handover.room()
        asking = asyncio.create_task(handover.take())
        await waiting
        await handover.room()
        asking.cancel()

    run_virtual(scenario())


def test_there_is_room_for_a_whole_response() -> None:
    """As much as one response may hold isn't more than that."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        passed_on(handover, 1, limits.RESPONSE_BYTES - len(b"1"))
        await handover.room()

    run_virtual(scenario())


def test_many_small_batches_are_too_much_as_well() -> None:
    """Their number is limited like their bytes."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        for number in range(limits.WAITING_BATCHES):
            passed_on(handover, number)
        await handover.room()
        passed_on(handover, -1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handover.room(), 60)

    run_virtual(scenario())


def test_after_the_end_what_is_left_can_be_taken() -> None:
    """Then the reader's error is raised, each time."""

    async def scenario() -> None:
        handover = Handover("agent1", VirtualClock())
        handover.offer([message(1)])
        handover.pass_on(BREAK)
        handover.end(OSError("broken"))
        batch = await handover.take()
        assert (batch.messages[0].data, batch.proof) == (b"1", BREAK)
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

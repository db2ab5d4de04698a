"""The place between the socket and the journal: what was read waits here until it is asked for.

It isn't a queue to be cancelled: `offer` and `pass_on` never wait, and `take` removes only what it returns, so that no
cancelled task takes a message with it. It is bounded all the same, because whoever reads a socket first waits until it
is `settled`: then nothing lies here, and what was taken is committed.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from fbsessiond import limits
from fbsessiond.clock import Clock
from fbsessiond.gap import Break, Proof
from fbsessiond.message import Batch, Message, Origin


class Handover:
    """Batches of one agent, on their way from one reader to one taker."""

    def __init__(self, agent: str, clock: Clock) -> None:
        self._agent = agent
        self._clock = clock
        self._offered: list[Message] = []
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self._end: BaseException | None = None

    def offer(self, messages: Sequence[Message]) -> None:
        """Put down what arrived just now; `pass_on` makes a batch of it."""
        self._offered.extend(messages)

    def pass_on(self, proof: Proof | Break | None = None) -> None:
        """Let what was offered be taken as one batch, with what it proves, so that both are committed at once.

        A burst becomes several, the last with the proof: between them other agents have their turn.
        """
        if not self._offered and proof is None:
            return
        now, offered = self._clock.now(), self._offered
        self._offered = []
        while len(offered) > limits.BATCH_MESSAGES:
            self._put(Batch(self._agent, Origin.LIVE, now, tuple(offered[: limits.BATCH_MESSAGES])))
            del offered[: limits.BATCH_MESSAGES]
        self._put(Batch(self._agent, Origin.LIVE, now, tuple(offered), proof))
        self._settled.clear()
        self._arrived.set()

    def _put(self, batch: Batch) -> None:
        self._batches.append(batch)
        self._bytes += _size_bytes(batch)

    async def take(self) -> Batch:
        """Wait for the next batch; to ask for it says that the one before is committed.

        Raises the error that the reader ended with, if it did; `StopAsyncIteration` after `end()` without one.
        """
        while not self._batches:
            if self._end is not None:
                raise self._end
            self._settled.set()
            await self._arrived.wait()
        batch = self._batches.popleft()
        self._bytes -= _size_bytes(batch)
        self._arrived.clear()
        return batch

    async def settled(self) -> None:
        """Wait until all that was offered is committed. Only then may a request leave: it could acknowledge it."""
        await self._settled.wait()

    async def room(self) -> None:
        """Wait while more lies here than one response may hold: for a socket on which the server sends unasked."""
        if self._bytes > limits.RESPONSE_BYTES or len(self._batches) > limits.WAITING_BATCHES:
            await self.settled()

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes. What lies here can still be taken; then `take` raises."""
        self._end = error or StopAsyncIteration()
        self._arrived.set()


def _size_bytes(batch: Batch) -> int:
    return sum(len(message.raw) for message in batch.messages)

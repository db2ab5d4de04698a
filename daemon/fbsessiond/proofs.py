"""What connects prove that brought nothing: written together, for all agents at once.

Of a quiet agent every connect extends what is proved by some seconds, and brings nothing that has to be acknowledged.
A commit for each of them would be most of what the daemon does for thousands of agents. So such a proof waits for its
turn, once a second. A crash in between loses it: the gap after the crash begins at the proof before, and so is longer,
never shorter; and the position with that proof is good to go on from, since nothing came after it. Whatever else a
source says is written at once, after what waits of the same agent.
"""

import asyncio

from fbsessiond.gap import Proof
from fbsessiond.journal.interface import Journal
from fbsessiond.message import Batch

WRITE_SECONDS = 1.0
"""How often they are written: for so long a crash can take one along."""


class Proofs:
    """Those that wait to be written, of all agents."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._chains: dict[str, str] = {}
        """The chain that each agent's last written proof belongs to."""
        self._waiting: dict[str, Proof] = {}

    def keep(self, batch: Batch) -> bool:
        """Keep what a batch proves, if it says nothing else, and goes on with the chain that is written already."""
        proof = batch.proof
        if batch.messages or not isinstance(proof, Proof) or self._chains.get(batch.agent) != proof.chain:
            return False
        self._waiting[batch.agent] = proof
        return True

    async def make_way(self, batch: Batch) -> None:
        """Write what waits before a batch that isn't kept, unless that proves all of it."""
        waiting, proof = self._waiting.pop(batch.agent, None), batch.proof
        if isinstance(proof, Proof):
            self._chains[batch.agent] = proof.chain
        elif proof is not None:
            self._chains.pop(batch.agent, None)
        if waiting is not None and not (isinstance(proof, Proof) and proof.chain == waiting.chain):
            await self._journal.prove({batch.agent: waiting})

    async def write(self) -> None:
        """Write all that wait, in one transaction."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            await self._journal.prove(waiting)

    async def run(self) -> None:
        """Write them every second, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

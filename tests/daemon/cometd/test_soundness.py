"""What is proved is so: after whatever happened, each notification that was sent in a chain's time has arrived."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from cometd_servers import LOOPBACK, Json, Proxy, Receiver, ScriptedServer, number_of, receiving, scripted
from fbsessiond.gap import Proof
from fbsessiond.message import Batch
from fbsessiond.testing import VirtualClock
from virtual_network import run_networked

DOINGS: Final = ("publish", "cut", "reset", "fail", "stray", "forget", "renew", "restart", "crash")
STRAY: Final[list[Json]] = [{"channel": "/meta/connect", "successful": True, "clientId": "another"}]


class Story:
    """A server that sends notifications, and processes that receive them one after the other."""

    def __init__(self, server: ScriptedServer, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self.clock = VirtualClock()
        self.sent: list[datetime] = []
        """When each number was sent."""
        self.committed = list[Batch]()

    @property
    def proofs(self) -> list[Proof]:
        """What was proved so far."""
        return [batch.proof for batch in self.committed if isinstance(batch.proof, Proof)]

    async def tell(self, doings: Sequence[str]) -> None:
        """Let one process after the other have its share, and wait in the end until all has calmed down."""
        left = list(doings)
        while left:
            ends = next((place for place, doing in enumerate(left) if doing in {"restart", "crash"}), len(left))
            mine, left = left[:ends], left[ends:]
            position = self.proofs[-1].position if self.proofs else None
            url = f"http://{LOOPBACK}:{self.proxy.port}/"
            async with receiving(url, clock=self.clock, position=position, keep=True) as receiver:
                for doing in mine:
                    await asyncio.sleep(0.7)
                    self.do(doing, receiver)
                await asyncio.sleep(0.7 if left else 40)
                committed = len(receiver.everything)
                if left and left.pop(0) == "crash":
                    committed += await self.crash(receiver)
                else:
                    await receiver.batches.aclose()
                    committed = len(receiver.everything)
            self.committed += receiver.everything[:committed]

    def do(self, doing: str, receiver: Receiver) -> None:
        """Let one thing happen."""
        match doing:
            case "publish" | "cut":
                self.publish()
                self.proxy.cut_after_bytes = 60 if doing == "cut" else None
            case "reset":
                self.proxy.reset()
            case "fail":
                self.server.script("/meta/connect", 503)
            case "stray":
                self.server.script("/meta/connect", STRAY)
            case "forget":
                self.server.script("/meta/connect", self.forget)
            case _:
                receiver.source.renew()

    def publish(self) -> None:
        """Send a notification."""
        self.server.publish(len(self.sent))
        self.sent.append(self.clock.now())

    def forget(self, _: Json) -> list[Json]:
        """Forget the session, and what waits in it."""
        self.server.forget()
        error = {"error": "402::x", "advice": {"reconnect": "handshake"}}
        return [{"channel": "/meta/connect", "successful": False} | error]

    async def crash(self, receiver: Receiver) -> int:
        """Take a notification without committing it, and return how many batches were committed since."""
        receiver.stall()
        taken, before = len(receiver.taken), len(receiver.everything)
        self.publish()
        await asyncio.sleep(1)
        return len(receiver.everything) - before - (len(receiver.taken) - taken)

    def check(self) -> None:
        """Compare what each batch proves with what had arrived up to it."""
        arrived: set[int] = set()
        for batch in self.committed:
            arrived.update(map(number_of, batch.messages))
            if isinstance(batch.proof, Proof):
                since, until = batch.proof.since, batch.proof.until
                assert {number for number, at in enumerate(self.sent) if since < at < until} <= arrived, batch.proof
        assert self.clock.now() - self.proofs[-1].until < timedelta(seconds=10)


@given(st.lists(st.sampled_from(DOINGS), min_size=1, max_size=16), st.booleans())
@settings(max_examples=25)
def test_what_is_proved_has_arrived(doings: list[str], acknowledge: bool) -> None:
    """Whatever is cut, reset, refused, forgotten, renewed, restarted or crashed, and in whatever order."""

    async def scenario() -> None:
        server = ScriptedServer(acknowledge=acknowledge, forgetful=True, hold_ms=4_000)
        async with scripted(server), Proxy(server.port) as proxy:
            story = Story(server, proxy)
            await story.tell([*doings, "publish"])
            story.check()

    run_networked(scenario())

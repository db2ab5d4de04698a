"""What a CometD server says: whatever that is, the source goes on or says that the credentials are refused.

Every message that came with an answer is handed over, in order and once, and a position that was proved can be read.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from structlog.testing import capture_logs

from fbsessiond.chance import SeededChance
from fbsessiond.cometd.parcel import Parcel, unpack
from fbsessiond.cometd.source import CometdSettings, CometdSource
from fbsessiond.errors import RefusedError
from fbsessiond.gap import Proof
from fbsessiond.message import Message
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual
from fuzzing.answering import AnsweredAccess, Over

RESTART = b"\n!\n"
"""Between two processes: the next one goes on where the last one was."""


def hear_long_polling(data: bytes) -> None:
    """Converse by long-polling, with a server that says each line."""
    hear(data, ("long-polling",))


def hear_websocket(data: bytes) -> None:
    """Converse over a websocket, with a server that says each line."""
    hear(data, ("websocket", "long-polling"))


def hear(data: bytes, transports: Sequence[str]) -> None:
    """Let one process after the other converse until all is said."""
    position: bytes | None = None
    now = EPOCH
    for part in data.split(RESTART):
        position, now = run_virtual(_hear(part.split(b"\n"), tuple(transports), position, VirtualClock(now)))


async def _hear(
    lines: list[bytes], transports: tuple[str, ...], position: bytes | None, clock: VirtualClock
) -> tuple[bytes | None, datetime]:
    access = AnsweredAccess(lines)
    settings = CometdSettings("agent1", "http://gws.example/", ("/v2/me/*", "/b"), transports, keep=True)
    source = CometdSource(settings, access, clock=clock, chance=SeededChance(1), position=position)
    batches = aiter(source)
    heard = list[Message]()
    with capture_logs():
        try:
            async for batch in batches:
                heard += batch.messages
                if isinstance(batch.proof, Proof):
                    assert batch.proof.since <= batch.proof.until
                    position = batch.proof.position
        except (Over, RefusedError):
            pass
        finally:
            await batches.aclose()
    said = [message for body in access.server.given for message in _parcel(body).messages]
    assert heard == said, (heard, said)
    return position, clock.now()


def _parcel(body: bytes) -> Parcel:
    """Take a body apart: nothing in it is left out, and one that isn't Bayeux has nothing in it."""
    try:
        whole = msgspec.json.decode(body, type=msgspec.Raw)
        is_alone = body.lstrip().startswith(b"{")
        elements = [whole] if is_alone else msgspec.json.decode(body, type=list[msgspec.Raw])
    except (ValueError, RecursionError):
        return Parcel((), ())
    parcel = unpack(body)
    assert len(elements) == len(parcel.messages) + len(parcel.replies)
    return parcel

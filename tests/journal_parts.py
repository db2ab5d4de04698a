"""What goes into a journal in tests: messages, drafts, batches; and the few steps that most tests take."""

import base64
import json
import random  # noqa: TID251  noise that can be repeated
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from fbsessiond.conditions import Throttle
from fbsessiond.gap import Break, Gap, GapCause, Proof, Watched
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import (
    ActKind,
    DeliveryState,
    Draft,
    GivenUp,
    Lease,
    Misfit,
    NotWanted,
    Quarantined,
    Settlement,
    Wait,
    Wanted,
)
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.notification import Document
from fbsessiond.testing import EPOCH
from fbsessiond.transition import Change, Kind

NOW = EPOCH
CHANNEL = "/v2/me/facebooksession"
OPS = "ops (uid 1000)"
"""A person who looks after it."""


def after(seconds: float) -> datetime:
    """Return a point in time some seconds after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def message(document: Document | None = None, **others: Any) -> Message:
    """Return a message whose notification is about a session, or about nothing in particular."""
    notification = {"messageType": "FacebooksessionStateChangeMessage", "facebooksession": document} if document else {}
    data = json.dumps({**notification, **others}).encode()
    return Message(b'{"channel":"%s","data":%s}' % (CHANNEL.encode(), data), CHANNEL, data)


def draft(
    session: str = "S1",
    state: str = "Invited",
    *handlers: str,
    before: str | None = None,
    due_at: datetime = NOW,
    wait: Wait | None = None,
    throttle: Throttle | None = None,
    not_wanted: Sequence[NotWanted] = (),
    merged: Document | None = None,
    **own: Any,
) -> Draft:
    """Return a transition of a session to a state, wanted by some handlers, all in the same way.

    Its notification says all that is known of the session, with the keys in `own`, unless a `merged` document does.
    """
    document: Document = {"id": session, "state": state, **own}
    change = Change(Kind.TRANSITION, session, before, state, merged or document)
    kept = json.dumps(merged).encode() if merged else None
    wanted = [Wanted(handler, due_at, wait, throttle) for handler in handlers]
    return Draft(message(document), change, kept, wanted, not_wanted)


def noise(length: int, seed: int = 0) -> str:
    """Return a text that nothing packs much smaller."""
    return base64.b64encode(random.Random(seed).randbytes(length)).decode()[:length]  # noqa: S311  nothing secret


def life(session: str, *handlers: str) -> list[Draft]:
    """Return a session's first three transitions."""
    states = ["Invited", "Chatting", "LeftChat"]
    return [
        draft(session, state, *handlers, before=before) for before, state in zip([None, *states], states, strict=False)
    ]


def repeat(session: str = "S1") -> Draft:
    """Return an entry that changes nothing of its session."""
    return Draft(message({"id": session}), Change(Kind.REPEAT, session))


def other() -> Draft:
    """Return an entry of no session."""
    return Draft(message(messageType="CallStateChanged"), Change(Kind.OTHER))


def misfit(raw: bytes = b"{", error: str = "isn't JSON") -> Misfit:
    """Return a message that doesn't validate."""
    return Misfit(Message(raw, CHANNEL, None), error)


async def append(
    journal: Journal, *parts: Draft | Misfit, agent: str = "agent1", at: datetime = NOW, origin: Origin = Origin.LIVE
) -> int:
    """Append drafts and misfits as one batch; return the number of its first entry."""
    batch = Batch(agent, origin, at, tuple(part.message for part in parts))
    drafts = [part for part in parts if isinstance(part, Draft)]
    return await journal.append(batch, drafts, [part for part in parts if isinstance(part, Misfit)])


async def lease(
    journal: Journal, handler: str = "log", *, now: datetime = NOW, until: datetime | None = None, most: int = 100
) -> Sequence[Lease]:
    """Lease what is due, for a minute unless told otherwise, and wait until that can be seen from outside."""
    leases = await journal.lease(handler, most, now, until or now + timedelta(minutes=1))
    await journal.settle((), now)  # whatever is committed, twice
    await journal.settle((), now)
    return leases


async def settle(
    journal: Journal, *leases: Lease, state: DeliveryState = DeliveryState.DELIVERED, now: datetime = NOW
) -> None:
    """Settle deliveries for good."""
    settlements = [
        Settlement(one, state, one.attempts + 1, None if state == "delivered" else "broke") for one in leases
    ]
    await journal.settle(settlements, now)


async def kill(journal: Journal, handler: str = "log", *, now: datetime = NOW) -> None:
    """Make dead letters of all that is due."""
    await settle(journal, *await lease(journal, handler, now=now), state=DeliveryState.DEAD, now=now)


def retry(reader: Reader, on: GivenUp, now: datetime = NOW) -> bool:
    """Have a person try something again that was given up."""
    return reader.act(on, ActKind.RETRY, by=OPS, at=now)


def drop(reader: Reader, on: GivenUp, now: datetime = NOW) -> bool:
    """Have a person drop something that was given up."""
    return reader.act(on, ActKind.DROP, by=OPS, at=now, because="no use")


def retry_quarantined(reader: Reader, seq: int) -> bool:
    """Have a person ask that the message of a number be read again, whether it is in the quarantine or not."""
    return retry(reader, quarantined(seq))


def quarantined(seq: int) -> Quarantined:
    """Return a message in the quarantine."""
    return Quarantined(seq, NOW, Origin.LIVE, "agent1", CHANNEL, "isn't JSON", b"{")


async def prove(
    journal: Journal, chain: str, since: float, until: float, *, agent: str = "agent1", position: bytes | None = None
) -> None:
    """Append a proof that nothing was missed from some seconds after `NOW` to others."""
    proof = Proof(chain, after(since), after(until), position)
    await journal.append(Batch(agent, Origin.LIVE, after(until), (), proof), (), ())


async def break_chain(
    journal: Journal, cause: GapCause = GapCause.NETWORK, *, since: float | None = None, agent: str = "agent1"
) -> None:
    """Append that nothing is proved any more, or wasn't since some seconds after `NOW`."""
    proof = Break(cause, None if since is None else after(since))
    await journal.append(Batch(agent, Origin.LIVE, NOW, (), proof), (), ())


def gap(
    begin: float, end: float | None, cause: GapCause, closed_by: str | None = None, *, agent: str = "agent1"
) -> Gap:
    """Return a gap between seconds after `NOW`."""
    return Gap(agent, after(begin), None if end is None else after(end), cause, closed_by)


def watched(
    proven_until: float,
    *gaps: Gap,
    agent: str = "agent1",
    since: float = 0,
    broken: GapCause | None = None,
    compared: float | None = None,
    position: bytes | None = None,
) -> Watched:
    """Return what is known of the time in which it was listened for an agent, in seconds after `NOW`."""
    compared_at = None if compared is None else after(compared)
    return Watched(agent, after(since), after(proven_until), broken, compared_at, position, gaps)


def seqs(leases: Sequence[Lease]) -> list[int]:
    """Return the numbers of the entries whose deliveries were handed out."""
    return [one.entry.seq for one in leases]

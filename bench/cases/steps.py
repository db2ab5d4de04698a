"""The steps on a notification's way, each beside its own limit."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import orjson

from fbsessiond.envelope import open_envelope
from fbsessiond.journal.records import Draft, Wanted
from fbsessiond.message import Message
from fbsessiond.notification import SessionNotification, read
from fbsessiond.session import session_from
from fbsessiond.transition import derive
from measure import Comparison, Side, Work
from work import (
    BURST,
    CLOCK,
    COUNT,
    HANDLERS,
    Counting,
    bodies,
    bursts,
    log,
    messages,
    opened,
    pipeline_to,
    settle,
    take,
)


@contextmanager
def _decode_ours(_: Path) -> Generator[Work]:
    raws = bodies()

    def decode() -> None:
        for raw in raws:
            (notification,) = read(open_envelope(raw))
            assert isinstance(notification, SessionNotification)
            change = derive(None, notification)
            session_from(change.document or {}, "agent")

    yield Work(decode, COUNT)


@contextmanager
def _decode_limit(_: Path) -> Generator[Work]:
    raws = bodies()

    def decode() -> None:
        for raw in raws:
            orjson.loads(raw)

    yield Work(decode, COUNT)


@contextmanager
def _append_ours(folder: Path) -> Generator[Work]:
    now = CLOCK.now()
    wanted = [Wanted(name, now) for name in HANDLERS]
    batches = [(batch, [_draft(message, wanted) for message in batch.messages]) for batch in bursts(messages())]
    with opened(folder) as journal:

        async def append() -> None:
            for batch, drafts in batches:
                await journal.append(batch, drafts, ())

        yield Work(lambda: asyncio.run(append()), COUNT)


def _draft(message: Message, wanted: list[Wanted]) -> Draft:
    return Draft(message, derive(None, read(message)[0]), None, wanted)


@contextmanager
def _append_limit(folder: Path) -> Generator[Work]:
    parts = [b"".join(message.raw for message in batch.messages) for batch in bursts(messages())]
    with log(folder) as append:

        def append_all() -> None:
            for part in parts:
                append(part)

        yield Work(append_all, COUNT)


@contextmanager
def _dispatch_ours(folder: Path) -> Generator[Work]:
    with opened(folder) as journal:
        way, counting = pipeline_to(journal)
        asyncio.run(take(way, bursts(messages())))
        yield Work(lambda: asyncio.run(settle(way)), COUNT)
        assert counting.counts[0] == COUNT * len(HANDLERS)


@contextmanager
def _dispatch_limit(folder: Path) -> Generator[Work]:
    counting = Counting()
    with log(folder) as append:

        async def handle() -> None:
            for _ in range(COUNT * len(HANDLERS) // BURST):
                for _ in range(BURST):
                    await counting.handle(None)  # type: ignore[arg-type]
                append(b"settled " * BURST)

        yield Work(lambda: asyncio.run(handle()), COUNT)


DECODE = Comparison(
    "decode",
    "From the bytes of a notification to what handlers see: the tolerant model, the change, the strict model.",
    Side("fbsessiond", _decode_ours, "every value checked"),
    [Side("orjson", _decode_limit, "plain objects, nothing checked")],
)
APPEND = Comparison(
    "append",
    "Bursts that are understood already, with three deliveries an entry, into the journal.",
    Side("fbsessiond", _append_ours, "entries, sessions, deliveries; `synchronous=FULL`, a commit a burst"),
    [Side("plain file", _append_limit, "the same bytes, one `fdatasync` a burst")],
)
DISPATCH = Comparison(
    "dispatch",
    "What is in the journal already, to three handlers that only count, and settled.",
    Side("fbsessiond", _dispatch_ours, "leased, handled, settled"),
    [Side("plain awaits", _dispatch_limit, "three awaited handlers, one `fdatasync` for a hundred outcomes")],
)

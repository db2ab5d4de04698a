"""The worker of `jetstream`: python jetstream_worker.py ADDRESS STREAM COUNT."""

# A peer may be missing.
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false

import asyncio
import sys
from typing import Any

from faststream.nats import JStream, NatsBroker, PullSub

BATCH = 100


async def main(address: str, stream: str, count: int) -> None:
    """Handle so many notifications."""
    broker = NatsBroker(f"nats://{address}", logger=None)
    done = asyncio.Event()
    handled = 0

    async def handler(_: dict[str, Any]) -> None:
        nonlocal handled
        handled += 1

    batches = PullSub(batch_size=BATCH, batch=True)

    @broker.subscriber(stream, stream=JStream(stream), durable="worker", pull_sub=batches)
    async def handle(notifications: list[dict[str, Any]]) -> None:
        for notification in notifications:
            for each in (handler, handler, handler):
                await each(notification)
        if handled == 3 * count:
            done.set()

    await broker.start()
    print("ready", flush=True)  # noqa: T201  its one way to say so
    await done.wait()
    print("done", flush=True)  # noqa: T201  the same
    await broker.stop()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

"""FastStream on NATS JetStream, each message synced to disk before it is acknowledged to the publisher.

Three processes: this one publishes bursts, and waits for the acknowledgements of each; the server; and a worker, whose
one subscriber takes batches, calls three handlers with each message, and acknowledges it. Batches take two
thirds of the processor time that single messages take.
"""

# A peer may be missing.
# pyright: reportMissingImports=false

import asyncio
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import Side, Work
from peers.workers import missing, working
from work import BURST, COUNT, bodies

STREAM = "notifications"
TIMEOUT_SECONDS = 30.0
PROGRAM = Path(sys.executable).with_name("nats-server")
WORKER = Path(__file__).with_name("jetstream_worker.py")

SERVER = """
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{folder}", sync_interval: always }}
"""


@contextmanager
def _set_up(folder: Path) -> Generator[Work]:
    from faststream.nats import NatsBroker  # noqa: PLC0415  a peer may be missing

    bursts = [bodies(BURST, first) for first in range(0, COUNT, BURST)]
    (settings := folder / "nats.conf").write_text(SERVER.format(folder=folder))
    with working(str(PROGRAM), "--config", str(settings)) as server, asyncio.Runner() as runner:
        address = server.until("Listening for client connections").split()[-1]
        server.until("Server is ready")
        broker = NatsBroker(f"nats://{address}", logger=None)
        with working(sys.executable, str(WORKER), address, STREAM, str(COUNT)) as worker:
            worker.until("ready")
            runner.run(broker.connect())

            def handle() -> None:
                runner.run(_publish(broker, bursts))
                worker.until("done")

            yield Work(handle, COUNT, (server.pid, worker.pid))
            runner.run(broker.stop())


async def _publish(broker: Any, bursts: list[list[bytes]]) -> None:
    headers = {"content-type": "application/json"}
    for burst in bursts:
        await asyncio.gather(
            *(broker.publish(body, STREAM, headers=headers, stream=STREAM, timeout=TIMEOUT_SECONDS) for body in burst)
        )


JETSTREAM = Side(
    "FastStream on NATS JetStream",
    _set_up,
    "`sync_interval: always`; published from memory in bursts, taken in batches, three handlers called with each, "
    "acknowledged once. "
    "Not given: order per session, a record that can be read later, a retry for each handler",
    at_least=6,
    missing=lambda: missing(["faststream", "nats"], [PROGRAM]),
)

"""Huey on SQLite, each change of its queue synced to disk.

Two processes: this one enqueues a task a notification, and the consumer runs tasks, each of which calls three handlers.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from measure import Side, Work
from peers.workers import missing, working
from work import COUNT, bodies

CONSUMER = Path(__file__).with_name("huey_consumer.py")


@contextmanager
def _set_up(folder: Path) -> Generator[Work]:
    from peers.huey_tasks import make_queue  # noqa: PLC0415  a peer may be missing

    notifications = bodies()
    _, handle = make_queue(folder)
    with working(sys.executable, str(CONSUMER), str(folder), str(COUNT)) as consumer:
        consumer.until("ready")

        def enqueue() -> None:
            for body in notifications:
                handle(body)
            consumer.until("done")

        yield Work(enqueue, COUNT, (consumer.pid,))


HUEY = Side(
    "Huey on SQLite",
    _set_up,
    "`fsync=True`, no results kept; enqueued from memory, one worker thread, a task calls three handlers. Not given: "
    "order per session, a record that can be read later, delivery after a crash (a task that ran is lost)",
    at_least=8,
    missing=lambda: missing(["huey"]),
)

"""The consumer of `huey_sqlite`: python huey_consumer.py FOLDER COUNT."""

import sys
import time  # noqa: TID251  a peer's own process
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peers import huey_tasks


def main(folder: Path, count: int) -> None:
    """Run tasks until so many are done."""
    queue, _ = huey_tasks.make_queue(folder)
    consumer = queue.create_consumer(workers=1, periodic=False, initial_delay=0.001, max_delay=0.01)
    consumer.start()
    print("ready", flush=True)  # noqa: T201  its one way to say so
    while huey_tasks.handled < 3 * count:
        time.sleep(0.01)
    print("done", flush=True)  # noqa: T201  the same
    consumer.stop(graceful=True)


main(Path(sys.argv[1]), int(sys.argv[2]))

"""The queue of `huey_sqlite`, for both of its processes."""

# mypy: disable-error-code="import-untyped, untyped-decorator"
# A peer may be missing.
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huey import SqliteHuey

handled = 0


def make_queue(folder: Path) -> tuple[Any, Callable[[bytes], Any]]:
    """Return a queue in a folder, and its task: to call that is to enqueue it."""
    queue = SqliteHuey("notifications", filename=str(folder / "huey.db"), fsync=True, results=False)

    @queue.task(name="handle")
    def handle(body: bytes) -> None:
        notification = json.loads(body)
        for each in (_handler, _handler, _handler):
            each(notification)

    return queue, handle


def _handler(_: dict[str, Any]) -> None:
    global handled  # noqa: PLW0603  a counter
    handled += 1

"""The CometD project's own JavaScript client: it receives from the same server, and forgets."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from measure import Side, Work
from peers.workers import missing, working
from server import serving
from work import COUNT, ROOT

CLIENT = Path(__file__).with_name("cometd_client.mjs")


@contextmanager
def _set_up(_: Path) -> Generator[Work]:
    with serving() as server, working("node", str(CLIENT), server.url, str(COUNT)) as client:
        client.until("ready")

        def receive() -> None:
            server.send(COUNT)
            client.until("done")

        yield Work(receive, COUNT, (client.pid,))


def _missing() -> str | None:
    if shutil.which("node") is None:
        return "there is no Node"
    return missing([], [ROOT / "bench/node_modules/cometd"])


JAVASCRIPT = Side(
    "CometD's JavaScript client",
    _set_up,
    "receives from the same server, counts and forgets: nothing is checked, handled or on disk",
    at_least=0.5,
    missing=_missing,
)

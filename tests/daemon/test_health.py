"""fbsessiond.health: asking a running daemon how it is."""

import asyncio
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from fbsessiond.errors import ConfigurationError
from fbsessiond.health import ask
from fbsessiond.http_interface import serving
from fbsessiond.metrics import Metrics
from fbsessiond.readiness import Check
from fbsessiond.testing import EPOCH, VirtualClock
from page_parts import TOKEN, served_page

FINE = Check("connection agent1", True, "connected", EPOCH - timedelta(seconds=12))
FAILING = Check("connection agent2", False, "refused: 403 denied")


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0", "unix:{}"])
def listen(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return each kind of address."""
    kind: str = request.param
    return kind.format(tmp_path / "http.sock")


@pytest.mark.parametrize(
    ("check", "path", "expected"),
    [
        (FINE, "/livez", (True, "alive")),
        (FAILING, "/livez", (True, "alive")),
        (FINE, "/readyz", (True, "ready")),
        (FAILING, "/readyz?verbose", (False, "FAIL connection agent2: refused: 403 denied\nnot ready")),
    ],
)
async def test_answers(listen: str, check: Check, path: str, expected: tuple[bool, str]) -> None:
    """A daemon says how it is, wherever it listens."""
    async with serving(listen, lambda: [check], Metrics(VirtualClock()).exposition, VirtualClock()) as address:
        assert address is not None
        assert await asyncio.to_thread(ask, address.removeprefix("http://"), path) == expected


@pytest.mark.parametrize("listen", ["127.0.0.1:{}", "localhost:{}", "unix:{}"])
def test_nobody(listen: str, tmp_path: Path) -> None:
    """Where nobody listens it isn't well, and the address is told."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    place = listen.format(tmp_path / "nobody" if listen.startswith("unix") else port)
    is_well, words = ask(place, "/livez")
    assert not is_well
    assert words.startswith(f"nothing answers at {place}: ")


def test_something_else(tmp_path: Path) -> None:
    """What speaks no HTTP isn't a daemon that is well."""
    place = str(tmp_path / "other.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()

        async def main() -> tuple[bool, str]:
            asking = asyncio.create_task(asyncio.to_thread(ask, f"unix:{place}", "/livez"))
            loop = asyncio.get_running_loop()
            listener.setblocking(False)
            other, _ = await loop.sock_accept(listener)
            other.close()
            return await asking

        assert asyncio.run(main())[0] is False


def test_off() -> None:
    """A daemon that serves no HTTP can't be asked: that is for whoever configures it."""
    with pytest.raises(ConfigurationError, match=r"http\.listen: is off"):
        ask("", "/livez")


async def test_token(tmp_path: Path) -> None:
    """Where the token is needed to look, it is sent."""
    async with served_page(tmp_path, "0.0.0.0:0") as there:
        listen = there.address.removeprefix("http://")
        assert await asyncio.to_thread(ask, listen, "/readyz", TOKEN) == (True, "ready")
        assert (await asyncio.to_thread(ask, listen, "/readyz"))[0] is False

import asyncio
import errno
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cometd_servers import with_sockets
from fbsessiond.errors import ConfigurationError
from fbsessiond.gauges import Readings
from fbsessiond.http_interface import IDLE_SECONDS, LINGERING_SECONDS, PATHS, serving
from fbsessiond.metrics import Metrics
from fbsessiond.readiness import Check, Standing
from fbsessiond.testing import EPOCH, VirtualClock
from page_parts import TOKEN, served_page

ANY_PORT = "127.0.0.1:0"
WHOLE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
FINE = Check("connection agent1", True, "connected", EPOCH - timedelta(seconds=12))
FAILING = Check("connection agent2", False, "refused: 403 denied")


class Served:
    """An HTTP interface in this process, and a client of it."""

    def __init__(self, address: str, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self.address = address
        self.metrics = metrics
        self._session = session

    async def ask(self, target: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Ask for something; return status and text."""
        answer, text = await self.answer(target, method, **headers)
        return answer.status, text

    async def answer(self, target: str, method: str = "GET", **headers: str) -> tuple[aiohttp.ClientResponse, str]:
        """Ask for something; return the whole answer, and its text."""
        base = "http://localhost" if self.address.startswith("unix:") else self.address
        async with self._session.request(method, f"{base}{target}", headers=headers) as answer:
            return answer, await answer.text()

    async def send(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own; return all that comes back."""
        reader, writer = await self.connect()
        writer.write(data)
        received = await reader.read()
        writer.close()
        return received

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection."""
        return await asyncio.open_connection("127.0.0.1", int(self.address.rpartition(":")[2]))


@asynccontextmanager
async def served(listen: str = ANY_PORT, *checks: Check) -> AsyncGenerator[Served, None]:
    """Serve, with checks that are like this."""

    def check() -> Sequence[Check]:
        assert checks, "this isn't asked how it is"
        return checks

    metrics = Metrics(VirtualClock())
    connector = aiohttp.UnixConnector(listen.removeprefix("unix:")) if listen.startswith("unix:") else None
    async with (
        serving(listen, check, lambda: metrics.exposition(), VirtualClock()) as address,  # noqa: PLW0108  a test replaces it
        aiohttp.ClientSession(connector=connector) as session,
    ):
        assert address is not None
        yield Served(address, session, metrics)


async def refusal(listen: str) -> str:
    """Return the words with which an address is refused."""
    with pytest.raises(ConfigurationError) as refused:
        async with serving(listen, list, Metrics(VirtualClock()).exposition, VirtualClock()):
            pass
    words, _, hint = str(refused.value).partition("; ")
    assert hint == 'set [http] listen to another address, or to "" for none'
    return words


@pytest.mark.parametrize(
    ("listen", "begin"),
    [
        (ANY_PORT, "http://127.0.0.1:"),
        ("127.1.2.3:0", "http://127.1.2.3:"),
        ("[::1]:0", "http://[::1]:"),
        ("localhost:0", "http://127.0.0.1:"),
    ],
)
@with_sockets
async def test_alive(listen: str, begin: str) -> None:
    """It lives where it is told to listen, says where that is, and asks nobody how anything is."""
    async with served(listen) as there:
        assert there.address.startswith(begin)
        assert int(there.address.removeprefix(begin)) > 0
        assert await there.ask("/livez") == (200, "alive\n")


@with_sockets
async def test_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked what `localhost` is: it can't be anything beyond this machine."""
    create_server = socket.create_server
    places: list[tuple[str, int]] = []

    def note(place: tuple[str, int], **options: Any) -> socket.socket:
        places.append(place)
        return create_server(place, **options)

    monkeypatch.setattr(socket, "create_server", note)
    for listen in ("localhost:0", "LocalHost:0"):
        async with served(listen):
            pass
    assert places == [("127.0.0.1", 0)] * 2


@with_sockets
async def test_off() -> None:
    """Without an address nothing is served."""
    async with serving("", list, Metrics(VirtualClock()).exposition, VirtualClock()) as address:
        assert address is None


@pytest.mark.parametrize(
    ("checks", "status", "words", "lines"),
    [
        ([FINE], 200, "ready\n", ["ok   connection agent1: connected (for 12 s)", "ready"]),
        (
            [FINE, FAILING],
            503,
            "not ready: connection agent2\n",
            [
                "ok   connection agent1: connected (for 12 s)",
                "FAIL connection agent2: refused: 403 denied",
                "not ready",
            ],
        ),
    ],
)
@with_sockets
async def test_ready(checks: list[Check], status: int, words: str, lines: list[str]) -> None:
    """It is ready while all checks hold; asked for more, it says how each of them is."""
    async with served(ANY_PORT, *checks) as there:
        assert await there.ask("/readyz") == (status, words)
        for target in ("/readyz?verbose", "/readyz?a=b&verbose=1"):
            assert await there.ask(target) == (status, "\n".join([*lines, ""]))


@with_sockets
async def test_failing_check(caplog: pytest.LogCaptureFixture) -> None:
    """A check that fails to say how it is leaves nothing ready, and is told in the log alone; the daemon lives."""
    async with served() as there:
        status, text = await there.ask("/readyz")
        assert (status, "asked" in text) == (500, False)
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("fbsessiond.http_interface", "ERROR")
        assert "this isn't asked how it is" in caplog.text
        assert await there.ask("/livez") == (200, "alive\n")


@with_sockets
async def test_metrics() -> None:
    """Metrics are those of the moment, in their own format."""
    async with served() as there:
        there.metrics.gauges.read = lambda: Readings(standings=[Standing(agents=3)])
        answer, text = await there.answer("/metrics")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert '\nfbsessiond_agents{group="default"} 3.0\n' in text
        there.metrics.gauges.read = lambda: Readings(standings=[Standing(agents=4)])
        assert '\nfbsessiond_agents{group="default"} 4.0\n' in (await there.ask("/metrics"))[1]


@pytest.mark.parametrize("target", [*PATHS, "/", "/nowhere"])
@with_sockets
async def test_headers(target: str) -> None:
    """No answer is kept by anybody, or taken for anything but text; HEAD brings the same without the text."""
    async with served(ANY_PORT, FINE) as there:
        answer, text = await there.answer(target)
        head, nothing = await there.answer(target, "HEAD")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"].startswith("text/plain; ")
    assert (head.status, nothing) == (answer.status, "")
    assert head.headers["Content-Length"] == str(len(text)) or target == "/metrics", "metrics go on"


@pytest.mark.parametrize("target", ["/", "/livez/", "/LIVEZ", "/readyz/verbose", "/metrics/../x", "/%2e%2e/x", "/%0A"])
@with_sockets
async def test_nothing_here(target: str) -> None:
    """Where nothing is, it says what there is."""
    async with served() as there:
        words = "there is nothing here; there is /livez, /readyz, /readyz?verbose, /metrics\n"
        assert await there.ask(target) == (404, words)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@with_sockets
async def test_methods(method: str) -> None:
    """There is nothing to do here but to read."""
    async with served() as there:
        for target in ("/livez", "/nowhere"):
            answer, text = await there.answer(target, method)
            assert (answer.status, answer.headers["Allow"], text) == (405, "GET, HEAD", "only GET and HEAD\n")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8707", "127.9.9.9", "[::1]", "[::1]:8707"])
@with_sockets
async def test_hosts(host: str) -> None:
    """This machine can be asked for by each of its names, with any port: it may be forwarded."""
    async with served() as there:
        assert (await there.ask("/livez", Host=host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8707",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:127.0.0.1",
        "localhost@evil.example",
        "192.168.1.1:8707",
        "[2001:db8::1]",
        "0.0.0.0",  # noqa: S104  asked for, not bound
        "[]",
        "]",
        "",
    ],
)
@with_sockets
async def test_other_hosts(host: str) -> None:
    """Who asks for another host gets nothing: a web page may have led a browser here."""
    async with served() as there:
        for target in ("/livez", "/metrics", "/nowhere"):
            status, text = await there.ask(target, Host=host)
            assert (status, text) == (403, "the Host header should be this machine's: localhost, 127.0.0.1 or [::1]\n")


@with_sockets
async def test_no_host() -> None:
    """A plain old probe, which sends no Host, is no browser's, and is answered."""
    async with served() as there:
        answer = await there.send(b"GET /livez HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nalive\n")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 3_000),
        b"%sA: %s\r\n\r\n" % (WHOLE, b"a" * 9_000),
        b"\x16\x03\x01 who speaks TLS\r\n\r\n",
    ],
)
@with_sockets
async def test_limits(request_head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What is longer than anybody needs, or isn't HTTP, is refused, and the connection ends; the log isn't filled."""
    async with served() as there:
        assert (await there.send(request_head)).startswith(b"HTTP/1.0 400 Bad Request\r\n")
        assert await there.ask("/livez") == (200, "alive\n")
    assert caplog.records == []


@with_sockets
async def test_bodies() -> None:
    """A body is read by nobody: the answer comes before it, and the rest of it isn't waited for long."""
    async with served() as there:
        began = asyncio.get_running_loop().time()
        answer = await there.send(WHOLE + b"Content-Length: 1000000000\r\n\r\nabc")
        assert answer.endswith(b"\r\n\r\nalive\n")
        assert asyncio.get_running_loop().time() - began <= LINGERING_SECONDS + 1


@with_sockets
async def test_idle_connections() -> None:
    """A connection on which nothing is asked is closed after a while."""
    async with served() as there:
        began = asyncio.get_running_loop().time()
        assert await there.send(b"") == b""
        assert IDLE_SECONDS <= asyncio.get_running_loop().time() - began <= IDLE_SECONDS + 1


@with_sockets
async def test_stop() -> None:
    """It stops at once, whoever is connected, and its port is free."""
    async with served() as there:
        connections = [await there.connect() for _ in range(3)]
        for (_, writer), begun in zip(connections, (b"", b"GET /livez", WHOLE + b"\r\n"), strict=True):
            writer.write(begun)
        assert await there.ask("/livez") == (200, "alive\n")
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began <= LINGERING_SECONDS
    received = [await reader.read() for reader, _ in connections]
    assert [data[:15] for data in received] == [b"", b"", b"HTTP/1.1 200 OK"]
    for _, writer in connections:
        writer.close()
    async with served(there.address.removeprefix("http://")) as again:
        assert again.address == there.address


@with_sockets
async def test_stop_with_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that doesn't read its answer holds up the stop for a moment only."""
    async with served() as there:
        monkeypatch.setattr(there.metrics, "exposition", lambda: (bytes(2**25), "text/plain"))
        reader, writer = await there.connect()
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert await reader.readexactly(8) == b"HTTP/1.0"
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began <= 2 * LINGERING_SECONDS
    writer.transport.abort()


@with_sockets
async def test_port_in_use() -> None:
    """A port that is taken is told with what to do."""
    async with served() as there:
        place = there.address.removeprefix("http://")
        assert await refusal(place) == f"http.listen: can't listen on {place}: Address already in use"
        assert await there.ask("/livez") == (200, "alive\n")


@with_sockets
async def test_unix_socket(tmp_path: Path) -> None:
    """On a Unix socket it serves its own user alone, whatever Host is asked for, and leaves nothing behind."""
    path = tmp_path / "s"
    before = os.umask(0)
    try:
        async with served(f"unix:{path}", FINE) as there:
            assert path.stat().st_mode & 0o777 == 0o600
            assert there.address == f"unix:{path}"
            assert await there.ask("/readyz", Host="evil.example") == (200, "ready\n")
    finally:
        os.umask(before)
    assert not path.exists()


@with_sockets
async def test_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a Unix socket is for its own user alone nobody can connect to it."""
    chmod = Path.chmod
    answers: list[int] = []

    def try_first(path: Path, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            answers.append(early.connect_ex(str(path)))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", try_first)
    async with served(f"unix:{tmp_path / 's'}") as there:
        assert await there.ask("/livez") == (200, "alive\n")
    assert answers == [errno.ECONNREFUSED]


@with_sockets
async def test_left_over_socket(tmp_path: Path) -> None:
    """The socket's file of a process that is dead is replaced."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    async with served(f"unix:{path}") as there:
        assert await there.ask("/livez") == (200, "alive\n")


@with_sockets
async def test_living_socket(tmp_path: Path) -> None:
    """A socket at which somebody answers isn't touched."""
    path = tmp_path / "s"
    async with served(f"unix:{path}") as there:
        assert await refusal(f"unix:{path}") == f"http.listen: can't listen on unix:{path}: Address already in use"
        assert await there.ask("/livez") == (200, "alive\n")


@with_sockets
async def test_busy_socket(tmp_path: Path) -> None:
    """Nor is one at which somebody listens who is too busy to answer."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        assert (await refusal(f"unix:{path}")).endswith(": Address already in use")
        assert path.is_socket()


@with_sockets
async def test_other_files(tmp_path: Path) -> None:
    """What isn't a socket is never replaced, nor what a link leads to."""
    (tmp_path / "notes").write_text("mine")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    (tmp_path / "link").symlink_to("dead")
    for name in ("notes", "link", "."):
        assert (await refusal(f"unix:{tmp_path / name}")).endswith(": Address already in use")
    assert (tmp_path / "notes").read_text() == "mine"
    assert (tmp_path / "link").is_symlink()


@with_sockets
async def test_impossible_paths(tmp_path: Path) -> None:
    """A path at which no socket can be is told, whatever the system's reason is."""
    nowhere = f"unix:{tmp_path}/nowhere/s"
    assert await refusal(nowhere) == f"http.listen: can't listen on {nowhere}: No such file or directory"
    too_long = f"unix:{tmp_path}/{'a' * 108}"
    assert await refusal(too_long) == f"http.listen: can't listen on {too_long}: AF_UNIX path too long"


@with_sockets
async def test_successor(tmp_path: Path) -> None:
    """Who stops doesn't remove what another one has put in the place of its socket; nor does it mind if it is gone."""
    path = tmp_path / "s"
    async with served(f"unix:{path}"):
        path.rename(tmp_path / "moved")
        async with served(f"unix:{path}"):
            pass
        path.write_text("another's")
    assert path.read_text() == "another's"
    path.unlink()
    async with served(f"unix:{path}"):
        path.unlink()
    assert not path.exists()


@with_sockets
async def test_failing_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can't start for a reason of its own, no socket is left open, and no file."""

    async def fail(_: object) -> None:
        raise KeyError

    monkeypatch.setattr(web.SockSite, "start", fail)
    with pytest.raises(KeyError):
        async with serving(f"unix:{tmp_path / 's'}", list, Metrics(VirtualClock()).exposition, VirtualClock()):
            pass
    assert not (tmp_path / "s").exists()


@with_sockets
async def test_page(tmp_path: Path) -> None:
    """With a page there is more to see, and still nothing for whoever asks for another host."""
    async with served_page(tmp_path) as there:
        assert (await there.get("/"))[1].startswith("<!doctype html>")
        assert (await there.get("/livez")) == (200, "alive\n")
        for path in ("/", "/page/page.js", "/api/overview", "/events"):
            assert (await there.get(path, Host="evil.example"))[0] == 403


@with_sockets
async def test_page_on_a_unix_socket(tmp_path: Path) -> None:
    """A browser that is led to a Unix socket, by way of a proxy, sees nothing of the page; a probe asks as it likes."""
    async with served_page(tmp_path, f"unix:{tmp_path / 's'}") as there:
        assert (await there.get("/api/overview"))[0] == 200
        assert (await there.get("/api/overview", Host="evil.example"))[0] == 403
        assert (await there.get("/metrics", Host="evil.example"))[0] == 200


@with_sockets
async def test_beyond_this_machine(tmp_path: Path) -> None:
    """From beyond this machine nothing but `/livez` can be asked without the token, and any host is asked for."""
    async with served_page(tmp_path, "0.0.0.0:0") as there:
        assert await there.get("/livez", Host="gws.example") == (200, "alive\n")
        for path in ("/readyz", "/metrics", "/nowhere"):
            words = "this needs the token: sign in, or send it as a bearer\n"
            assert await there.get(path, Host="gws.example") == (401, words)
        assert await there.get("/readyz", Authorization=f"Bearer {TOKEN}") == (200, "ready\n")
        assert await there.get("/readyz", Authorization="Bearer x") == (401, "that isn't the token\n")

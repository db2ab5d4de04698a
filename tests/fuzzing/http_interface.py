"""The HTTP interface, described as OpenAPI and asked whatever comes to mind: in its words, and in any bytes."""

import asyncio
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import unquote

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from fbsessiond.clock import SystemClock
from fbsessiond.http_interface import serving
from fbsessiond.metrics import Metrics
from fbsessiond.readiness import Check

HOST: Final = "127.0.0.1"
ANSWER_SECONDS: Final = 10.0

PATIENCE_SECONDS: Final = 0.05
"""How long to wait for an answer to what may be no whole request."""

REFUSALS: Final = frozenset({400, 403, 404, 405, 413, 417, 431})
"""What is said to what isn't asked as it should be."""


def _said(*statuses: int, exactly: str = "text/plain; charset=utf-8") -> dict[str, Any]:
    content = {exactly: {"schema": {"type": "string", "minLength": 1}}}
    headers = {name: {"required": True, "schema": {"const": value}} for name, value in HEADERS.items()}
    return {str(status): {"description": "said", "content": content, "headers": headers} for status in statuses}


HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

DESCRIPTION: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "fbsessiond", "version": "1"},
    "paths": {
        "/livez": {"get": {"responses": _said(200)}},
        "/readyz": {
            "get": {
                "parameters": [{"name": "verbose", "in": "query", "schema": {"type": "string"}}],
                "responses": _said(200, 503),
            }
        },
        "/metrics": {"get": {"responses": _said(200, exactly="text/plain; version=1.0.0; charset=utf-8")}},
    },
}
"""What there is, and all that it can answer."""


@contextmanager
def served() -> Generator[int, None, None]:
    """Serve on a loopback port, in a thread of its own; every other time that it is asked it is ready."""
    asked: list[int] = []

    def check() -> Sequence[Check]:
        asked.append(1)
        is_well = bool(len(asked) % 2)
        return [Check("connection agent1", is_well, "connected" if is_well else "refused: 403 denied")]

    async def serve() -> None:
        ended = asyncio.Event()
        async with serving(f"{HOST}:0", check, Metrics(SystemClock()).exposition, SystemClock()) as address:
            assert address is not None
            places.append((asyncio.get_running_loop(), ended, int(address.rpartition(":")[2])))
            is_there.set()
            await ended.wait()

    places: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = []
    is_there = threading.Event()
    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    assert is_there.wait(ANSWER_SECONDS), "it doesn't serve"
    (loop, ended, port) = places[0]
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def sent(port: int, request: bytes, seconds: float = ANSWER_SECONDS) -> bytes:
    """Send bytes on a connection of their own, and return what comes back, until nothing more does for a while."""
    answer = b""
    with socket.create_connection((HOST, port), ANSWER_SECONDS) as connection, suppress(OSError):
        connection.sendall(request)
        connection.settimeout(seconds)
        while part := connection.recv(65_536):
            answer += part
    return answer


WORDS = st.sampled_from(
    [
        *(b"GET", b"HEAD", b"POST", b"OPTIONS", b"/livez", b"/readyz?verbose", b"/metrics", b"/", b"*"),
        *(b"http://x/livez", b"HTTP/1.1", b"HTTP/1.0", b"Host: localhost", b"Host: evil.example"),
        *(b"Content-Length: 5", b"Expect: x", b"Transfer-Encoding: chunked", b"Connection: close"),
        *(b"0\r\n", b"\r\n", b" ", b"x" * 5000, b"%00", b"\x00"),
    ]
)
LINES = st.lists(WORDS | st.binary(max_size=20), max_size=12).map(b" ".join)
REQUESTS = st.lists(LINES, max_size=6).map(b"\r\n".join).map(lambda lines: lines + b"\r\n\r\n") | st.binary(
    max_size=300
)


def ask_anything(port: int, examples: int, number: int) -> None:
    """Send any bytes: what comes back is an answer of HTTP that isn't the server's fault, or nothing; and it lives."""

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None)
    @given(request=REQUESTS)
    def ask(request: bytes) -> None:
        answer = sent(port, request, PATIENCE_SECONDS)
        assert not answer or answer.startswith(b"HTTP/1."), answer
        for status in (int(part[4:7]) for part in answer.split(b"HTTP/1.")[1:] if part[4:7].isdigit()):
            assert status in {100, 200, 503, *REFUSALS}, answer
        assert b"alive" in sent(port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    ask()


def ask_oddly(port: int, examples: int, number: int) -> None:
    """Ask by any method for any path: only GET and HEAD, and only of what there is, and the answer says which."""
    methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    paths = st.from_regex(r"/[a-z%0-9./]{0,20}(\?[a-z=&]{0,8})?", fullmatch=True) | st.sampled_from(
        [*DESCRIPTION["paths"], "/readyz?verbose", "/livez/", "//livez", "/LIVEZ"]
    )

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None)
    @given(method=methods, path=paths)
    def ask(method: str, path: str) -> None:
        answer = sent(port, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        status, is_there = int(answer[9:12]), unquote(path.partition("?")[0]) in DESCRIPTION["paths"]
        if method not in {"GET", "HEAD"}:
            assert (status, b"\r\nAllow: GET, HEAD\r\n" in answer) == (405, True)
        else:
            assert status in ({200, 503} if is_there else {404})
        assert all(f"\r\n{name}: {value}\r\n".encode() in answer for name, value in HEADERS.items())
        assert (method == "HEAD") == answer.endswith(b"\r\n\r\n")

    ask()


def ask_as_described(port: int, examples: int, number: int) -> None:
    """Ask all that the description allows, and what it doesn't, by schemathesis: each answer is as described."""
    import schemathesis  # noqa: PLC0415  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    found: Any = schemathesis
    schema = found.openapi.from_dict(DESCRIPTION)
    schema.config.update(base_url=f"http://{HOST}:{port}")
    for result in schema.get_all_operations():
        cases = result.ok().as_strategy()

        @seed(number)
        @settings(max_examples=examples, deadline=None, database=None)
        @given(case=cases)
        def ask(case: Any) -> None:
            case.call_and_validate(excluded_checks=[found.checks.not_a_server_error])  # 503 is as described

        run: Callable[[], None] = ask
        run()

"""fbsessiond.cometd.exchange: one request, with a limit on everything."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from cometd_servers import LOOPBACK, run_with_sockets
from fbsessiond import limits
from fbsessiond.cometd.exchange import ExchangeError, Response, failure_of, get, post
from fbsessiond.cometd.rules import CONNECT_SECONDS, Cause
from virtual_network import run_networked

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncGenerator[str]:
    """Answer each request in the given way, and say where."""
    application = web.Application()
    application.router.add_route("*", "/", serve)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    try:
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def exchanged(serve: Serve, limit_seconds: float = 10.0) -> Response:
    """Post to a server that answers in the given way."""

    async def scenario() -> Response:
        async with serving(serve) as url, aiohttp.ClientSession() as session:
            return await post(session, url, b"[]", headers={"Authorization": "x"}, limit_seconds=limit_seconds)

    return run_networked(scenario())


def failed(serve: Serve) -> ExchangeError:
    """Post to a server that fails in the given way, and return the error."""
    with pytest.raises(ExchangeError) as caught:
        exchanged(serve)
    return caught.value


def test_a_response_is_its_body_and_headers() -> None:
    """What is sent has the headers that are asked for, and JSON's type."""

    async def serve(request: web.Request) -> web.Response:
        assert (request.headers["Authorization"], request.content_type) == ("x", "application/json")
        return web.Response(body=await request.read(), headers={"X-Given": "1"})

    response = exchanged(serve)
    assert (response.body, response.headers["X-Given"]) == (b"[]", "1")


def test_a_get_has_the_same_limits() -> None:
    """It fails like a post."""

    async def serve(request: web.Request) -> web.Response:
        return web.Response(status=401 if "Authorization" in request.headers else 200)

    async def scenario() -> None:
        async with serving(serve) as url, aiohttp.ClientSession() as session:
            assert (await get(session, url, headers={})).body == b""
            with pytest.raises(ExchangeError) as caught:
                await get(session, url, headers={"Authorization": "x"})
            assert caught.value.cause is Cause.REFUSED

    run_networked(scenario())


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, b"", Cause.REFUSED),
        (403, b'{"statusCode":20,"statusMessage":"Access denied"}', Cause.REFUSED),
        (403, b'{"statusCode":5}', Cause.FORBIDDEN),
        (403, b"Missing or invalid Csrf token", Cause.FORBIDDEN),
        (302, b"", Cause.STATUS),
        (503, b'{"statusCode":4}', Cause.STATUS),
    ],
)
def test_a_status_says_what_follows(status: int, body: bytes, cause: Cause) -> None:
    """Refused credentials are told from other problems; a redirect isn't followed."""

    async def serve(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})

    error = failed(serve)
    assert (error.cause, error.words) == (cause, f"HTTP status {status}")


def test_a_response_that_announces_too_much_is_not_read() -> None:
    """Its length alone is enough."""

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(limits.RESPONSE_BYTES + 1)})
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    assert failed(serve).cause is Cause.TOO_LONG


def test_a_response_that_turns_out_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a length it is counted while it is read."""
    monkeypatch.setattr(limits, "RESPONSE_BYTES", 1_000_000)
    sent = 0

    async def serve(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while sent < 50_000_000:
            await response.write(b" " * 100_000)
            sent += 100_000
        return response

    assert failed(serve).cause is Cause.TOO_LONG
    assert sent < 50_000_000


def test_a_server_that_never_answers() -> None:
    """The wait ends at the limit."""

    async def serve(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def scenario() -> float:
        async with serving(serve) as url, aiohttp.ClientSession() as session:
            with pytest.raises(ExchangeError) as caught:
                await post(session, url, b"[]", headers={}, limit_seconds=35.0)
            assert caught.value.cause is Cause.TIMED_OUT
            return asyncio.get_running_loop().time()

    assert run_networked(scenario()) == pytest.approx(35.0, abs=1.0)


def dripping(pause_seconds: float, pieces: int) -> Serve:
    """Return a server that sends a body in pieces, with pauses."""

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(pieces):
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), pause_seconds)
            await response.write(b" ")
        return response

    return serve


def test_a_slow_body_is_waited_for() -> None:
    """Each piece has its own time, so that a long hold before them takes none of it."""
    assert exchanged(dripping(4.0, 10), limit_seconds=1.0).body == b" " * 10


@pytest.mark.parametrize(("pause_seconds", "pieces"), [(6.0, 2), (4.0, 100)], ids=["silent", "endless"])
def test_a_body_that_stops_or_drips_for_ever(pause_seconds: float, pieces: int) -> None:
    """Neither silence within a body nor a trickle is waited for any longer."""
    assert failed(dripping(pause_seconds, pieces)).cause is Cause.TIMED_OUT


def test_a_body_cut_in_the_middle() -> None:
    """Half a response is none."""

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"[")
        assert request.transport is not None
        request.transport.close()
        return response

    assert failed(serve).cause is Cause.CUT


def test_a_server_that_is_not_there() -> None:
    """The error says so, and names no URL."""

    async def scenario() -> ExchangeError:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(ExchangeError) as caught:
                await post(session, f"http://{LOOPBACK}:1/secret", b"", headers={}, limit_seconds=1.0)
            return caught.value

    error = run_networked(scenario())
    assert error.cause is Cause.UNREACHABLE
    assert "secret" not in str(error)


def test_a_server_that_does_not_take_the_connection() -> None:
    """After two seconds it counts as not there: nothing was sent yet, however long an answer may take."""

    async def scenario() -> None:
        listener = socket.create_server((LOOPBACK, 0), backlog=0)
        with listener, ExitStack() as waiting:
            for _ in range(4):  # more than it lets wait: the next connection isn't answered
                each = waiting.enter_context(socket.socket())
                each.setblocking(False)
                each.connect_ex(listener.getsockname())
            async with aiohttp.ClientSession() as session:
                url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/secret"
                with pytest.raises(ExchangeError) as caught:
                    await post(session, url, b"", headers={}, limit_seconds=35.0)
        assert (caught.value.cause, caught.value.words) == (Cause.UNREACHABLE, "no connection in time")
        assert asyncio.get_running_loop().time() == pytest.approx(CONNECT_SECONDS, abs=0.1)

    run_with_sockets(scenario())


def test_a_reset_is_a_cut() -> None:
    """Whatever the system calls it."""
    assert failure_of(ConnectionResetError()).cause is Cause.CUT


async def test_a_refused_websocket_is_judged_by_its_status() -> None:
    """A server that doesn't speak websocket answers with a status, like any other."""

    async def serve(_: web.Request) -> web.Response:
        return web.Response(status=401)

    async with serving(serve) as url, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(url)
    assert failure_of(caught.value).cause is Cause.REFUSED

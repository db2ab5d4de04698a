"""One POST, with a limit on everything, and one error for whatever becomes of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import msgspec
from aiocometd.exceptions import TransportError

from fbsessiond import limits
from fbsessiond.cometd.rules import ANSWER_SECONDS, CONNECT_SECONDS, SLACK_SECONDS, Cause

BODY_SECONDS = 60.0
"""How long a whole body may take, however steadily it drips."""

PROBLEM_BYTES = 64 * 1024
"""How much is read of a body that only explains an HTTP status."""

NOT_AUTHENTICATED = 20
"""GWS's `statusCode` for "not authenticated": other 403s are about CSRF or permissions. [GWS 8.6.0, Return Values]"""


class ExchangeError(TransportError):
    """An exchange came to nothing. The rules say what follows from its cause; its text is fit for a log."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause
        self.words = words


@dataclass(frozen=True, slots=True)
class Response:
    """A response with status 200."""

    body: bytes
    headers: Mapping[str, str]


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, *, headers: Mapping[str, str], limit_seconds: float
) -> Response:
    """Send a body, and return the response if it comes within the limit. Raises `ExchangeError` in any other case."""
    return await _request(session, "POST", url, headers=headers, limit_seconds=limit_seconds, body=body)


async def get(session: aiohttp.ClientSession, url: str, *, headers: Mapping[str, str]) -> Response:
    """Fetch what the server answers at once. Raises `ExchangeError` for anything but a response with status 200."""
    return await _request(session, "GET", url, headers=headers, limit_seconds=ANSWER_SECONDS)


async def _request(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    limit_seconds: float,
    body: bytes | None = None,
) -> Response:
    # No redirects: they lead to login pages, and the credentials are for this URL only.
    request = session.request(
        method,
        url,
        data=body,
        headers={**headers, "Content-Type": "application/json;charset=UTF-8"},
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
    )
    try:
        async with asyncio.timeout(limit_seconds) as deadline, request as response:
            if response.status != 200:  # noqa: PLR2004  OK
                raise _failure_of_status(response.status, await _read(response, deadline, PROBLEM_BYTES))
            return Response(await _read(response, deadline, limits.RESPONSE_BYTES), response.headers)
    except (aiohttp.ClientError, OSError) as error:
        raise failure_of(error) from None


async def _read(response: aiohttp.ClientResponse, deadline: asyncio.Timeout, limit_bytes: int) -> bytes:
    """Read a body: each next piece within the slack, all of it within its own time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + BODY_SECONDS
    pieces: list[bytes] = []
    size = response.content_length or 0
    if size <= limit_bytes:
        size = 0
        deadline.reschedule(min(loop.time() + SLACK_SECONDS, end))
        async for piece in response.content.iter_any():
            deadline.reschedule(min(loop.time() + SLACK_SECONDS, end))
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                break
    if size > limit_bytes:
        raise ExchangeError(Cause.TOO_LONG, f"a response of more than {limit_bytes} bytes")
    return b"".join(pieces)


def failure_of(error: Exception) -> ExchangeError:
    """Say what became of an exchange in the one error that the rules know; its text names no URL and no header."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return ExchangeError(Cause.UNREACHABLE, "no connection in time")
        case TimeoutError():
            return ExchangeError(Cause.TIMED_OUT, "no answer in time")
        case aiohttp.WSServerHandshakeError():
            return _failure_of_status(error.status, b"")
        case aiohttp.ClientConnectorError():
            return ExchangeError(Cause.UNREACHABLE, error.strerror or type(error.os_error).__name__)
        case _:
            return ExchangeError(Cause.CUT, type(error).__name__)


def _failure_of_status(status: int, body: bytes) -> ExchangeError:
    if status == 401 or (status == 403 and _status_code(body) == NOT_AUTHENTICATED):  # noqa: PLR2004  HTTP's numbers
        return ExchangeError(Cause.REFUSED, f"HTTP status {status}")
    cause = Cause.FORBIDDEN if status == 403 else Cause.STATUS  # noqa: PLR2004  HTTP's number
    return ExchangeError(cause, f"HTTP status {status}")


class _Problem(msgspec.Struct):
    statusCode: int | None = None  # noqa: N815  GWS's name


def _status_code(body: bytes) -> int | None:
    try:
        return msgspec.json.decode(body, type=_Problem).statusCode
    except ValueError:
        return None

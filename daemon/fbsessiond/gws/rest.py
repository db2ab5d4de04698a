"""The client of the REST API: an agent's sessions, and the operations on them.

Requests go to the configured platform and nowhere else: never to an address that a message carries, and no redirect is
followed. No path leaves this module without a session id that was checked when it was read.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp

from fbsessiond.errors import RefusedError, UnavailableError
from fbsessiond.gws.access import Access
from fbsessiond.gws.answers import PASSED_ON, Answer, GwsError, InDoubt, NotPerformed, check_performed, read_answer
from fbsessiond.gws.requests import RequestEnded, RequestResult, result_of
from fbsessiond.notification import Document
from fbsessiond.operations import Operation

REQUEST_SECONDS = 20.0
"""How long a request may take, its answer read."""

CONNECT_SECONDS = 10.0
"""How long a connection may take to be there, the wait for a free one included; until then nothing was sent."""

REFUSAL_SECONDS = 60.0
"""How long credentials that were good are tried again: a server refuses all while what checks them restarts."""

FUTILE_SECONDS = 600.0
"""How long nobody signs in again for an answer "not signed in" that a good sign-in didn't change: each one ends the
HTTP session, and the notification connection with it."""

SIGN_IN_SPACING_SECONDS = 4.0
"""The least time between two sign-ins of which the first was refused."""

BODY_BYTES = 8 * 1024 * 1024
"""The longest answer that is read: a thousand sessions of the documented sample's size."""


_FUTILE = "GWS let the agent sign in, and says 'not signed in' all the same"


class Rest:
    """One agent's view of the REST API. It shares cookies and CSRF token with the notification connection."""

    def __init__(self, url: str, access: Access, observe: Callable[[RequestEnded], None] = lambda _: None) -> None:
        """Take the platform's base address, without `/api/v2`, and who is told what becomes of each request."""
        self._observe = observe
        self._base = f"{url.rstrip('/')}/api/v2"
        self._access = access
        self._signing_in = asyncio.Lock()
        self._sign_ins = 0
        self._is_refused = False
        self._was_good = False
        self._first_refused_at: float | None = None
        self._last_refused_at = float("-inf")
        self._futile_until = float("-inf")

    async def sessions(self) -> list[Document] | None:
        """Return the agent's sessions; None where the answer doesn't say, which isn't the same as none.

        A server whose multimedia part is down answers without the key, and with `statusCode` 0. Raises
        `UnavailableError` where GWS doesn't answer, `RefusedError` where it refuses the credentials.
        """
        answer = await self._get("/me/facebooksessions?fields=*") or {}
        found = answer.get("facebooksessions")
        is_whole = answer.get("statusCode") == 0  # 7 says that a part of it succeeded [a log of GWS 8.5.202]
        if not is_whole or not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            return None
        return found

    async def session(self, session: str) -> Document | None:
        """Return a session; None where it isn't among the agent's any more. Raises as `sessions` does.

        It is looked for in the list: only that is documented to show sessions [GWS 8.5.2, FacebookSessionResource].
        """
        found = await self.sessions()
        if found is None:
            raise UnavailableError("GWS answers without a list of sessions, which isn't the same as an empty one")
        return next((each for each in found if each.get("id") == session), None)

    async def operate(self, operation: Operation) -> Answer:
        """Ask for an operation; a return means "passed on", not "done".

        Raises `NotPerformed` where nothing changed, `InDoubt` where nobody can tell, `RefusedError` where GWS refuses
        the credentials.
        """
        path = f"/me/facebooksessions/{quote(operation.session, safe='')}"
        return check_performed(await self._exchange("POST", path, operation.body))

    async def _get(self, path: str) -> Document | None:
        try:
            return check_performed(await self._exchange("GET", path)).body
        except GwsError as error:
            raise UnavailableError(f"GET {path}: {error}") from error

    async def _exchange(self, method: str, path: str, body: Document | None = None) -> Answer:
        """Send a request; sign in, or fetch the CSRF token, and send it once more, where that is what it lacks."""
        before = self._sign_ins
        answer = await self._send(method, path, body)
        now = asyncio.get_running_loop().time()
        if answer.is_not_signed_in and now < self._futile_until:
            raise NotPerformed(_FUTILE, code=answer.code, again=True)
        if answer.is_not_signed_in or answer.is_without_csrf_token:
            await self._sign_in(before, afresh=answer.is_not_signed_in)
            answer = await self._send(method, path, body)
            if answer.is_not_signed_in:  # the credentials are good, as the sign-in just showed
                self._futile_until = now + FUTILE_SECONDS
                raise NotPerformed(_FUTILE, code=answer.code, again=True)
            if answer.is_without_csrf_token:
                raise NotPerformed("GWS refuses the CSRF token that it just gave", again=False)
        return answer

    async def _sign_in(self, before: int, *, afresh: bool) -> None:
        """Ask who the agent is: that sets the cookies, and brings the CSRF token [GWS 8.5.2, CSRF protection].

        Requests that fail together share one sign-in: none is made where there was one since `before`.
        """
        async with self._signing_in:
            if self._is_refused:
                raise self._refusal()
            if self._sign_ins != before:
                return
            now = asyncio.get_running_loop().time()
            if now - self._last_refused_at < SIGN_IN_SPACING_SECONDS:
                raise NotPerformed("not signed in, and GWS refused the credentials just now", again=True)
            if afresh:
                self._access.forget()
            try:
                answer = await self._send("GET", "/me")
            except GwsError as error:
                raise NotPerformed(f"not signed in, and the fresh sign-in failed: {error}", again=True) from error
            if answer.is_not_signed_in:
                raise self._refused(now)
            self._sign_ins += 1

    def _refused(self, now: float) -> RefusedError | NotPerformed:
        """Judge credentials that were refused, freshly sent: they may have been good a moment ago."""
        self._last_refused_at = now
        if self._first_refused_at is None:
            self._first_refused_at = now
        if self._was_good and now - self._first_refused_at < REFUSAL_SECONDS:
            return NotPerformed("GWS refuses the credentials, which were good before", again=True)
        return self._refusal()

    def _refusal(self) -> RefusedError:
        """Note that the credentials are refused, so that nothing is sent with them any more."""
        self._is_refused = True
        return RefusedError("GWS refuses the credentials: correct them")

    async def _send(self, method: str, path: str, body: Document | None = None) -> Answer:
        """Send one request, read its answer, and tell what became of it. Raises as `_ask` does."""
        if self._is_refused:
            raise self._refusal()
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        operation = None if body is None else body.get("operationName")
        result, status = RequestResult.CUT, None
        try:
            answer = await self._ask(method, path, body)
            result, status = result_of(answer), answer.http
        except GwsError as error:
            result = _result_of_none(error)
            raise
        finally:
            self._observe(RequestEnded(method, operation, result, status, loop.time() - began_at))
        if answer.code in PASSED_ON:  # any other answer may be a proxy's, or come before the credentials are looked at
            self._was_good, self._first_refused_at = True, None
        return answer

    async def _ask(self, method: str, path: str, body: Document | None) -> Answer:
        """Send one request and read its answer. Raises `NotPerformed` where it never got there, else `InDoubt`."""
        arguments: dict[str, Any] = {
            "headers": self._access.headers(method),
            "allow_redirects": False,
            "timeout": aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
        }
        if body is not None:
            arguments["json"] = body
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                async with self._access.session.request(method, self._base + path, **arguments) as response:
                    return read_answer(response.status, await _read(response))
        except aiohttp.ClientConnectorError as error:
            raise NotPerformed(f"no connection: {error}", again=True) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NotPerformed(f"no connection within {CONNECT_SECONDS:g} s", again=True) from error
        except TimeoutError as error:
            raise InDoubt(f"no answer within {REQUEST_SECONDS:g} s") from error
        except aiohttp.ClientError as error:
            raise InDoubt(f"the connection broke before the answer was complete: {type(error).__name__}") from error


def _result_of_none(error: GwsError) -> RequestResult:
    """Return what became of a request that wasn't answered."""
    match error.__cause__:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return RequestResult.NO_CONNECTION
        case TimeoutError():
            return RequestResult.NO_ANSWER
        case _:
            return RequestResult.CUT


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > BODY_BYTES:
            raise InDoubt(f"an answer of more than {BODY_BYTES} bytes")
    return bytes(content)

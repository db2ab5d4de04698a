"""What GWS answers to an HTTP request: sign-in, CSRF, resources, CometD, faults. No sockets: `http` has those."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from fbsessiond.chance import Chance, choose
from fbsessiond.simulator.back_end import BackEnd
from fbsessiond.simulator.bayeux import BayeuxServer, Superseded
from fbsessiond.simulator.control import CONTROL, Control
from fbsessiond.simulator.exchange import Request, Response, answered, decoded, ok, refused
from fbsessiond.simulator.faults import FaultKind, Faults, Where
from fbsessiond.simulator.http_sessions import COOKIE, CSRF_HEADER, HttpSession, HttpSessions
from fbsessiond.simulator.operations import OPERATIONS, Refusal, StatusCode
from fbsessiond.simulator.platform import Platform

NOTIFICATIONS = "/api/v2/notifications"
SERVER_ERRORS = ((500, "Internal error"), (503, "Service is not available at this time"))
"""HTTP status and message, both with `statusCode` 4 [GWS 8.5.2, Error Handling; a log of a real server]."""

UNCHANGING = frozenset({"GET", "HEAD", "OPTIONS"})


Handler: TypeAlias = Callable[[Request, HttpSession, str], Awaitable[Response]]


class Front:
    """Answers requests one by one; several at a time, as they come."""

    def __init__(
        self,
        platform: Platform,
        back_end: BackEnd,
        bayeux: BayeuxServer,
        faults: Faults,
        sessions: HttpSessions,
        chance: Chance,
        *,
        csrf: bool,
    ) -> None:
        self._platform = platform
        self._back_end = back_end
        self._bayeux = bayeux
        self._faults = faults
        self._sessions = sessions
        self._chance = chance
        self._csrf = csrf
        self._control = Control(platform, bayeux, faults)
        self._routes: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
            ("POST", re.compile(rf"{NOTIFICATIONS}(?:/.*)?()"), self._notify),
            ("GET", re.compile(r"/api/v2/me/?()"), self._me),
            ("POST", re.compile(r"/api/v2/me/?()"), self._contact_centre_session),
            ("GET", re.compile(r"/api/v2/me/facebooksessions/?()"), self._list),
            ("GET", re.compile(r"/api/v2/me/facebooksessions/([^/]+)"), self._one),
            ("POST", re.compile(r"/api/v2/me/facebooksessions/([^/]+)"), self._operate),
        )

    async def answer(self, request: Request) -> Response | None:
        """Answer a request; None: the connection is to be cut instead."""
        if request.path.startswith(CONTROL):
            return self._control.answer(request)
        where = _where(request)
        if self._faults.strikes(FaultKind.DROP_REQUEST, where):
            return None
        if self._faults.strikes(FaultKind.HANG, where):
            await asyncio.Event().wait()
        if fault := self._faults.strikes(FaultKind.SLOW, where):
            await asyncio.sleep(fault.pause.total_seconds())
        response = await self._answer(request, where)
        if self._faults.strikes(FaultKind.DROP, where):
            return None
        return replace(response, cut=True) if self._faults.strikes(FaultKind.CUT, where) else response

    async def _answer(self, request: Request, where: Where) -> Response:
        if self._faults.strikes(FaultKind.SERVER_ERROR, where):
            status, message = choose(self._chance, SERVER_ERRORS)
            return answered(status, {"statusCode": StatusCode.INTERNAL_ERROR, "statusMessage": message})
        if self._faults.strikes(FaultKind.UNAUTHORIZED, where):
            return Response(401, b"", "text/plain")
        if self._faults.strikes(FaultKind.FORBIDDEN, where):
            return Response(403, b"Forbidden", "text/plain")
        session = self._sessions.find(request.cookies.get(COOKIE), request.headers.get("authorization"))
        if session and self._faults.strikes(FaultKind.NOT_SIGNED_IN, where, agent=session.agent):
            self._sessions.end(session)
            session = None
        if session is None:
            return refused(Refusal(StatusCode.NOT_AUTHENTICATED, "Access denied"))
        response = await self._answer_signed_in(request, session)
        return self._with_session(request, response, session)

    async def _answer_signed_in(self, request: Request, session: HttpSession) -> Response:
        token = request.headers.get(CSRF_HEADER.lower())
        if self._csrf and request.method not in UNCHANGING and token != session.csrf:
            return Response(403, b"Missing or invalid Csrf token", "text/plain")
        for method, pattern, handler in self._routes:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                return await handler(request, session, match[1])
        return refused(Refusal(StatusCode.NOT_FOUND, "The requested resource could not be found"))

    def _with_session(self, request: Request, response: Response, session: HttpSession) -> Response:
        """Add the cookie of a new session, and the CSRF token, which comes with any GET [GWS 8.5.2, CSRF]."""
        headers = dict(response.headers)
        if request.cookies.get(COOKIE) != session.id:
            headers["Set-Cookie"] = f"{COOKIE}={session.id}; Path=/; HttpOnly"
        if self._csrf and request.method == "GET":
            headers |= {"X-CSRF-HEADER": CSRF_HEADER, CSRF_HEADER: session.csrf}
        return replace(response, headers=headers)

    async def _notify(self, request: Request, session: HttpSession, _: str) -> Response:
        """Converse by CometD, in whatever the last part of the path says: `/handshake`, `/connect` or nothing."""
        messages = decoded(request.body)
        if isinstance(messages, dict):
            messages = [messages]
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            return Response(400, b"not an array of messages", "text/plain")
        try:
            return answered(200, await self._bayeux.answer(session.agent, messages))
        except Superseded:
            return Response(408, b"another connect came", "text/plain")

    async def _me(self, _: Request, session: HttpSession, __: str) -> Response:
        path = f"/users/{self._platform.user_id(session.agent)}"
        user = {"id": path.removeprefix("/users/"), "userName": session.agent, "path": path}
        return ok(user={**user, "uri": f"{self._platform.address}/api/v2{path}"})

    async def _contact_centre_session(self, request: Request, session: HttpSession, _: str) -> Response:
        """Take Start- and EndContactCenterSession, of which the latter ends the HTTP session as well [GWS 8.5.2]."""
        parameters = decoded(request.body)
        operation = parameters.get("operationName") if isinstance(parameters, dict) else None
        if operation == "EndContactCenterSession":
            self._sessions.end(session)
        elif operation != "StartContactCenterSession":
            return refused(Refusal(StatusCode.INVALID_INPUT, "There is no such operation"))
        return ok()

    async def _list(self, request: Request, session: HttpSession, _: str) -> Response:
        """List the sessions, or only their addresses [GWS 8.6.0, Return Values]."""
        if self._faults.strikes(FaultKind.NO_LIST, agent=session.agent):
            return ok()
        sessions = self._platform.sessions(session.agent)
        if request.query.get("fields") == "*":
            return ok(facebooksessions=sessions)
        return ok(uris=[document["uri"] for document in sessions])

    async def _one(self, _: Request, session: HttpSession, wanted: str) -> Response:
        for document in self._platform.sessions(session.agent):
            if document["id"] == wanted:
                return ok(facebooksession=document)
        return refused(Refusal(StatusCode.NOT_FOUND, "The requested resource could not be found"))

    async def _operate(self, request: Request, session: HttpSession, wanted: str) -> Response:
        parameters = decoded(request.body)
        if not isinstance(parameters, dict):
            return refused(Refusal(StatusCode.INVALID_INPUT, "The request isn't a JSON object"))
        outcome = self._back_end.request(session.agent, wanted, parameters)
        if isinstance(outcome, Refusal):
            return refused(outcome)
        has_reference = OPERATIONS[outcome.operation].answers_reference
        return ok(**({"referenceId": outcome.reference} if has_reference else {}))


def _where(request: Request) -> Where:
    if request.path.startswith(NOTIFICATIONS):
        return Where.NOTIFICATIONS
    return Where.READS if request.method in UNCHANGING else Where.OPERATIONS

"""What GWS answers to an HTTP request: sign-in, CSRF, resources, CometD, faults. No sockets: `http` has those."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import msgspec
from pydantic import ValidationError

from fbsessiond.chance import Chance, choose
from fbsessiond.configuration_errors import Places, describe
from fbsessiond.simulator.back_end import BackEnd
from fbsessiond.simulator.bayeux import BayeuxServer, Superseded
from fbsessiond.simulator.bayeux_client import Client
from fbsessiond.simulator.faults import FaultKind, Faults, FaultTable, Where
from fbsessiond.simulator.http_sessions import COOKIE, CSRF_HEADER, HttpSession, HttpSessions
from fbsessiond.simulator.operations import HTTP_STATUS, OPERATIONS, Refusal, StatusCode
from fbsessiond.simulator.platform import Platform

NOTIFICATIONS = "/api/v2/notifications"
SERVER_ERRORS = ((500, "Internal error"), (503, "Service is not available at this time"))
"""HTTP status and message, both with `statusCode` 4 [GWS 8.5.2, Error Handling; a log of a real server]."""

UNCHANGING = frozenset({"GET", "HEAD", "OPTIONS"})

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names in lower case."""
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


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
        if request.path.startswith("/simulator/"):
            return self._control(request)
        where = _where(request)
        if self._faults.strikes(FaultKind.DROP_REQUEST, where):
            return None
        if fault := self._faults.strikes(FaultKind.SLOW, where):
            await asyncio.sleep(fault.pause.total_seconds())
        response = await self._answer(request, where)
        return None if self._faults.strikes(FaultKind.DROP, where) else response

    async def _answer(self, request: Request, where: Where) -> Response:
        if self._faults.strikes(FaultKind.SERVER_ERROR, where):
            status, message = choose(self._chance, SERVER_ERRORS)
            return _json(status, {"statusCode": StatusCode.INTERNAL_ERROR, "statusMessage": message})
        session = self._sessions.find(request.cookies.get(COOKIE), request.headers.get("authorization"))
        if session and self._faults.strikes(FaultKind.NOT_SIGNED_IN, where, agent=session.agent):
            self._sessions.end(session)
            session = None
        if session is None:
            return _refusal(Refusal(StatusCode.NOT_AUTHENTICATED, "Access denied"))
        response = await self._answer_signed_in(request, session)
        return self._with_session(request, response, session)

    async def _answer_signed_in(self, request: Request, session: HttpSession) -> Response:
        token = request.headers.get(CSRF_HEADER.lower())
        if self._csrf and request.method not in UNCHANGING and token != session.csrf:
            return Response(403, b"Missing or invalid Csrf token", "text/plain")
        for method, pattern, handler in self._routes:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                return await handler(request, session, match[1])
        return _refusal(Refusal(StatusCode.NOT_FOUND, "The requested resource could not be found"))

    def _with_session(self, request: Request, response: Response, session: HttpSession) -> Response:
        """Add the cookie of a new session, and the CSRF token, which comes with any GET [GWS 8.5.2, CSRF]."""
        headers = dict(response.headers)
        if request.cookies.get(COOKIE) != session.id:
            headers["Set-Cookie"] = f"{COOKIE}={session.id}; Path=/; HttpOnly"
        if self._csrf and request.method == "GET":
            headers |= {"X-CSRF-HEADER": CSRF_HEADER, CSRF_HEADER: session.csrf}
        return Response(response.status, response.body, response.content_type, headers)

    async def _notify(self, request: Request, session: HttpSession, _: str) -> Response:
        """Converse by CometD, in whatever the last part of the path says: `/handshake`, `/connect` or nothing."""
        messages = _decoded(request.body)
        if isinstance(messages, dict):
            messages = [messages]
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            return Response(400, b"not an array of messages", "text/plain")
        connecting = next((message for message in messages if message.get("channel") == "/meta/connect"), None)
        if connecting and self._faults.strikes(FaultKind.UNKNOWN_CLIENT, agent=session.agent):
            self._bayeux.forget(str(connecting.get("clientId")), "a fault")
        try:
            return _json(200, await self._bayeux.answer(session.agent, messages))
        except Superseded:
            return Response(408, b"another connect came", "text/plain")

    async def _me(self, _: Request, session: HttpSession, __: str) -> Response:
        path = f"/users/{self._platform.user_id(session.agent)}"
        user = {"id": path.removeprefix("/users/"), "userName": session.agent, "path": path}
        return _ok(user={**user, "uri": f"{self._platform.address}/api/v2{path}"})

    async def _contact_centre_session(self, request: Request, session: HttpSession, _: str) -> Response:
        """Take Start- and EndContactCenterSession, of which the latter ends the HTTP session as well [GWS 8.5.2]."""
        parameters = _decoded(request.body)
        operation = parameters.get("operationName") if isinstance(parameters, dict) else None
        if operation == "EndContactCenterSession":
            self._sessions.end(session)
        elif operation != "StartContactCenterSession":
            return _refusal(Refusal(StatusCode.INVALID_INPUT, "There is no such operation"))
        return _ok()

    async def _list(self, request: Request, session: HttpSession, _: str) -> Response:
        """List the sessions, or only their addresses [GWS 8.6.0, Return Values]."""
        sessions = self._platform.sessions(session.agent)
        if request.query.get("fields") == "*":
            return _ok(facebooksessions=sessions)
        return _ok(uris=[document["uri"] for document in sessions])

    async def _one(self, _: Request, session: HttpSession, wanted: str) -> Response:
        for document in self._platform.sessions(session.agent):
            if document["id"] == wanted:
                return _ok(facebooksession=document)
        return _refusal(Refusal(StatusCode.NOT_FOUND, "The requested resource could not be found"))

    async def _operate(self, request: Request, session: HttpSession, wanted: str) -> Response:
        parameters = _decoded(request.body)
        if not isinstance(parameters, dict):
            return _refusal(Refusal(StatusCode.INVALID_INPUT, "The request isn't a JSON object"))
        outcome = self._back_end.request(session.agent, wanted, parameters)
        if isinstance(outcome, Refusal):
            return _refusal(outcome)
        has_reference = OPERATIONS[outcome.operation].answers_reference
        return _ok(**({"referenceId": outcome.reference} if has_reference else {}))

    def _control(self, request: Request) -> Response:
        """Show the simulator's own state, or switch faults: nothing of this is a part of GWS."""
        match request.method, request.path:
            case "GET", "/simulator/state":
                return _json(200, self.state())
            case "POST", "/simulator/faults":
                return self._switch_faults(_decoded(request.body))
            case _:
                return _json(404, {"problems": ["GET /simulator/state or POST /simulator/faults"]})

    def _switch_faults(self, document: object) -> Response:
        try:
            self._faults.switch(FaultTable.model_validate(document))
        except ValidationError as error:
            return _json(400, {"problems": list(describe(error, FaultTable, document, Places()))})
        return _json(200, self._faults.state())

    def state(self) -> Json:
        """Return what goes on: sessions, effects, faults, clients, and what those acknowledged."""
        return {
            "sessions": {agent: self._sessions_of(agent) for agent in self._platform.agents},
            "effects": [{**asdict(applied), "times": times} for applied, times in self._platform.effects.items()],
            "faults": self._faults.state(),
            "published": self._bayeux.published,
            "clients": [_shown(client) for client in self._bayeux.clients.values()],
            "acknowledged": [
                {"number": sent.number, "agent": sent.agent, "client": sent.client, **sent.message}
                for sent in self._bayeux.acknowledged
            ],
        }

    def _sessions_of(self, agent: str) -> dict[str, str]:
        return {document["id"]: document["state"] for document in self._platform.sessions(agent)}


def _shown(client: Client) -> Json:
    channels = sorted(client.subscriptions)
    return {"agent": client.agent, "client": client.id, "queued": client.queued, "channels": channels}


def _where(request: Request) -> Where:
    if request.path.startswith(NOTIFICATIONS):
        return Where.NOTIFICATIONS
    return Where.READS if request.method in UNCHANGING else Where.OPERATIONS


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _ok(**attributes: Any) -> Response:
    return _json(200, {"statusCode": StatusCode.OK, **attributes})


def _refusal(refusal: Refusal) -> Response:
    """Say why, without any other attributes [GWS 8.6.0, Return Values]."""
    return _json(HTTP_STATUS[refusal.status], {"statusCode": refusal.status, "statusMessage": refusal.message})


def _json(status: int, content: object) -> Response:
    return Response(status, msgspec.json.encode(content))

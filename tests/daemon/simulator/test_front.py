"""fbsessiond.simulator.front: what GWS answers to an HTTP request, on virtual time and without sockets."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.gws.access import Basic
from fbsessiond.simulator.front import Front, Request, Response
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator
from fbsessiond.testing import VirtualClock, run_virtual
from simulator_parts import ADA

NOTIFICATIONS = "/api/v2/notifications"
SESSIONS = "/api/v2/me/facebooksessions"
BASIC = Basic("agent1", "simulated").authorization()
DENIED = (403, {"statusCode": 20, "statusMessage": "Access denied"})

Test: TypeAlias = Callable[["Caller"], Coroutine[Any, Any, None]]


class Caller:
    """Somebody who calls a simulator as agent1, with credentials and without a cookie unless told otherwise."""

    def __init__(self, scenario: Scenario) -> None:
        self.simulator = Simulator(scenario, clock=VirtualClock(), chance=SeededChance(1))
        self.platform = self.simulator.platform
        self.front: Front = self.simulator.front
        self.headers = {"authorization": BASIC}
        self.cookies: dict[str, str] = {}

    async def send(self, method: str, path: str, body: object = None, **query: str) -> Response:
        """Send a request that is answered."""
        response = await self.maybe(method, path, body, **query)
        assert response is not None
        return response

    async def maybe(self, method: str, path: str, body: object = None, **query: str) -> Response | None:
        """Send a request."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.front.answer(Request(method, path, query, self.headers, self.cookies, raw))

    async def ask(self, method: str, path: str, body: object = None, **query: str) -> tuple[int, Any]:
        """Send a request, and return HTTP status and JSON of the answer."""
        response = await self.send(method, path, body, **query)
        return response.status, json.loads(response.body)

    async def operate(self, session: str, operation: str, **more: Any) -> tuple[int, Any]:
        """Ask for an operation."""
        return await self.ask("POST", f"{SESSIONS}/{session}", {"operationName": operation, **more})

    def invited(self, agent: str = "agent1") -> str:
        """Return the id of a session that an agent is invited to."""
        session = self.platform.arrive(ADA)
        self.platform.invite(agent, session)
        return session


def calling(test: Test, **scenario: Any) -> None:
    """Run a test on virtual time."""

    async def run() -> None:
        await test(Caller(Scenario.model_validate({"agents": {"count": 2}, **scenario})))

    run_virtual(run())


@pytest.mark.parametrize("path", ["/api/v2/me", SESSIONS, NOTIFICATIONS, "/anything"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_credentials_access_is_denied(method: str, path: str) -> None:
    """HTTP status 403, statusCode 20, whatever is asked for."""

    async def test(caller: Caller) -> None:
        caller.headers = {}
        assert await caller.ask(method, path) == DENIED

    calling(test)


def test_a_cookie_comes_with_a_new_session_and_is_enough() -> None:
    """Once there is one, no credentials are needed, and no other cookie comes."""

    async def test(caller: Caller) -> None:
        response = await caller.send("GET", "/api/v2/me")
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith("JSESSIONID=")
        caller.headers, caller.cookies = {}, {"JSESSIONID": cookie.partition("=")[2].partition(";")[0]}
        response = await caller.send("GET", "/api/v2/me")
        assert response.status == 200
        assert "Set-Cookie" not in response.headers

    calling(test)


def test_me() -> None:
    """The user, with an address."""

    async def test(caller: Caller) -> None:
        status, body = await caller.ask("GET", "/api/v2/me")
        user = caller.platform.user_id("agent1")
        assert (status, body["statusCode"], body["user"]["userName"]) == (200, 0, "agent1")
        assert body["user"]["uri"] == f"http://127.0.0.1/api/v2/users/{user}"

    calling(test)


def test_contact_centre_session() -> None:
    """It can be started and ended; its end is the HTTP session's as well."""

    async def test(caller: Caller) -> None:
        response = await caller.send("POST", "/api/v2/me", {"operationName": "StartContactCenterSession"})
        assert json.loads(response.body) == {"statusCode": 0}
        caller.headers, caller.cookies = {}, {"JSESSIONID": response.headers["Set-Cookie"][11:43]}
        assert (await caller.ask("POST", "/api/v2/me", {"operationName": "EndContactCenterSession"}))[0] == 200
        assert await caller.ask("GET", "/api/v2/me") == DENIED

    calling(test)


@pytest.mark.parametrize("body", [{"operationName": "Explode"}, [], b"{"])
def test_another_operation_on_me_is_refused(body: object) -> None:
    """As is what is no object."""

    async def test(caller: Caller) -> None:
        assert (await caller.ask("POST", "/api/v2/me", body))[1]["statusCode"] == 10

    calling(test)


def test_csrf() -> None:
    """The token comes with a GET under the header that another header names; a POST without it is refused as text."""

    async def test(caller: Caller) -> None:
        response = await caller.send("GET", "/api/v2/me")
        token = response.headers[response.headers["X-CSRF-HEADER"]]
        caller.cookies = {"JSESSIONID": response.headers["Set-Cookie"][11:43]}
        for path in (f"{SESSIONS}/x", NOTIFICATIONS):
            refused = await caller.send("POST", path, {"operationName": "Leave"})
            assert (refused.status, refused.body) == (403, b"Missing or invalid Csrf token")
            assert refused.content_type == "text/plain"
            assert "X-CSRF-TOKEN" not in refused.headers
        caller.headers["x-csrf-token"] = token
        assert (await caller.send("POST", NOTIFICATIONS, [{"channel": "/meta/handshake"}])).status == 200

    calling(test, gws={"csrf": True})


def test_without_csrf_there_is_no_token() -> None:
    """It is off unless switched on."""

    async def test(caller: Caller) -> None:
        assert "X-CSRF-HEADER" not in (await caller.send("GET", "/api/v2/me")).headers

    calling(test)


def test_sessions() -> None:
    """All of them with fields=*, and otherwise only their addresses; one alone under its own."""

    async def test(caller: Caller) -> None:
        session, other = caller.invited(), caller.invited("agent2")
        status, body = await caller.ask("GET", SESSIONS, fields="*")
        assert (status, body["statusCode"]) == (200, 0)
        assert [each["id"] for each in body["facebooksessions"]] == [session]
        assert await caller.ask("GET", SESSIONS) == (
            200,
            {"statusCode": 0, "uris": [f"http://127.0.0.1/api/v2/facebooksessions/{session}"]},
        )
        status, alone = await caller.ask("GET", f"{SESSIONS}/{session}")
        assert (status, alone) == (200, {"statusCode": 0, "facebooksession": body["facebooksessions"][0]})
        status, body = await caller.ask("GET", f"{SESSIONS}/{other}")
        assert (status, body["statusCode"]) == (404, 6)

    calling(test)


def test_an_operation_is_answered_before_its_effect() -> None:
    """The answer is statusCode 0, and the result later."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        assert await caller.operate(session, "Accept", nickname="First") == (200, {"statusCode": 0})
        assert caller.platform.state("agent1", session) == "Invited"
        await asyncio.sleep(1)
        assert caller.platform.state("agent1", session) == "Chatting"

    calling(test)


def test_consult_and_transfer_are_answered_with_a_reference() -> None:
    """As their pages show; no others are."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        await caller.operate(session, "Accept", nickname="First")
        await asyncio.sleep(1)
        assert (await caller.operate(session, "SendMessage", text="Hi"))[1].keys() == {"statusCode"}
        for operation in ("Consult", "Transfer"):
            _, body = await caller.operate(session, operation, targetUri="/users/agent2")
            assert body.keys() == {"statusCode", "referenceId"}

    calling(test)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"operationName": "Leave"}, 400, 2),
        ({"operationName": "Accept"}, 400, 1),
        ({"operationName": "Explode"}, 400, 10),
        ([], 400, 10),
        (b"\xff", 400, 10),
    ],
)
def test_an_operation_that_will_not_do(body: object, status: int, code: int) -> None:
    """The statusCode says why, with a message and nothing else."""

    async def test(caller: Caller) -> None:
        found, answer = await caller.ask("POST", f"{SESSIONS}/{caller.invited()}", body)
        assert (found, answer["statusCode"]) == (status, code)
        assert answer.keys() == {"statusCode", "statusMessage"}

    calling(test)


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v2/you"), ("PUT", "/api/v2/me"), ("GET", NOTIFICATIONS)])
def test_what_is_not_there(method: str, path: str) -> None:
    """The statusCode is 6."""

    async def test(caller: Caller) -> None:
        assert (await caller.ask(method, path))[1]["statusCode"] == 6

    calling(test)


def test_cometd() -> None:
    """An array or a single message, under the address itself or one below it."""

    async def test(caller: Caller) -> None:
        _, (reply,) = await caller.ask("POST", f"{NOTIFICATIONS}/handshake", {"channel": "/meta/handshake"})
        connect = [{"channel": "/meta/connect", "clientId": reply["clientId"]}]
        assert (await caller.ask("POST", NOTIFICATIONS, connect))[1][0]["successful"] is True

    calling(test)


@pytest.mark.parametrize("body", [b"", b"7", [7], b"[" * 5000])
def test_what_is_not_bayeux(body: object) -> None:
    """HTTP status 400."""

    async def test(caller: Caller) -> None:
        assert (await caller.send("POST", NOTIFICATIONS, body)).status == 400

    calling(test)


def test_a_superseded_connect() -> None:
    """The one that was held is answered with HTTP status 408."""

    async def test(caller: Caller) -> None:
        _, (reply,) = await caller.ask("POST", NOTIFICATIONS, [{"channel": "/meta/handshake"}])
        connect = [{"channel": "/meta/connect", "clientId": reply["clientId"]}]
        await caller.send("POST", NOTIFICATIONS, connect)
        held = asyncio.create_task(caller.send("POST", NOTIFICATIONS, connect))
        await asyncio.sleep(1)
        other = asyncio.create_task(caller.send("POST", NOTIFICATIONS, connect))
        assert (await held).status == 408
        assert (await other).status == 200

    calling(test)


def test_fault_drop_cuts_after_the_effect() -> None:
    """What was asked for happens, and no answer comes."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        assert await caller.maybe("POST", f"{SESSIONS}/{session}", {"operationName": "Reject"}) is None
        await asyncio.sleep(1)
        assert caller.platform.count(session, "Reject") == 1

    calling(test, faults={"drop": {"count": 1}})


def test_fault_drop_request_cuts_before_the_effect() -> None:
    """Nothing happens."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        assert await caller.maybe("POST", f"{SESSIONS}/{session}", {"operationName": "Reject"}) is None
        await asyncio.sleep(1)
        assert caller.platform.count(session, "Reject") == 0

    calling(test, faults={"drop-request": {"count": 1}})


def test_fault_402_forgets_the_client() -> None:
    """Its connect is answered as an unknown client's; other messages don't bring it about."""

    async def test(caller: Caller) -> None:
        _, (reply,) = await caller.ask("POST", NOTIFICATIONS, [{"channel": "/meta/handshake"}])
        connect = [{"channel": "/meta/connect", "clientId": reply["clientId"]}]
        _, (answer,) = await caller.ask("POST", NOTIFICATIONS, connect)
        assert answer["error"] == "402::Unknown client"
        assert answer["advice"]["reconnect"] == "handshake"

    calling(test, faults={"402": {"count": 1}})


def test_fault_403_ends_the_http_session() -> None:
    """Access is denied, and the cookie is worth nothing any more."""

    async def test(caller: Caller) -> None:
        response = await caller.send("GET", "/api/v2/me")
        caller.cookies = {"JSESSIONID": response.headers["Set-Cookie"][11:43]}
        await caller.send("POST", "/simulator/faults", {"403": {"count": 1}})
        assert await caller.ask("GET", "/api/v2/me") == DENIED
        assert "Set-Cookie" in (await caller.send("GET", "/api/v2/me")).headers
        caller.headers = {}
        assert await caller.ask("GET", "/api/v2/me") == DENIED

    calling(test)


def test_fault_5xx_changes_nothing() -> None:
    """500 or 503, both with statusCode 4."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        answers = [await caller.operate(session, "Reject") for _ in range(20)]
        assert {status for status, _ in answers} == {500, 503}
        assert {body["statusCode"] for _, body in answers} == {4}
        await asyncio.sleep(1)
        assert caller.platform.count(session, "Reject") == 0

    calling(test, faults={"5xx": {"on": ["operations"]}})


def test_fault_slow_delays_the_answer() -> None:
    """By its pause."""

    async def test(caller: Caller) -> None:
        assert (await caller.send("GET", "/api/v2/me")).status == 200
        assert asyncio.get_running_loop().time() == 7

    calling(test, faults={"slow": {"pause": "7s", "on": ["reads"]}})


def test_faults_strike_only_where_they_are_on() -> None:
    """CometD, reads and operations are told apart."""

    async def test(caller: Caller) -> None:
        assert await caller.maybe("POST", NOTIFICATIONS, [{"channel": "/meta/handshake"}]) is None
        assert await caller.maybe("GET", "/api/v2/me") is not None
        assert await caller.maybe("POST", f"{SESSIONS}/x", {}) is not None

    calling(test, faults={"drop": {"on": ["notifications"]}})


def test_faults_can_be_switched_while_it_runs() -> None:
    """Without signing in; the answer is what is on."""

    async def test(caller: Caller) -> None:
        caller.headers = {}
        status, body = await caller.ask("POST", "/simulator/faults", {"drop": {"probability": 0.5}, "slow": None})
        assert (status, body) == (200, {"on": {"drop": {"probability": 0.5, "left": None}}, "struck": {}})
        status, body = await caller.ask("POST", "/simulator/faults", {"drp": {}})
        assert status == 400
        assert "did you mean 'drop'?" in body["problems"][0]
        assert (await caller.ask("POST", "/simulator/faults", b"{"))[0] == 400
        assert (await caller.ask("GET", "/simulator/other"))[0] == 404

    calling(test)


def test_state() -> None:
    """Sessions by agent, effects with how often, clients, and what they acknowledged."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        _, (reply,) = await caller.ask("POST", NOTIFICATIONS, [{"channel": "/meta/handshake", "ext": {"ack": True}}])
        about = {"clientId": reply["clientId"], "ext": {"ack": 1}}
        await caller.send("POST", NOTIFICATIONS, [{"channel": "/meta/subscribe", "subscription": "/**", **about}])
        await caller.operate(session, "Accept", nickname="First")
        await asyncio.sleep(1)
        for _ in range(2):
            await caller.send("POST", NOTIFICATIONS, [{"channel": "/meta/connect", **about}])
        _, state = await caller.ask("GET", "/simulator/state")
        assert state["sessions"] == {"agent1": {session: "Chatting"}, "agent2": {}}
        accepted = {"agent": "agent1", "session": session, "operation": "Accept", "by": "http", "times": 1}
        assert state["effects"] == [accepted]
        assert state["clients"] == [{"agent": "agent1", "client": reply["clientId"], "queued": 0, "channels": ["/**"]}]
        assert state["published"] == 3
        assert [each["number"] for each in state["acknowledged"]] == [1, 2, 3]
        assert state["acknowledged"][0]["data"]["facebooksession"]["id"] == session
        assert state["faults"] == {"on": {}, "struck": {}}

    calling(test)

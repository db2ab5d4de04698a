"""fbsessiond.simulator.front: what GWS answers to an HTTP request, on virtual time and without sockets."""

import asyncio
import json

import pytest

from fbsessiond.simulator.happening import What
from simulator_parts import NOTIFICATIONS, SESSIONS, Caller, calling

DENIED = (403, {"statusCode": 20, "statusMessage": "Access denied"})


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


def test_fault_cut_comes_after_the_effect() -> None:
    """What was asked for happens, and its whole answer is marked to be cut."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        response = await caller.send("POST", f"{SESSIONS}/{session}", {"operationName": "Reject"})
        assert (response.cut, response.status, response.body) == (True, 200, b'{"statusCode":0}')
        assert "Set-Cookie" in response.headers
        assert not (await caller.send("GET", SESSIONS)).cut
        await asyncio.sleep(1)
        assert caller.platform.count(session, "Reject") == 1

    calling(test, faults={"cut": {"on": ["operations"]}})


def test_fault_hang_never_answers() -> None:
    """Nothing happens, however long the client waits; when it hangs up that is the end of it."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86_400):
                await caller.maybe("POST", f"{SESSIONS}/{session}", {"operationName": "Reject"})
        assert caller.platform.count(session, "Reject") == 0
        assert (await caller.send("GET", SESSIONS)).status == 200

    calling(test, faults={"hang": {"on": ["operations"]}})


@pytest.mark.parametrize(
    ("fault", "status", "body"), [("401", 401, b""), ("forbidden", 403, b"Forbidden")], ids=["401", "forbidden"]
)
def test_faults_401_and_forbidden_change_nothing(fault: str, status: int, body: bytes) -> None:
    """Neither is JSON, and no HTTP session begins."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        response = await caller.send("POST", f"{SESSIONS}/{session}", {"operationName": "Reject"})
        assert (response.status, response.body, response.content_type) == (status, body, "text/plain")
        assert not response.headers
        assert (await caller.send("GET", SESSIONS)).status == 200
        await asyncio.sleep(1)
        assert caller.platform.count(session, "Reject") == 0

    calling(test, faults={fault: {"on": ["operations"]}})


def test_fault_no_list_leaves_the_sessions_out() -> None:
    """With fields or without, all that comes is statusCode 0; a session alone is there, and so is the next list."""

    async def test(caller: Caller) -> None:
        session = caller.invited()
        assert await caller.ask("GET", SESSIONS, fields="*") == (200, {"statusCode": 0})
        assert await caller.ask("GET", SESSIONS) == (200, {"statusCode": 0})
        assert (await caller.ask("GET", f"{SESSIONS}/{session}"))[1]["facebooksession"]["id"] == session
        assert [each["id"] for each in (await caller.ask("GET", SESSIONS, fields="*"))[1]["facebooksessions"]] == [
            session
        ]
        assert [(each.agent, each.details) for each in caller.happenings if each.what is What.FAULT] == [
            ("agent1", {"kind": "no-list"})
        ] * 2

    calling(test, faults={"no-list": {"count": 2}})


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
    """CometD, reads and operations are told apart; the simulator's own addresses are never struck."""

    async def test(caller: Caller) -> None:
        assert await caller.maybe("POST", NOTIFICATIONS, [{"channel": "/meta/handshake"}]) is None
        assert await caller.maybe("GET", "/api/v2/me") is not None
        assert await caller.maybe("POST", f"{SESSIONS}/x", {}) is not None
        assert await caller.maybe("GET", "/simulator/state") is not None

    calling(test, faults={"drop": {"on": ["notifications"]}})

"""fbsessiond.gws.rest: the client of the REST API, against the simulated GWS and servers that follow a script."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import web

from cometd_servers import LOOPBACK
from fbsessiond import Operation
from fbsessiond.chance import SeededChance
from fbsessiond.errors import RefusedError, UnavailableError
from fbsessiond.gws.access import CONNECTIONS, Access, Basic, Bearer
from fbsessiond.gws.answers import STATUS_CODES, InDoubt, NotPerformed
from fbsessiond.gws.requests import RequestEnded, RequestResult
from fbsessiond.gws.rest import BODY_BYTES, CONNECT_SECONDS, FUTILE_SECONDS, REQUEST_SECONDS, Rest
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.simulator.http_sessions import token_of
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import Simulator, simulating
from fbsessiond.testing import VirtualClock
from floor import AGENT, floor
from virtual_network import networked

SESSION = "0002DaAVKJ0V0095"
LEAVE = Operation.leave(SESSION)
NOT_SIGNED_IN = {"statusCode": 20, "statusMessage": "Access denied"}
ME = "/api/v2/me"
ONE = f"{ME}/facebooksessions/{SESSION}"
ALL = f"{ME}/facebooksessions"

Answer: TypeAlias = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


def says(http: int = 200, headers: dict[str, str] | None = None, /, **body: Any) -> Answer:
    """Return an answer of the platform's kind."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, status=http, headers=headers)

    return answer


def says_plainly(http: int, content: bytes, headers: dict[str, str] | None = None) -> Answer:
    """Return an answer that isn't of the platform's kind."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=http, body=content, headers=headers)

    return answer


async def cut(request: web.Request) -> web.Response:
    """Cut the connection in the place of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_short(request: web.Request) -> web.StreamResponse:
    """Cut the connection in the middle of an answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"statusCode": 0')
    return await cut(request)


async def hang(_: web.Request) -> web.Response:
    """Answer never."""
    await asyncio.Event().wait()
    return web.Response()


@dataclass
class Platform:
    """A server that answers each request as a test says, and writes down what was asked."""

    answers: dict[str, list[Answer]] = field(default_factory=dict[str, list[Answer]])
    """What to answer on a path: each once, but the last for ever."""
    seen: list[web.Request] = field(default_factory=list[web.Request])
    bodies: list[bytes] = field(default_factory=list[bytes])
    url: str = ""

    @property
    def lines(self) -> list[str]:
        """Each request's method and path, as it was sent."""
        return [f"{request.method} {request.raw_path}" for request in self.seen]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.seen.append(request)
        self.bodies.append(await request.read())
        answers = self.answers.get(request.path, [says(statusCode=0)])
        return await (answers.pop(0) if len(answers) > 1 else answers[0])(request)


@asynccontextmanager
async def serving(
    answers: dict[str, list[Answer]] | None = None, context: ssl.SSLContext | None = None
) -> AsyncGenerator[Platform]:
    """Serve a script on a port of this machine."""
    platform = Platform(answers or {})
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", platform.handle)
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0, ssl_context=context).start()
    platform.url = f"{'https' if context else 'http'}://{LOOPBACK}:{runner.addresses[0][1]}"
    try:
        yield platform
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(
    *answers: Answer, credentials: Basic | Bearer | None = None, **more: list[Answer]
) -> AsyncGenerator[tuple[Platform, Rest]]:
    """Serve answers to an operation, or on the paths `me` and `all`, and ask."""
    paths = {"me": ME, "all": ALL}
    script = {ONE: list(answers or [says(statusCode=0)])} | {paths[name]: said for name, said in more.items()}
    async with serving(script) as platform, Access(credentials or Basic(AGENT, "secret")) as access:
        yield platform, Rest(platform.url, access)


@asynccontextmanager
async def simulated(credentials: Basic | Bearer | None = None, **tables: Any) -> AsyncGenerator[tuple[Simulator, Rest]]:
    """Serve the simulated GWS, and ask."""
    scenario = Scenario.model_validate({"customers": {"per_minute": 0}, **tables})
    async with (
        simulating(scenario, clock=VirtualClock(), chance=SeededChance(1)) as simulator,
        Access(credentials or Basic(AGENT, "simulated")) as access,
    ):
        yield simulator, Rest(simulator.url, access)


def invited(simulator: Simulator) -> str:
    """Let a customer come, to whom the agent is invited."""
    session = simulator.platform.arrive()
    simulator.back_end.tell(simulator.platform.invite(AGENT, session))
    return session


# What is asked.


@networked
async def test_operation() -> None:
    """An operation is a POST of its name and parameters to the session's own path."""
    async with asking(says(statusCode=0, referenceId=35)) as (platform, rest):
        answer = await rest.operate(Operation.consult(SESSION, "/users/2"))
        assert answer.reference_id == 35
        assert platform.lines == [f"POST {ONE}"]
        assert json.loads(platform.bodies[0]) == {"operationName": "Consult", "targetPath": "/users/2"}


@networked
async def test_session_id_is_quoted() -> None:
    """An id can't lead to another path, however it is spelled."""
    async with asking() as (platform, rest):
        await rest.operate(Operation.unchecked("Leave", "../../x?y#z%2e", {}))
        assert platform.lines == [f"POST {ALL}/..%2F..%2Fx%3Fy%23z%252e"]


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [(Basic(AGENT, "secret"), Basic(AGENT, "secret").authorization()), (Bearer("abc.def"), "Bearer abc.def")],
    ids=["basic", "bearer"],
)
@networked
async def test_credentials(credentials: Basic | Bearer, sent: str) -> None:
    """They go with each request."""
    async with asking(credentials=credentials) as (platform, rest):
        await rest.operate(LEAVE)
        await rest.sessions()
        assert [request.headers["Authorization"] for request in platform.seen] == [sent, sent]


@pytest.mark.parametrize("credentials", [Basic(AGENT, "simulated"), Bearer(token_of(AGENT))], ids=["basic", "bearer"])
@networked
async def test_simulated(credentials: Basic | Bearer) -> None:
    """Sessions are listed and found, and operations on them taken."""
    async with simulated(credentials) as (simulator, rest):
        assert await rest.sessions() == []
        session = invited(simulator)
        (document,) = await rest.sessions() or []
        assert (document["id"], document["state"]) == (session, "Invited")
        assert await rest.session(session) == document
        await rest.operate(Operation.reject(session))
        await asyncio.sleep(1)
        assert await rest.session(session) is None


# What is answered.


@pytest.mark.parametrize("code", sorted(STATUS_CODES))
@pytest.mark.parametrize("http", [200, 400, 500])
@networked
async def test_status_codes(code: int, http: int) -> None:
    """Each status code has its outcome, whatever the HTTP status beside it."""
    async with asking(says(http, statusCode=code)) as (platform, rest):
        if code in (0, 7):
            assert (await rest.operate(LEAVE)).code == code
        else:
            with pytest.raises(NotPerformed) as caught:
                await rest.operate(LEAVE)
            assert (caught.value.code, caught.value.again) == (code, STATUS_CODES[code].again)
        assert len(platform.seen) == (3 if code == 20 else 1)


@pytest.mark.parametrize("content", [b"", b"<html>Bad gateway</html>", b"[]", b'{"statusCode": 0'])
@networked
async def test_no_json(content: bytes) -> None:
    """A body that isn't the platform's leaves an operation in doubt, and a question without an answer."""
    async with asking(says_plainly(200, content), all=[says_plainly(200, content)]) as (_, rest):
        with pytest.raises(InDoubt, match="a body that isn't GWS's"):
            await rest.operate(LEAVE)
        with pytest.raises(UnavailableError, match=r"GET /me/facebooksessions.*a body that isn't GWS's"):
            await rest.sessions()


@networked
async def test_long_answer() -> None:
    """An answer that is longer than any list of sessions isn't read to its end."""
    async with asking(says_plainly(200, b" " * 10_000_000), all=[says_plainly(200, b" " * 10_000_000)]) as (_, rest):
        with pytest.raises(InDoubt, match=f"more than {BODY_BYTES} bytes"):
            await rest.operate(LEAVE)
        with pytest.raises(UnavailableError):
            await rest.sessions()


@networked
async def test_redirect() -> None:
    """A redirect is an answer like another: nothing is sent to where it leads."""
    async with serving() as elsewhere:
        for http in (301, 302, 303, 307, 308):
            answer = says_plainly(http, b"", {"Location": f"{elsewhere.url}/"})
            async with asking(answer, all=[answer]) as (_, rest):
                with pytest.raises(InDoubt, match=f"HTTP {http}"):
                    await rest.operate(LEAVE)
                with pytest.raises(UnavailableError):
                    await rest.sessions()
        assert elsewhere.seen == []


# Connections.


@networked
async def test_no_connection() -> None:
    """Where nobody listens nothing was sent, and trying again can help."""
    async with serving() as platform:
        url = platform.url
    async with Access(Basic(AGENT, "secret")) as access:
        with pytest.raises(NotPerformed, match="no connection") as caught:
            await Rest(url, access).operate(LEAVE)
        assert (caught.value.code, caught.value.again) == (None, True)
        with pytest.raises(UnavailableError):
            await Rest(url, access).sessions()


@networked
async def test_no_connection_in_time() -> None:
    """While all connections are taken up nothing is sent, so that nothing is in doubt."""
    async with asking(hang) as (platform, rest):
        taken = [asyncio.ensure_future(rest.operate(LEAVE)) for _ in range(CONNECTIONS)]
        await asyncio.sleep(1)
        with pytest.raises(NotPerformed, match=f"no connection within {CONNECT_SECONDS:g} s") as caught:
            await rest.operate(LEAVE)
        assert caught.value.again
        assert len(platform.seen) == CONNECTIONS
        ended = await asyncio.gather(*taken, return_exceptions=True)
        assert [type(each) for each in ended] == [InDoubt] * CONNECTIONS


@pytest.mark.parametrize("broken", [cut, cut_short], ids=["before the answer", "in its middle"])
@networked
async def test_cut(broken: Answer) -> None:
    """A connection that breaks leaves the operation in doubt; it isn't sent again by itself."""
    async with asking(says(statusCode=0), broken) as (platform, rest):
        await rest.operate(LEAVE)
        with pytest.raises(InDoubt, match="the connection broke before the answer was complete"):
            await rest.operate(LEAVE)
        assert platform.lines == [f"POST {ONE}"] * 2


@pytest.mark.parametrize(("fault", "count"), [("drop", 1), ("drop-request", 0)])
@networked
async def test_cut_by_the_simulator(fault: str, count: int) -> None:
    """From outside nobody can tell whether it was cut before or after the request was taken."""
    async with simulated() as (simulator, rest):
        session = invited(simulator)
        simulator.faults.switch(FaultTable.model_validate({fault: {"count": 1, "on": ["operations"]}}))
        with pytest.raises(InDoubt):
            await rest.operate(Operation.reject(session))
        await asyncio.sleep(1)
        assert simulator.platform.count(session, "Reject") == count


@networked
async def test_broken_compression() -> None:
    """An answer that can't be unpacked tells nothing."""
    answer = says_plainly(200, b"no gzip", {"Content-Encoding": "gzip"})
    async with asking(answer) as (_, rest):
        with pytest.raises(InDoubt):
            await rest.operate(LEAVE)


@networked
async def test_time_out() -> None:
    """Without an answer in time the operation is in doubt."""
    async with asking(hang) as (_, rest):
        began = VirtualClock().monotonic()
        with pytest.raises(InDoubt, match=f"no answer within {REQUEST_SECONDS:g} s"):
            await rest.operate(LEAVE)
        assert VirtualClock().monotonic() - began == pytest.approx(REQUEST_SECONDS, abs=0.1)


# Signing in.


@networked
async def test_refused_credentials() -> None:
    """They are tried afresh once, and never again: another failure could lock the account."""
    async with asking(says(403, **NOT_SIGNED_IN), me=[says(403, **NOT_SIGNED_IN)]) as (platform, rest):
        for _ in range(3):
            with pytest.raises(RefusedError, match="refuses the credentials"):
                await rest.operate(LEAVE)
        assert platform.lines == [f"POST {ONE}", f"GET {ME}"]
        with pytest.raises(RefusedError):
            await rest.sessions()
        assert len(platform.seen) == 2


@networked
async def test_refused_credentials_of_many() -> None:
    """However many requests find that out at a time, one of them tries afresh."""
    async with asking(says(403, **NOT_SIGNED_IN), me=[says(401)]) as (platform, rest):
        ended = await asyncio.gather(*(rest.operate(LEAVE) for _ in range(5)), return_exceptions=True)
        assert [type(each) for each in ended] == [RefusedError] * 5
        assert platform.lines.count(f"GET {ME}") == 1


@dataclass
class Gate:
    """Answers that let the agent in, or don't."""

    is_open: bool = True
    sign_ins: list[float] = field(default_factory=list[float])
    """When it was tried afresh."""

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer a request."""
        if request.path == ME:
            self.sign_ins.append(asyncio.get_running_loop().time())
        return web.json_response({"statusCode": 0} if self.is_open else NOT_SIGNED_IN)


async def until_refused(rest: Rest, *, seconds: float) -> bool:
    """Ask each second, and say whether the credentials were refused in the end."""
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - began < seconds:
        (ended,) = await asyncio.gather(rest.operate(LEAVE), return_exceptions=True)
        if isinstance(ended, RefusedError):
            return True
        assert isinstance(ended, NotPerformed)
        assert ended.again
        await asyncio.sleep(1)
    return False


@networked
async def test_good_credentials_refused_for_good() -> None:
    """They are tried afresh every four seconds for a minute, as what checks them may be restarting; then no more."""
    gate = Gate()
    async with asking(gate, me=[gate]) as (platform, rest):
        await rest.operate(LEAVE)
        gate.is_open = False
        assert await until_refused(rest, seconds=90)
        first = gate.sign_ins[0]
        assert [round(at - first) for at in gate.sign_ins] == list(range(0, 61, 4))
        gate.is_open = True
        sent = len(platform.seen)
        with pytest.raises(RefusedError):
            await rest.sessions()
        assert len(platform.seen) == sent


@networked
async def test_good_credentials_refused_for_a_while() -> None:
    """A success gives them another minute."""
    gate = Gate()
    async with asking(gate, me=[gate]) as (_, rest):
        for _ in range(3):
            gate.is_open = True
            await asyncio.sleep(10)
            await rest.operate(LEAVE)
            gate.is_open = False
            assert not await until_refused(rest, seconds=50)


@networked
async def test_good_credentials_of_many() -> None:
    """However many requests find that out in the same seconds, one of them tries afresh."""
    gate = Gate()
    async with asking(gate, me=[gate]) as (_, rest):
        await rest.operate(LEAVE)
        gate.is_open = False
        for _ in range(2):
            ended = await asyncio.gather(*(rest.operate(LEAVE) for _ in range(5)), return_exceptions=True)
            assert [type(each) for each in ended] == [NotPerformed] * 5
            await asyncio.sleep(1)
        assert len(gate.sign_ins) == 1


@pytest.mark.parametrize(
    "answer",
    [says(500, statusCode=4), says_plainly(503, b"<html>"), says_plainly(404, b"")],
    ids=["GWS's own failure", "a proxy's", "no such place"],
)
@networked
async def test_credentials_that_nobody_looked_at(answer: Answer) -> None:
    """An answer that isn't "passed on" doesn't say that they are good: a refusal is final at once."""
    async with asking(answer, says(403, **NOT_SIGNED_IN), me=[says(403, **NOT_SIGNED_IN)]) as (platform, rest):
        with pytest.raises((NotPerformed, InDoubt)):
            await rest.operate(LEAVE)
        with pytest.raises(RefusedError):
            await rest.operate(LEAVE)
        assert platform.lines.count(f"GET {ME}") == 1


@networked
async def test_refused_by_the_simulator() -> None:
    """A wrong password is refused."""
    async with simulated(Basic(AGENT, "wrong")) as (_, rest):
        with pytest.raises(RefusedError):
            await rest.sessions()


@networked
async def test_signed_in_but_refused() -> None:
    """Where only the operation's own path refuses, the credentials are good: later it may not, and nothing happened.

    For a while nobody signs in again for that: it would end the HTTP session each time, and CometD's with it.
    """
    async with asking(says(403, **NOT_SIGNED_IN)) as (platform, rest):
        for _ in range(3):
            with pytest.raises(NotPerformed, match="let the agent sign in") as caught:
                await rest.operate(LEAVE)
            assert caught.value.again
        assert platform.lines == [f"POST {ONE}", f"GET {ME}", f"POST {ONE}", f"POST {ONE}", f"POST {ONE}"]
        await asyncio.sleep(FUTILE_SECONDS)
        with pytest.raises(NotPerformed, match="let the agent sign in"):
            await rest.operate(LEAVE)
        assert platform.lines.count(f"GET {ME}") == 2


@networked
async def test_expired_session() -> None:
    """403 with status code 20 in the middle: it signs in afresh, without the old cookies, and sends it again."""
    cookie = {"Set-Cookie": "JSESSIONID=old; Path=/"}
    async with asking(says(200, cookie, statusCode=0), says(403, **NOT_SIGNED_IN), says(statusCode=0)) as (
        platform,
        rest,
    ):
        await rest.operate(LEAVE)
        await rest.operate(LEAVE)
        assert platform.lines == [f"POST {ONE}", f"POST {ONE}", f"GET {ME}", f"POST {ONE}"]
        assert [request.cookies.get("JSESSIONID") for request in platform.seen] == [None, "old", None, None]


@networked
async def test_signing_in_once() -> None:
    """Requests that find the HTTP session over at the same time share one fresh sign-in, and its cookies."""
    valid = "JSESSIONID=new"

    async def guarded(request: web.Request) -> web.Response:
        if request.cookies.get("JSESSIONID") == "new":
            return web.json_response({"statusCode": 0})
        return web.json_response(NOT_SIGNED_IN, status=403)

    async with asking(guarded, me=[says(200, {"Set-Cookie": f"{valid}; Path=/"}, statusCode=0)]) as (platform, rest):
        answers = await asyncio.gather(*(rest.operate(LEAVE) for _ in range(6)))
        assert [answer.code for answer in answers] == [0] * 6
        assert platform.lines.count(f"GET {ME}") == 1
        assert platform.lines.count(f"POST {ONE}") == 12


@networked
async def test_expired_in_the_simulator() -> None:
    """An HTTP session that ends between two requests costs a fresh sign-in, and the operation takes effect once."""
    async with simulated(gws={"csrf": True}) as (simulator, rest):
        session = invited(simulator)
        assert await rest.sessions()
        simulator.faults.switch(FaultTable.model_validate({"403": {"count": 1, "on": ["operations"]}}))
        await rest.operate(Operation.accept(session, "Marat"))
        await asyncio.sleep(1)
        assert simulator.platform.count(session, "Accept") == 1


@networked
async def test_platform_breaks_while_signing_in() -> None:
    """Where the fresh sign-in gets no answer, nothing was changed, and trying again can help."""
    async with asking(says(403, **NOT_SIGNED_IN), me=[cut]) as (_, rest):
        with pytest.raises(NotPerformed, match="the fresh sign-in failed") as caught:
            await rest.operate(LEAVE)
        assert caught.value.again


# The CSRF token.


def demanding(header: str, token: str) -> Answer:
    """Return an answer for whoever has the token."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get(header) == token:
            return web.json_response({"statusCode": 0})
        return web.Response(status=403, text="Missing or invalid Csrf token")

    return answer


@networked
async def test_csrf_token() -> None:
    """A token that is missing is fetched, under the name that the server gives it, and kept; cookies stay."""
    given = {"X-CSRF-HEADER": "X-Own-Name", "X-Own-Name": "one", "Set-Cookie": "JSESSIONID=kept; Path=/"}
    async with asking(demanding("X-Own-Name", "one"), me=[says(200, given, statusCode=0)]) as (platform, rest):
        await rest.operate(LEAVE)
        await rest.operate(LEAVE)
        assert platform.lines == [f"POST {ONE}", f"GET {ME}", f"POST {ONE}", f"POST {ONE}"]
        assert [request.cookies.get("JSESSIONID") for request in platform.seen[2:]] == ["kept", "kept"]


@networked
async def test_changed_csrf_token() -> None:
    """Where the server has changed it, the new one is fetched; requests that find that out together fetch it once."""
    old = {"X-CSRF-HEADER": "X-CSRF-TOKEN", "X-CSRF-TOKEN": "old"}
    new = {"X-CSRF-HEADER": "X-Other", "X-Other": "new"}
    me, all_ = [says(200, new, statusCode=0)], [says(200, old, statusCode=0)]
    async with asking(demanding("X-Other", "new"), me=me, all=all_) as (platform, rest):
        await rest.sessions()
        await asyncio.gather(*(rest.operate(LEAVE) for _ in range(4)))
        assert platform.lines.count(f"GET {ME}") == 1
        assert "X-CSRF-TOKEN" not in platform.seen[-1].headers


@networked
async def test_csrf_token_never_fits() -> None:
    """Where the server refuses the token that it just gave, the operation wasn't performed, and never will be."""
    async with asking(demanding("X-CSRF-TOKEN", "other")) as (platform, rest):
        with pytest.raises(NotPerformed, match="refuses the CSRF token that it just gave") as caught:
            await rest.operate(LEAVE)
        assert not caught.value.again
        assert len(platform.seen) == 3


@networked
async def test_csrf_token_of_the_simulator() -> None:
    """An operation as the very first request takes effect."""
    async with simulated(gws={"csrf": True}) as (simulator, rest):
        session = invited(simulator)
        await rest.operate(Operation.reject(session))
        await asyncio.sleep(1)
        assert simulator.platform.count(session, "Reject") == 1


# The list of sessions.


@pytest.mark.parametrize(
    "body",
    [{}, {"facebooksessions": None}, {"facebooksessions": {}}, {"facebooksessions": "x"}, {"facebooksessions": [1]}],
    ids=["missing", "null", "a table", "a text", "numbers"],
)
@networked
async def test_no_list(body: dict[str, Any]) -> None:
    """An answer that doesn't list sessions says nothing about them, which isn't the same as none."""
    async with asking(all=[says(statusCode=0, **body)]) as (_, rest):
        assert await rest.sessions() is None
        with pytest.raises(UnavailableError, match="isn't the same as an empty one"):
            await rest.session(SESSION)


@networked
async def test_list() -> None:
    """Sessions come as the platform describes them; one that isn't among them is none of the agent's any more."""
    listed = [{"id": "1", "state": "Chatting"}, {"state": "without an id"}]
    async with asking(all=[says(statusCode=0, facebooksessions=listed)]) as (platform, rest):
        assert await rest.sessions() == listed
        assert await rest.session("1") == listed[0]
        assert await rest.session("2") is None
        assert set(platform.lines) == {f"GET {ALL}?fields=*"}


@pytest.mark.parametrize(("http", "code"), [(500, 4), (404, 6), (403, 3)])
@networked
async def test_list_refused(http: int, code: int) -> None:
    """A refusal to list them is told with its status code."""
    async with asking(all=[says(http, statusCode=code)]) as (_, rest):
        with pytest.raises(UnavailableError, match=f"status code {code}"):
            await rest.sessions()


# Addresses.


@networked
async def test_addresses_in_messages() -> None:
    """Whatever addresses answers and notifications carry, requests go to the configured platform alone."""
    async with serving() as elsewhere, floor() as here:
        here.simulator.platform.address = elsewhere.url
        session = await here.chat()
        await here.rest.operate(Operation.send_url(session, elsewhere.url))
        document = await here.rest.session(session)
        assert elsewhere.url in document["uri"] if document else False
        await here.rest.operate(Operation.add_comment(session, elsewhere.url))
        await here.rest.operate(Operation.leave(session))
        await here.until(lambda: here.simulator.platform.state(AGENT, session) == "LeftChat")
        await asyncio.sleep(60)
        entries = list(here.journal.reader().entries(session=session))
        assert any(elsewhere.url.encode() in entry.notification for entry in entries)
        assert elsewhere.seen == []


@networked
async def test_addresses_in_answers() -> None:
    """An answer's own addresses aren't followed, in headers or in the body."""
    async with serving() as elsewhere:
        headers = {"Location": elsewhere.url, "Refresh": f"0; url={elsewhere.url}", "Link": f"<{elsewhere.url}>"}
        document = {"id": SESSION, "uri": f"{elsewhere.url}/{SESSION}", "path": f"//{elsewhere.url}"}
        said = says(200, headers, statusCode=0, uri=elsewhere.url, facebooksessions=[document])
        async with asking(said, all=[said]) as (platform, rest):
            found = await rest.session(SESSION)
            assert found is not None
            assert found == document
            await rest.operate(Operation.leave(found["id"]))
            assert platform.lines == [f"GET {ALL}?fields=*", f"POST {ONE}"]
        assert elsewhere.seen == []


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate that nobody knows, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    certificate, key = (tmp_path_factory.mktemp("tls") / name for name in ("ca.pem", "key.pem"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", "/CN=test", "-addext", f"subjectAltName=IP:{LOOPBACK}")
    command = ["openssl", "req", "-x509", *curve, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


async def test_private_authority(authority: tuple[Path, Path]) -> None:
    """A private CA is trusted where it is named; elsewhere there is no connection, and nothing was sent."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority)
    async with serving({ALL: [says(statusCode=0, facebooksessions=[])]}, context) as platform:
        async with Access(Basic(AGENT, "secret"), certificate_authority=authority[0]) as access:
            assert await Rest(platform.url, access).sessions() == []
        async with Access(Basic(AGENT, "secret")) as access:
            with pytest.raises(NotPerformed, match="no connection"):
                await Rest(platform.url, access).operate(LEAVE)
        assert platform.lines == [f"GET {ALL}?fields=*"]


@pytest.mark.parametrize("code", [7, None, "0"])
@networked
async def test_a_part_of_the_list_is_none(code: object) -> None:
    """An answer that isn't a whole success says nothing of what it doesn't show [a log of GWS 8.5.202]."""
    said = {"facebooksessions": []} if code is None else {"statusCode": code, "facebooksessions": []}
    async with asking(all=[says(**said)]) as (_, rest):
        if code == 7:
            assert await rest.sessions() is None
        else:
            with pytest.raises(UnavailableError):
                await rest.sessions()


# What is told of each request.


@networked
async def test_told() -> None:
    """Of each request it is told what was asked, what became of it, and how long it took."""
    told: list[RequestEnded] = []
    hanging = [says(statusCode=0), says(403, statusCode=2), says_plainly(502, b"<html>"), cut_short, hang]
    async with serving({ONE: hanging}) as platform, Access(Basic(AGENT, "secret")) as access:
        rest = Rest(platform.url, access, told.append)
        for _ in range(len(hanging)):
            with suppress(NotPerformed, InDoubt):
                await rest.operate(LEAVE)
        await rest.sessions()
    async with Access(Basic(AGENT, "secret")) as access:
        with pytest.raises(UnavailableError):
            await Rest(platform.url, access, told.append).sessions()
    assert [(each.method, each.operation, each.result, each.status) for each in told] == [
        ("POST", "Leave", RequestResult.PASSED_ON, 200),
        ("POST", "Leave", RequestResult.REFUSED, 403),
        ("POST", "Leave", RequestResult.NO_STATUS_CODE, 502),
        ("POST", "Leave", RequestResult.CUT, None),
        ("POST", "Leave", RequestResult.NO_ANSWER, None),
        ("GET", None, RequestResult.PASSED_ON, 200),
        ("GET", None, RequestResult.NO_CONNECTION, None),
    ]
    assert told[4].seconds == REQUEST_SECONDS
    assert all(each.seconds < 1 for each in told if each.result is not RequestResult.NO_ANSWER)

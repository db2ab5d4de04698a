import asyncio
import base64
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web
from pydantic import ValidationError
from standardwebhooks import Webhook as Key
from structlog.testing import capture_logs

from fbsessiond import Defer, Delivery, Done, Outcome, Reject
from fbsessiond import Webhook as Message
from fbsessiond.clock import SystemClock
from fbsessiond.errors import ConfigurationError
from fbsessiond.testing import EPOCH, make_delivery, make_transition
from fbsessiond_handlers import addresses
from fbsessiond_handlers.webhook import NotDeliveredError, Webhook, judge

LOOPBACK = "127.0.0.1"
SECRET = f"whsec_{base64.b64encode(b's' * 32).decode()}"
OLD_SECRET = f"whsec_{base64.b64encode(b'o' * 32).decode()}"
CANARY = "Canary"
NOW = datetime(2026, 1, 1, 10, tzinfo=UTC)

Answer: TypeAlias = "web.Response | Callable[[web.BaseRequest], Any]"


class Receiver:
    """A web server on a loopback port that keeps what it gets, and answers in turn; 204 when it has no answer left."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self.paths.append(request.path_qs)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.read())
        answer = self.answers.popleft() if self.answers else web.Response(status=204)
        return answer if isinstance(answer, web.Response) else await answer(request)


@asynccontextmanager
async def receiving(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(*answers)
    runner = web.ServerRunner(web.Server(receiver.handle), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("HOOK_OLD_SECRET", OLD_SECRET)


def made(where: int | str = "https://hooks.example/", **options: Any) -> Webhook:
    """Return a webhook as a configuration makes one, to a port of this machine or to an address."""
    url = f"http://{LOOPBACK}:{where}/hook" if isinstance(where, int) else where
    allowed = {"allow_private": True} if isinstance(where, int) else {}
    return Webhook.model_validate({"url": url, "secrets": [{"env": "HOOK_SECRET"}], **allowed, **options})


def now_due(**known: Any) -> Delivery:
    """Return a delivery that is tried now, with something of the customer's in its notification."""
    transition = make_transition("Chatting", "Invited", userData={"FirstName": CANARY}, comment=CANARY, **known)
    return make_delivery(transition, handler="hook", late=SystemClock().now() - EPOCH)


async def tried(webhook: Webhook, delivery: Delivery | None = None) -> Outcome:
    """Return the outcome of one attempt."""
    async with webhook.running():
        return await webhook.handle(delivery or now_due())


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_post(mode: str) -> None:
    """A transition is posted as an event that its receiver can verify, with the delivery's key as its id."""
    async with receiving() as receiver:
        assert await tried(made(receiver.port, mode=mode)) == Done()
    (body,), (headers,) = receiver.bodies, receiver.headers
    Key(SECRET).verify(body, headers)
    event: Any = json.loads(body) if mode == "structured" else {"id": headers["ce-id"], "data": json.loads(body)}
    assert headers["webhook-id"] == event["id"] == now_due().key
    assert event["data"]["session"] == now_due().transition.session.id


async def test_follow_up() -> None:
    """What another handler asked to be posted is posted with its own key; 410 disables the endpoint here, too."""
    async with receiving(web.Response(), web.Response(status=410)) as receiver:
        webhook = made(receiver.port)
        async with webhook.running():
            told = Message("hook", "S1", {"case": 7})
            answers = [await webhook.post(told, "journal/1/wrap-up/2", NOW) for _ in range(3)]
    assert [type(answer) for answer in answers] == [Done, Reject, Reject]
    assert len(receiver.bodies) == 2
    assert receiver.headers[0]["webhook-id"] == "journal/1/wrap-up/2"
    assert json.loads(receiver.bodies[0])["data"] == {"case": 7}


async def test_rotation() -> None:
    """While secrets are rotated, a receiver may verify with the new one or with the old one."""
    async with receiving() as receiver:
        await tried(made(receiver.port, secrets=[{"env": "HOOK_SECRET"}, {"env": "HOOK_OLD_SECRET"}]))
    for secret in (SECRET, OLD_SECRET):
        Key(secret).verify(receiver.bodies[0], receiver.headers[0])


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_customer_data(mode: str) -> None:
    """By default nothing of the customer's leaves the daemon, nor stands in the log; all of it does when asked for."""
    async with receiving(web.Response(status=410, text=CANARY)) as receiver:
        with capture_logs() as logs:
            await tried(made(receiver.port, mode=mode))
        await tried(made(receiver.port, mode=mode, data="notification"))
    assert CANARY not in str((receiver.bodies[0], receiver.headers[0], logs))
    assert receiver.bodies[1].count(CANARY.encode()) == 2


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        (200, None, Done()),
        (202, "120", Done()),
        (299, None, Done()),
        (400, None, Reject("the receiver answered 400")),
        (404, "120", Reject("the receiver answered 404")),
        (410, None, Reject("the receiver answered 410")),
        (429, "120", Defer(timedelta(minutes=2))),
        (408, "0", Defer(timedelta())),
        (425, "1", Defer(timedelta(seconds=1))),
        (503, "Thu, 01 Jan 2026 10:05:00 GMT", Defer(timedelta(minutes=5))),
        (500, "Thu, 01 Jan 2026 09:00:00 GMT", Defer(timedelta())),
    ],
)
def test_judge(status: int, retry_after: str | None, outcome: Outcome) -> None:
    """2xx is done, 4xx is never; what is only for now is deferred by what the receiver says."""
    assert judge(status, retry_after, NOW) == outcome


@pytest.mark.parametrize(
    ("status", "retry_after"),
    [(408, None), (425, "soon"), (429, None), (500, None), (503, "soon"), (599, None), (302, "120"), (600, "120")],
)
def test_judge_failed(status: int, retry_after: str | None) -> None:
    """Where the receiver doesn't say when to come back, it is a failed attempt: the dispatch knows what to do."""
    with pytest.raises(NotDeliveredError, match=f"the receiver answered {status}"):
        judge(status, retry_after, NOW)


async def test_retry_after_by_the_receivers_clock() -> None:
    """A date counts from the time that the receiver says it is, not from this machine's."""
    fields = {"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    async with receiving(web.Response(status=503, headers=fields)) as receiver:
        assert await tried(made(receiver.port)) == Defer(timedelta(minutes=1))


async def test_retry_after_without_the_receivers_clock() -> None:
    """Where the receiver doesn't say what time it is, a date counts from the attempt's."""
    fields = {"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT", "Date": ""}
    async with receiving(web.Response(status=503, headers=fields)) as receiver:
        delivery = make_delivery(late=timedelta(seconds=15))
        assert await tried(made(receiver.port), delivery) == Defer(timedelta(seconds=45))


async def test_gone() -> None:
    """410 disables the endpoint until a restart: what comes after isn't sent, and the log says so once."""
    gone = web.Response(status=410), web.Response(status=410)
    async with receiving(*gone) as receiver:
        webhook = made(receiver.port)
        async with webhook.running():
            with capture_logs() as logs:
                await asyncio.gather(webhook.handle(now_due()), webhook.handle(now_due()))
                later = await webhook.handle(now_due())
        assert later == Reject("the endpoint is disabled until a restart: its receiver answered 410 Gone")
        assert [(log["event"], log["handler"], log["host"]) for log in logs] == [("webhook.disabled", "hook", LOOPBACK)]
        assert len(receiver.bodies) == 2
        assert await tried(webhook) == Done()


async def test_redirect_not_followed() -> None:
    """By default no redirect is followed: what was asked for is where it is sent."""
    async with receiving(web.Response(status=308, headers={"Location": "/there"})) as receiver:
        with pytest.raises(NotDeliveredError, match=r"308, a redirect that isn't followed"):
            await tried(made(receiver.port))
    assert receiver.paths == ["/hook"]


async def test_redirect_followed() -> None:
    """As many redirects are followed as the option says, with the same message."""
    locations = ("/there", "//127.0.0.1:{port}/elsewhere?a=b")

    def redirect(request: web.BaseRequest) -> Any:
        location = locations[len(receiver.paths) - 1].format(port=request.url.port)
        return asyncio.sleep(0, web.Response(status=307, headers={"Location": location}))

    async with receiving(redirect, redirect) as receiver:
        assert await tried(made(receiver.port, redirects=2)) == Done()
    assert receiver.paths == ["/hook", "/there", "/elsewhere?a=b"]
    assert len(set(receiver.bodies)) == 1
    Key(SECRET).verify(receiver.bodies[2], receiver.headers[2])


@pytest.mark.parametrize(
    ("status", "fields"),
    [(307, {"Location": "/there"}), (302, {"Location": "/there"}), (303, {"Location": "/there"}), (308, {})],
)
async def test_redirect_too_many(status: int, fields: dict[str, str]) -> None:
    """One redirect more than that isn't followed, nor one that turns a POST into a GET, nor one to nowhere."""
    answers = [web.Response(status=status, headers=fields) for _ in range(2)]
    async with receiving(*answers) as receiver:
        with pytest.raises(NotDeliveredError, match="a redirect that isn't followed"):
            await tried(made(receiver.port, redirects=1))
    assert len(receiver.bodies) == (2 if status == 307 else 1)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("ftp://127.0.0.1/", "another scheme"),
        ("file:///etc/passwd", "another scheme"),
        ("http://user@127.0.0.1/", "with credentials"),
        ("http://:password@127.0.0.1/", "with credentials"),
        ("http://[::1/", "no address"),
    ],
)
async def test_redirect_refused(location: str, words: str) -> None:
    """A redirect leads to HTTP, or the attempt has failed."""
    async with receiving(web.Response(status=307, headers={"Location": location})) as receiver:
        with pytest.raises(NotDeliveredError, match=words):
            await tried(made(receiver.port, redirects=1))


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost.", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"],
)
async def test_private_by_redirect(host: str) -> None:
    """A redirect doesn't lead to an address that isn't public, however it is spelled; the receiver's was listed."""
    location = f"http://{host}:{{port}}/inside"

    def redirect(request: web.BaseRequest) -> Any:
        fields = {"Location": location.format(port=request.url.port)}
        return asyncio.sleep(0, web.Response(status=308, headers=fields))

    async with receiving(redirect) as receiver:
        webhook = made(receiver.port, redirects=3, allow_private=False, private_hosts=[LOOPBACK])
        with pytest.raises((aiohttp.ClientError, NotDeliveredError)):
            await tried(webhook)
    assert receiver.paths == ["/hook"]


async def test_private_by_name() -> None:
    """A name doesn't lead there either, and the reason says what would let it through."""
    async with receiving() as receiver:
        with pytest.raises(aiohttp.ClientConnectorError, match=r"isn't a public address; allow_private"):
            await tried(made(f"http://localhost:{receiver.port}/"))
        assert await tried(made(f"http://LOCALHOST:{receiver.port}/", private_hosts=["localhost"])) == Done()
    assert len(receiver.bodies) == 1


async def test_private_by_rebinding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a name resolves to when the connection is made is what counts."""

    def resolve(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (LOOPBACK, receiver.port))]

    async with receiving() as receiver:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(aiohttp.ClientConnectorError, match="isn't a public address"):
            await tried(made(f"http://hooks.example:{receiver.port}/"))
    assert receiver.bodies == []


async def test_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is public is connected to."""

    def is_public(_: str) -> bool:
        return True

    monkeypatch.setattr(addresses, "is_public", is_public)
    async with receiving() as receiver:
        assert await tried(made(f"http://localhost:{receiver.port}/")) == Done()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://10.1.2.3/",
        "http://169.254.169.254/latest",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
    ],
)
def test_private_in_the_configuration(url: str) -> None:
    """An address that isn't public is told when the configuration is read."""
    with pytest.raises(ValidationError, match="url should be at a public address"):
        made(url)
    host = "".join(part for part in made(url, allow_private=True).url.host or "" if part not in "[]")
    assert made(url, private_hosts=[host]).allow_private is False


async def test_endless_response() -> None:
    """A response without end is cut off: its status says it all."""
    sent = 0
    cut = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                sent += 65536
        finally:
            cut.set()

    async with receiving(endless) as receiver:
        assert await tried(made(receiver.port)) == Done()
        await asyncio.wait_for(cut.wait(), 5)
    assert sent < 64 * 1024 * 1024


async def test_silent_receiver() -> None:
    """A receiver that doesn't answer in time is a failed attempt."""

    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        return await asyncio.Event().wait() and web.Response()

    async with receiving(silent) as receiver:
        with pytest.raises(NotDeliveredError, match="no answer in time"):
            await tried(made(receiver.port, timeout="50ms"))


async def test_receiver_that_does_not_read() -> None:
    """One that answers without reading a large message doesn't hold up the next."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await over.wait()
        writer.transport.abort()

    over = asyncio.Event()
    server = await asyncio.start_server(answer, LOOPBACK, 0, limit=1024)
    async with server:
        webhook = made(server.sockets[0].getsockname()[1], data="notification", timeout="5s")
        assert await tried(webhook, now_due(history="x" * 20_000_000)) == Done()
        over.set()


async def test_no_connection() -> None:
    """A receiver that isn't there is a failed attempt."""
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        with pytest.raises(aiohttp.ClientConnectorError):
            await tried(made(unused.getsockname()[1]))


async def test_url_as_written() -> None:
    """The path and the query are sent as the configuration spells them."""
    async with receiving() as receiver:
        await tried(made(f"http://{LOOPBACK}:{receiver.port}/a%2Fb?token=a%2Bb", allow_private=True))
    assert receiver.paths == ["/a%2Fb?token=a%2Bb"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate that nobody knows, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    file, key = (tmp_path_factory.mktemp("tls") / name for name in ("ca.pem", "key.pem"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", "/CN=test", "-addext", f"subjectAltName=IP:{LOOPBACK}")
    command = ["openssl", "req", "-x509", *curve, *names, "-keyout", str(key), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file, key


async def test_tls(certificate: tuple[Path, Path]) -> None:
    """The receiver's certificate is verified: a private authority's counts where it is named, for its own names."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    async with receiving(tls=tls) as receiver:
        for host, ca_file, outcome in (
            (LOOPBACK, certificate[0], Done()),
            (LOOPBACK, None, None),
            ("localhost", certificate[0], None),
        ):
            webhook = made(f"https://{host}:{receiver.port}/", allow_private=True, ca_file=ca_file)
            if outcome:
                assert await tried(webhook) == outcome
            else:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await tried(webhook)


async def test_no_way_back_to_http(certificate: tuple[Path, Path]) -> None:
    """A redirect doesn't lead from HTTPS to where anybody can read."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    async with receiving(web.Response(status=308, headers={"Location": f"http://{LOOPBACK}/"}), tls=tls) as receiver:
        url = f"https://{LOOPBACK}:{receiver.port}/"
        with pytest.raises(NotDeliveredError, match="another scheme than https"):
            await tried(made(url, allow_private=True, ca_file=certificate[0], redirects=1))


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_unusable_ca_file(tmp_path: Path, content: str | None) -> None:
    """A CA file that isn't one is told at the start, by its name."""
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(OSError, match=r"ca_file: can't use .*ca\.pem"):
        await tried(made(ca_file=str(file)))


async def test_missing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that isn't there is told at the start, by its place."""
    monkeypatch.delenv("HOOK_SECRET")
    with pytest.raises(ConfigurationError, match=r"secrets\.0: the variable HOOK_SECRET isn't set"):
        await tried(made())


async def test_unusable_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is none of Standard Webhooks' is told at the start, without its text."""
    monkeypatch.setenv("HOOK_SECRET", "hunter2")
    with pytest.raises(OSError, match=r"secrets\.0: should be whsec_") as error:
        await tried(made())
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"secrets": []}, "at least 1 item"),
        ({"secrets": [SECRET]}, "a secret is never inline"),
        ({"url": "hooks.example"}, "valid URL"),
        ({"url": "ftp://hooks.example"}, "scheme"),
        ({"url": "https://user@hooks.example"}, "should hold no username"),
        ({"url": "https://:password@hooks.example"}, "should hold no username"),
        ({"url": "https://hooks.example/#there"}, "should hold no username, no password and no '#'"),
        ({"mode": "batched"}, "'structured' or 'binary'"),
        ({"data": "all"}, "'state' or 'notification'"),
        ({"timeout": "0s"}, "greater than datetime"),
        ({"timeout": 5}, "should be a duration"),
        ({"connect_timeout": "2h"}, "less than or equal"),
        ({"redirects": 11}, "less than or equal to 10"),
        ({"retries": 5}, "Extra inputs"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    """A wrong option is told when the configuration is read."""
    with pytest.raises(ValidationError, match=words):
        made(**{"where": "https://hooks.example/", **options})


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra's packages the handler says which extra to install."""
    monkeypatch.delitem(sys.modules, "fbsessiond_handlers.webhook_message", raising=False)
    monkeypatch.setitem(sys.modules, "standardwebhooks", None)
    with pytest.raises(ValidationError, match=r"needs the extra `webhook`: pip install 'fbsessiond\[webhook\]'"):
        made()

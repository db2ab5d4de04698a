"""fbsessiond.gws.access: one agent's cookies, credentials, CSRF token and TLS."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from cometd_servers import LOOPBACK
from fbsessiond.errors import ConfigurationError
from fbsessiond.gws.access import Access, Basic, Bearer


@asynccontextmanager
async def echoing(context: ssl.SSLContext | None = None) -> AsyncGenerator[str]:
    """Serve the cookies that a request has, and set one; hand out the CSRF token that the query asks for."""

    async def serve(request: web.Request) -> web.Response:
        response = web.json_response(dict(request.cookies))
        response.set_cookie("JSESSIONID", "one")
        if token := request.query.get("token"):
            response.headers.update({"X-CSRF-HEADER": "X-CSRF-TOKEN", "X-CSRF-TOKEN": token})
        return response

    async with serving(serve, context) as url:
        yield url


@asynccontextmanager
async def serving(
    serve: Callable[[web.Request], Awaitable[web.StreamResponse]], context: ssl.SSLContext | None = None
) -> AsyncGenerator[str]:
    """Answer each request in the given way, and say where."""
    application = web.Application()
    application.router.add_get("/", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0, ssl_context=context).start()
    try:
        yield f"{'https' if context else 'http'}://{LOOPBACK}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def test_credentials_never_show() -> None:
    """Whatever prints them prints neither names nor passwords nor tokens."""
    shown = repr([Basic("agent1", "secret"), Bearer("secret")]) + str(Access(Basic("agent1", "secret")).__dict__)
    assert "secret" not in shown
    assert "agent1" not in shown


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (Basic("agent1", "secret"), "Basic YWdlbnQxOnNlY3JldA=="),
        (Basic("mandant\\jürgen", "pä:ss"), "Basic bWFuZGFudFxqw7xyZ2VuOnDDpDpzcw=="),
        (Bearer("abc.def=="), "Bearer abc.def=="),
    ],
    ids=["basic", "basic in UTF-8", "bearer"],
)
def test_authorization(credentials: Basic | Bearer, expected: str) -> None:
    """Every request has it."""
    access = Access(credentials)
    assert access.headers("GET") == access.headers("POST") == {"Authorization": expected}


def test_identity() -> None:
    """Each agent's and each token's is another one, and no password is in it."""
    identities = [
        Access(Basic("agent1", "a")).identity,
        Access(Basic("agent2", "a")).identity,
        Access(Bearer("t1")).identity,
        Access(Bearer("t2")).identity,
    ]
    assert len(set(identities)) == 4
    assert Access(Basic("agent1", "b")).identity == identities[0]


def test_credentials_that_can_not_be_sent() -> None:
    """They are found when they are read, not when they are refused."""
    with pytest.raises(ConfigurationError):
        Basic("agent:1", "secret")
    with pytest.raises(ConfigurationError):
        Bearer("two\nlines")


async def test_cookies_of_an_ip_address_are_kept_until_forgotten() -> None:
    """The platform's own URLs have IP addresses; without its cookie the server knows nobody."""
    async with echoing() as url, Access(Basic("agent1", "secret")) as access:
        seen: list[dict[str, str]] = []
        for forget in (False, False, True):
            if forget:
                access.forget()
            async with access.session.get(url) as response:
                seen.append(await response.json())
        assert seen == [{}, {"JSESSIONID": "one"}, {}]


async def test_the_csrf_token_is_learned_from_any_response() -> None:
    """It goes with what may change something, under the server's name for it, until the cookies are forgotten."""
    async with echoing() as url, Access(Basic("agent1", "secret")) as access:
        for token in ("first", "second", ""):
            async with access.session.get(url, params={"token": token}):
                pass
        assert access.headers("POST")["X-CSRF-TOKEN"] == "second"
        assert "X-CSRF-TOKEN" not in access.headers("GET")
        access.forget()
        assert "X-CSRF-TOKEN" not in access.headers("DELETE")


async def test_agents_share_no_cookies() -> None:
    """Each access has its own jar."""
    async with echoing() as url, Access(Basic("a", "x")) as one, Access(Basic("b", "y")) as two:
        async with one.session.get(url):
            pass
        async with two.session.get(url) as response:
            assert await response.json() == {}


async def test_an_access_is_open_while_it_is_entered() -> None:
    """Before and after there is no session, and leaving closes it."""
    access = Access(Basic("agent1", "secret"))
    with pytest.raises(RuntimeError):
        _ = access.session
    async with access:
        session = access.session
    assert session.closed
    await access.__aexit__(None, None, None)


ORIGIN = "https://gws.example/api/v2/notifications"


async def kept_of(*cookies: str, url: str = ORIGIN) -> bytes:
    """Return what is kept of a server's cookies."""
    async with Access(Basic("agent1", "secret")) as access:
        access.session.cookie_jar.update_cookies_from_headers(cookies, URL(url))
        return access.kept()


def sent(access: Access, url: str) -> dict[str, str]:
    """Return the cookies that a request to this URL has, as they are written."""
    return {name: morsel.coded_value for name, morsel in access.session.cookie_jar.filter_cookies(URL(url)).items()}


@pytest.mark.parametrize(
    ("cookie", "to", "not_to"),
    [
        ("a=1", ORIGIN, "https://www.gws.example/api/v2/me"),
        ("a=1", ORIGIN, "https://gws.example/other"),
        ("a=1; Path=/", "http://gws.example/", "https://example/"),
        ("a=1; Domain=example; Path=/", "https://other.example/", "https://elsewhere/"),
        ("a=1; Domain=gws.example; Path=/", "https://gws.example/", "https://example/"),
        ("a=1; Path=/; Secure; HttpOnly", "https://gws.example/", "http://gws.example/"),
        ('a="12"; Path=/', "https://gws.example/", "https://example/"),
        ('a="1\\0542"; Path=/', "https://gws.example/", "https://example/"),
        ("a{b}=1; Path=/", "https://gws.example/", "https://example/"),
        ("path=1; Path=/", "https://gws.example/", "https://example/"),
        ("a=; Path=/", "https://gws.example/", "https://example/"),
    ],
    ids=[
        "one host",
        "one path",
        "a whole host",
        "a domain",
        "its own domain",
        "secure",
        "quoted",
        "escaped",
        "a strange name",
        "a reserved name",
        "empty",
    ],
)
async def test_cookies_go_on_in_another_process(cookie: str, to: str, not_to: str) -> None:
    """They are sent where they were, as they were written, and nowhere else."""
    async with Access(Basic("agent1", "secret")) as one, Access(Basic("agent1", "secret")) as two:
        one.session.cookie_jar.update_cookies_from_headers([cookie], URL(ORIGIN))
        two.restore(one.kept(), ORIGIN)
        assert sent(two, to) == sent(one, to) != {}
        assert sent(two, not_to) == sent(one, not_to) == {}


async def test_cookies_of_one_name_go_on() -> None:
    """Two parts of a platform may each have a JSESSIONID."""
    async with Access(Basic("agent1", "secret")) as access:
        access.restore(await kept_of("JSESSIONID=1; Path=/api", "JSESSIONID=2; Path=/ui"), ORIGIN)
        assert [sent(access, f"https://gws.example/{path}") for path in ("api", "ui", "")] == [
            {"JSESSIONID": "1"},
            {"JSESSIONID": "2"},
            {},
        ]


async def test_cookies_of_an_ip_address_go_on() -> None:
    """The server that set them gets them back, with the CSRF token; what goes on can go on again."""
    async with echoing() as url:
        async with Access(Basic("agent1", "secret")) as one, one.session.get(url, params={"token": "4a92"}):
            kept = one.kept()
        async with Access(Basic("agent1", "secret")) as two:
            assert two.kept() != kept
            two.restore(kept, url)
            assert two.headers("POST")["X-CSRF-TOKEN"] == "4a92"
            assert two.kept() == kept
            async with two.session.get(url) as response:
                assert await response.json() == {"JSESSIONID": "one"}


async def test_cookies_of_another_server_do_not_go_on() -> None:
    """A domain that the server isn't in is left out."""
    async with Access(Basic("agent1", "secret")) as access:
        access.restore(await kept_of("a=1; Domain=elsewhere", url="https://elsewhere/"), ORIGIN)
        assert len(list(access.session.cookie_jar)) == 0


@pytest.mark.parametrize("kept", [b"", b"\xff", b"[]", b'{"cookies":[{"name":"a"}],"csrf":{}}', b'{"cookies":[]}'])
async def test_what_can_not_be_read_is_left_out(kept: bytes) -> None:
    """Garbage changes nothing."""
    async with Access(Basic("agent1", "secret")) as access:
        access.session.cookie_jar.update_cookies_from_headers(["a=1"], URL(ORIGIN))
        access.restore(kept, ORIGIN)
        assert sent(access, ORIGIN) == {"a": "1"}


async def test_what_is_kept_is_made_anew_when_a_response_changes_it() -> None:
    """A cookie or a token does, and forgetting them; other responses cost nothing."""
    headers: dict[str, str] = {}

    async def serve(_: web.Request) -> web.Response:
        return web.Response(headers=headers)

    async with serving(serve) as url, Access(Basic("agent1", "secret")) as access:
        before = access.kept()
        for headers in ({}, {"Set-Cookie": "a=1"}, {}, {"X-CSRF-HEADER": "X-Own", "X-Own": "1"}, {}):
            async with access.session.get(url):
                pass
            assert (access.kept() is before) == (not headers)
            before = access.kept()
        assert b'"a"' in before
        assert b'"X-Own":"1"' in before
        access.forget()
        assert access.kept() == await kept_of()


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


async def test_a_private_ca_is_trusted_where_it_is_named(authority: tuple[Path, Path]) -> None:
    """Without its file the same server isn't."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority)
    async with echoing(context) as url:
        trusting = Access(Basic("agent1", "secret"), certificate_authority=authority[0])
        async with trusting as access, access.session.get(url) as response:
            assert response.status == 200
        async with Access(Basic("agent1", "secret")) as access:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await access.session.get(url)


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_can_not_be_used(tmp_path: Path, content: str | None) -> None:
    """The error names the file."""
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        await Access(Basic("agent1", "secret"), certificate_authority=file).__aenter__()

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from cometd_servers import with_sockets
from fbsessiond.environment import name_of
from fbsessiond.page.interface import BODY_BYTES, BODY_SECONDS, FILES
from journal_parts import append, draft, prove
from page_parts import CANARY, TOKEN, There, served_page

BEARER = {"Authorization": f"Bearer {TOKEN}"}

LOOKS = ("/events", "/api/overview", "/api/sessions/S1")
ACTS = ("/api/sign-in", "/api/sign-out", "/api/dead-letters/retry", "/api/dead-letters/drop")
RETRY = {"delivery": "2/crm"}


def dead(there: There) -> list[str]:
    """Return what is dead."""
    return [*(one.id for one in there.reader.dead()), *(one.id for one in there.reader.stuck_follow_ups())]


@with_sockets
async def test_files(tmp_path: Path) -> None:
    """The page is there with all that it names, and holds nothing in line that its policy would refuse."""
    async with served_page(tmp_path) as there:
        for path, (body, content_type) in FILES.items():
            async with there.session.get(f"{there.base}{path}") as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
                assert await answer.read() == body
    html = FILES["/"][0].decode()
    named = [part.split('"')[0] for name in ('href="/', 'src="/') for part in html.split(name)[1:]]
    assert {f"/{name}" for name in named} <= FILES.keys()
    assert " style=" not in html
    assert " on" not in "".join(part.partition(">")[0] for part in html.split("<"))
    everything = b"".join(body for path, (body, _) in FILES.items() if path.endswith((".js", "/")))
    for banned in (
        b"innerHTML",
        b"outerHTML",
        b"insertAdjacentHTML",
        b"document.write",
        b"eval(",
        b"https:",
        b".style",
    ):
        assert banned not in everything


@with_sockets
async def test_policy(tmp_path: Path) -> None:
    """Each answer has the policy that lets in nothing from elsewhere."""
    async with served_page(tmp_path) as there:
        for path in ("/", "/page/page.js", "/api/overview", "/api/sessions/none", "/livez", "/nowhere", *ACTS):
            async with there.session.get(f"{there.base}{path}") as answer:
                policy = answer.headers["Content-Security-Policy"].split("; ")
                assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
                assert "unsafe" not in answer.headers["Content-Security-Policy"]
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "no-referrer"


@with_sockets
async def test_looks(tmp_path: Path) -> None:
    """The overview, a session's story and the events can be read."""
    async with served_page(tmp_path) as there:
        status, overview = await there.get("/api/overview")
        assert (status, overview["changes"], overview["is_signed_in"]) == (200, "sign-in", False)
        assert (await there.get("/api/sessions/S1"))[1]["count"] == 2
        assert (await there.get("/api/sessions/S1?agent=agent1"))[0] == 200
        unknown = {"error": "the journal doesn't know this session"}
        for path in ("S1?agent=agent2", "S%2F..%2F1", "%00", "%0A", "%ff", "a/b"):
            assert await there.get(f"/api/sessions/{path}") == (404, unknown)


@with_sockets
async def test_events(tmp_path: Path) -> None:
    """Whatever is written into the journal is an event within a second, whoever writes it."""
    async with served_page(tmp_path) as there, there.session.get(f"{there.base}/events") as stream:
        assert stream.headers["Content-Security-Policy"]
        await stream.content.readuntil(b"\n\n")
        for change in (append(there.journal, draft("S9")), prove(there.journal, "three", 10, 20)):
            await change
            async with asyncio.timeout(1):
                assert (await stream.content.readuntil(b"\n\n")).startswith(b"event: change\n")


@with_sockets
async def test_retry(tmp_path: Path) -> None:
    """A dead letter is tried again, once; who did that is in the log."""
    async with served_page(tmp_path) as there:
        with structlog.testing.capture_logs() as logged:
            assert await there.post("/api/dead-letters/retry", RETRY, **BEARER) == (200, {})
        assert dead(there) == ["3/wrap-up/1"]
        (acted,) = [line for line in logged if line["event"] == "page.acted"]
        assert (acted["act"], acted["delivery"], acted["by"]) == ("retry", "2/crm", "somebody at 127.0.0.1")
        gone = (409, {"error": "it is no dead letter any more"})
        assert await there.post("/api/dead-letters/retry", RETRY, **BEARER) == gone
        assert await there.post("/api/dead-letters/retry", {"delivery": "3/wrap-up/1"}, **BEARER) == (200, {})
        assert dead(there) == []


@with_sockets
async def test_drop(tmp_path: Path) -> None:
    """A dead letter is dropped for a reason, which stays with it, and with who did it."""
    async with served_page(tmp_path) as there:
        for delivery in ("2/crm", "3/wrap-up/1"):
            wanted = {"delivery": delivery, "reason": " a test session "}
            assert await there.post("/api/dead-letters/drop", wanted, **BEARER) == (200, {})
        assert dead(there) == []
        (dropped,) = [one for one in there.reader.deliveries() if one.id == "2/crm"]
        assert (dropped.state, dropped.because) == ("withdrawn", "dropped: a test session")
        (act,) = there.reader.acts(subject="2/crm")
        assert (act.kind, act.by, act.because) == ("drop", "somebody at 127.0.0.1, on the page", "a test session")


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        {"delivery": 2},
        {"delivery": "2/crm", "reason": "x"},
        {"delivery": "x" * 501},
        b"",
        b"{",
        b"\xff",
        b"[" * 4_000,
    ],
)
@with_sockets
async def test_wrong_bodies(tmp_path: Path, document: Any) -> None:
    """What isn't as it should be does nothing, and isn't said again."""
    async with served_page(tmp_path) as there:
        status, answer = await there.post("/api/dead-letters/retry", document, **BEARER)
        assert (status, answer["error"].startswith("isn't as it should be: ")) == (400, True)
        assert dead(there) == ["2/crm", "3/wrap-up/1"]


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, None])
@with_sockets
async def test_reasons(tmp_path: Path, reason: Any) -> None:
    """Nothing is dropped without a reason."""
    async with served_page(tmp_path) as there:
        wanted = {"delivery": "2/crm", "reason": reason}
        refused = (400, {"error": "isn't as it should be: reason"})
        assert await there.post("/api/dead-letters/drop", wanted, **BEARER) == refused


@with_sockets
async def test_long_bodies(tmp_path: Path) -> None:
    """A body that is too long, or doesn't come to its end, is refused."""
    async with served_page(tmp_path) as there:
        status, answer = await there.post("/api/sign-in", b"x" * (BODY_BYTES + 1))
        assert (status, answer) == (413, {"error": f"should be at most {BODY_BYTES} bytes"})
        host, port = there.address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /api/sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: 9\r\n\r\n{")
        began = asyncio.get_running_loop().time()
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        assert BODY_SECONDS <= asyncio.get_running_loop().time() - began <= BODY_SECONDS + 1
        writer.close()


@pytest.mark.parametrize("path", ACTS)
@with_sockets
async def test_methods(tmp_path: Path, path: str) -> None:
    """A change is a POST: no link, picture or form of another page makes one."""
    async with served_page(tmp_path) as there:
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            async with there.session.request(method, f"{there.base}{path}", headers=BEARER) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        async with there.session.post(f"{there.base}/api/overview") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        async with there.session.head(f"{there.base}/api/overview") as answer:
            assert (answer.status, int(answer.headers["Content-Length"]) > 100) == (200, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "text/plain"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic x"}, 401),
        ({"Authorization": ""}, 401),
    ],
)
@with_sockets
async def test_refusals(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    """A change that another page makes, or that comes without the token, does nothing."""
    async with served_page(tmp_path) as there:
        for path in ACTS[2:]:
            body = json.dumps({**RETRY, **({"reason": "x"} if path.endswith("drop") else {})})
            given = {"Content-Type": "application/json", "Origin": there.base, **BEARER, **headers}
            async with there.session.post(f"{there.base}{path}", data=body, headers=given) as answer:
                assert answer.status == status
        for path in ACTS[:2]:
            given = {"Content-Type": "application/json", "Origin": there.base, **headers}
            async with there.session.post(f"{there.base}{path}", data=b"{}", headers=given) as answer:
                assert answer.status == (403 if status == 403 else 400 if path.endswith("in") else 200)
        assert dead(there) == ["2/crm", "3/wrap-up/1"]


@with_sockets
async def test_without_token(tmp_path: Path) -> None:
    """Without a token nothing can be changed over loopback, and the page says so."""
    async with served_page(tmp_path, token=None) as there:
        assert (await there.get("/api/overview"))[1]["changes"] == "off"
        status, answer = await there.post("/api/dead-letters/retry", RETRY)
        assert (status, "set [http] token" in answer["error"]) == (403, True)
        assert (await there.post("/api/sign-in", {"token": ""}))[0] == 403


@with_sockets
async def test_sign_in(tmp_path: Path) -> None:
    """Who signs in with the token gets a cookie that no script and no other site has, until he signs out."""
    async with served_page(tmp_path) as there:
        assert (await there.post("/api/sign-in", {"token": "wrong"}))[0] == 401
        async with there.session.post(
            f"{there.base}/api/sign-in", json={"token": TOKEN}, headers={"Origin": there.base}
        ) as answer:
            (cookie,) = answer.headers.getall("Set-Cookie")
            assert {"HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=43200"} <= set(cookie.split("; "))
            assert TOKEN not in cookie
        overview = (await there.get("/api/overview"))[1]
        assert (overview["changes"], overview["is_signed_in"]) == ("allowed", True)
        assert await there.post("/api/dead-letters/retry", RETRY) == (200, {})
        assert (await there.post("/api/dead-letters/retry", RETRY, Origin="http://evil.example"))[0] == 403
        assert await there.post("/api/sign-out", {}) == (200, {})
        assert (await there.get("/api/overview"))[1]["changes"] == "sign-in"
        assert (await there.post("/api/dead-letters/retry", {"delivery": "3/wrap-up/1"}))[0] == 401


@with_sockets
async def test_unix_socket(tmp_path: Path) -> None:
    """On a Unix socket its owner may change something, and the log says who; not whom a web page led there."""
    async with served_page(tmp_path, f"unix:{tmp_path / 's'}", token=None) as there:
        assert (await there.get("/api/overview"))[1]["changes"] == "allowed"
        assert (await there.post("/api/dead-letters/retry", RETRY, Host="evil.example:1"))[0] == 403
        assert (await there.get("/", Host="evil.example:1"))[0] == 403
        with structlog.testing.capture_logs() as logged:
            assert await there.post("/api/dead-letters/retry", RETRY) == (200, {})
        (acted,) = [line for line in logged if line["event"] == "page.acted"]
        assert acted["by"] == name_of(os.getuid())


@with_sockets
async def test_beyond(tmp_path: Path) -> None:
    """Beyond this machine whoever looks needs the token, under whatever name; the empty page alone is for all."""
    async with served_page(tmp_path, "0.0.0.0:0") as there:
        for path in (*LOOKS, "/readyz", "/metrics", "/nowhere"):
            assert (await there.get(path))[0] == 401
            async with there.session.get(f"{there.base}{path}", headers={**BEARER, "Host": "gws.example"}) as answer:
                assert answer.status == (404 if path == "/nowhere" else 200)
        for path in ("/livez", *FILES):
            assert (await there.get(path, Host="gws.example"))[0] == 200
        assert (await there.post("/api/dead-letters/retry", RETRY))[0] == 401
        assert (await there.post("/api/sign-in", {"token": TOKEN}))[0] == 200
        assert (await there.get("/api/overview"))[1]["changes"] == "allowed"
        assert await there.post("/api/dead-letters/retry", RETRY) == (200, {})


@with_sockets
async def test_broken_journal(tmp_path: Path) -> None:
    """Where the journal can't be read or written, that is said."""
    async with served_page(tmp_path) as there:
        there.journal.connection.execute("ALTER TABLE settled RENAME TO broken")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        for path in ("/api/overview", "/api/sessions/S1"):
            status, answer = await there.get(path)
            assert (status, "can't read the journal" in answer["error"]) == (503, True)
        status, answer = await there.post("/api/dead-letters/retry", RETRY, **BEARER)
        assert (status, "the journal" in answer["error"]) == (503, True)
        there.journal.connection.execute("ALTER TABLE broken RENAME TO settled")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@with_sockets
async def test_journal_that_is_not_open(tmp_path: Path) -> None:
    """Before the daemon has opened its journal, and when it ends, the page says so, and follows what comes."""
    async with served_page(tmp_path, is_open=False) as there:
        not_open = (503, {"error": "the journal isn't open: the daemon begins, or ends"})
        for path in LOOKS[1:]:
            assert await there.get(path) == not_open
        assert await there.post("/api/dead-letters/retry", RETRY, **BEARER) == not_open
        async with there.session.get(f"{there.base}/events") as stream:
            assert await stream.content.readuntil(b"\n\n") == b"retry: 2000\n\n"


@with_sockets
async def test_no_customer_data(tmp_path: Path) -> None:
    """Nothing of a customer's leaves the page."""
    async with served_page(tmp_path) as there:
        for path in (*FILES, *LOOKS[1:], "/api/sessions/S2", "/api/sessions/S3"):
            async with there.session.get(f"{there.base}{path}") as answer:
                assert CANARY not in await answer.text()


@with_sockets
async def test_stop(tmp_path: Path) -> None:
    """An open page doesn't hold up the daemon's end."""
    began = 0.0
    async with aiohttp.ClientSession() as session:
        async with served_page(tmp_path) as there:
            stream = await session.get(f"{there.base}/events")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 0.5
        stream.close()

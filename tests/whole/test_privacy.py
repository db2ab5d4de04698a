"""Customer data is in the journal and the audit file, and nowhere else: 10,000 notifications full of canaries."""

import asyncio
import base64
import io
import json
import logging
import os
import pty
import signal
import socket
import sys
import threading
import warnings
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
import structlog
from aiohttp import web

from cli_parts import commands
from cometd_servers import LOOPBACK, Answer, Json, ScriptedServer
from daemons import until
from fbsessiond.cli import main
from fbsessiond.environment import variables
from fbsessiond.errors import JournalError
from fbsessiond.journal.engines import open_reader
from leaks import CANARY, NUMBER, WORD, leaks, planted
from trace_parts import Span, collecting

COUNT = 10_000
SESSIONS = 150
BATCH = 500
SETTLED = 60
"""So many deliveries, and follow-ups, come to a bad end before anybody looks."""

PASSWORD = "the-password"  # noqa: S105  of an agent that doesn't exist
SIGNING_KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
COOKIE = "the-cookie-of-agent1"

SECONDS = 240.0
"""How long all of that may take on a slow machine."""

HANDLERS = '''
import asyncio
import base64
import threading
from urllib.parse import quote

from fbsessiond import Delivery, Done, Handler, Operation, Outcome, Reject, Webhook


class Fragile(Handler):
    """Fails in every way, with customer data in each."""

    async def handle(self, delivery: Delivery) -> Outcome:
        session, notification = delivery.transition.session, delivery.transition.notification
        comment = session.comment or "nothing"
        match delivery.transition.seq % 10:
            case 0:
                raise LookupError(comment)
            case 1:
                return Reject(f"nobody is called {comment!r} in {notification}")
            case 2:
                raise ExceptionGroup(comment, [ValueError(comment.upper()), KeyError(quote(comment))])
            case 3:
                try:
                    raise OSError(2, comment, comment)
                except OSError as error:
                    error.add_note(comment)
                    raise ValueError(base64.b64encode(comment.encode()).decode()) from error
            case 4:
                asyncio.create_task(self.fail(comment))
                asyncio.get_running_loop().call_soon(self.fail_at_once, comment)
            case 5:
                threading.Thread(target=self.fail_at_once, args=(comment,), name="a thread").start()
            case 6:
                Leaving(comment)
            case 7:
                refused = Webhook("refusing", session.id, {"text": comment})
                return Done(refused, Webhook("crm", session.id, notification))
            case 8:
                return comment
            case _:
                asyncio.get_running_loop().call_exception_handler({"message": "odd", "future": comment})
        return Done(Operation.add_comment(session, f"{comment}!"), Operation.complete(session))

    async def fail(self, comment: str) -> None:
        raise KeyError(comment)

    def fail_at_once(self, comment: str) -> None:
        raise LookupError(comment)


class Leaving:
    def __init__(self, comment: str) -> None:
        self.comment = comment

    def __del__(self) -> None:
        raise LookupError(self.comment)


class Refusing(Handler):
    """Refuses webhooks with customer data in the reason."""

    async def handle(self, delivery: Delivery) -> Outcome:
        return Done()

    async def post(self, webhook, key, at) -> Outcome:
        return Reject(f"{webhook.data['text']} isn't here")


class Crashing(Handler):
    """A mistake that ends the daemon."""

    async def handle(self, delivery: Delivery) -> Outcome:
        return Done()

    def running(self):
        raise LookupError(open(__file__ + '.customer').read())
'''

CONFIGURATION = """
state_directory = "{folder}/state"

[gws]
url = "http://{host}:{port}"
username = "agent1"
password = {{ file = "{folder}/password" }}

[http]
listen = "unix:{folder}/http.sock"

[traces]
endpoint = "{collector}"

[follow_ups]
confirmation = "1s"
settling = "1s"
attempts = 1

[handlers.log]
[handlers.audit]

[handlers.fragile]
use = "canary_handlers:Fragile"
delivery = {{ attempts = 1, concurrency = 16 }}

[handlers.refusing]
use = "canary_handlers:Refusing"

[handlers.crm]
use = "webhook"
url = "http://{host}:{port}/crm"
allow_private = true
data = "notification"
secrets = [{{ file = "{folder}/secret" }}]
delivery = {{ attempts = 1, concurrency = 16 }}

[handlers.script]
use = "command"
argv = ["/bin/sh", "-c", "cat >&2; exit 1"]
data = "notification"
on = {{ to = "LeftChat" }}
delivery = {{ attempts = 1, concurrency = 2 }}
"""


SURFACES = [
    "export",
    "export --json",
    "why S000001",
    "why S000001 --json",
    "tap --since 1h --count 100",
    "tap --since 1h --count 100 --json",
    "sessions --all",
    "sessions --json",
    "dead list",
    "dead list --json",
    "dead show {dead}",
    "dead show {dead} --json",
    "quarantine list",
    "quarantine list --json",
    "quarantine show 1",
    "quarantine show 2 --json",
    "coverage",
    "coverage --json",
    "journal stats",
    "journal stats --json",
    "journal verify",
    "journal acts",
    "journal reveals",
    "audit verify",
    "check --live",
    "check --ready --json",
]
"""Each command that shows something of the journal or the daemon, as it is typed; a new one belongs here."""

PATHS = (
    *("/metrics", "/readyz?verbose", "/livez", "/", "/api/overview"),
    *(f"/api/sessions/S{number:06}" for number in range(5)),
)
"""Each path of the HTTP interface that shows something; `/events` says only that something has changed."""

NO_SURFACES = [
    *("run", "replay", "rehearse", "simulate", "operate", "init", "new-handler"),
    *("schema config", "schema notification", "schema asyncapi"),
    *("dead retry", "dead drop", "quarantine retry", "quarantine drop"),
]
"""The others: what they write is looked at otherwise, or holds nothing that was received."""


class Platform:
    """GWS as the daemon sees it, on this machine: all that it says of a session is full of canaries, its errors too."""

    def __init__(self) -> None:
        self.port = 0
        self.cometd = ScriptedServer()
        self.operations = 0
        messages = list(planted(COUNT, SESSIONS))
        for at in range(0, COUNT, BATCH):
            self.cometd.script("/meta/connect", self._batch(messages[at : at + BATCH]))

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["Platform", None]:
        """Listen on a port of the system's choice."""
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/api/v2/notifications", self.cometd.handle)
        application.router.add_get("/api/v2/me", self._me)
        application.router.add_get("/api/v2/me/facebooksessions", self._list)
        application.router.add_route("*", "/{anything:.*}", self._refuse)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    @staticmethod
    def _batch(messages: list[Json]) -> Answer:
        def answer(connect: Json) -> list[Json]:
            return [*messages, {"channel": "/meta/connect", "id": connect["id"], "successful": True}]

        return answer

    async def _me(self, _: web.Request) -> web.Response:
        answer = web.json_response({"statusCode": 0, "user": {"userName": "agent1", "note": CANARY}})
        answer.set_cookie("JSESSIONID", COOKIE)
        return answer

    async def _list(self, _: web.Request) -> web.Response:
        sessions = [{"id": f"S{number:06}", "state": "Chatting", "comment": CANARY} for number in range(3)]
        return web.json_response({"statusCode": 0, "statusMessage": CANARY, "facebooksessions": sessions})

    async def _refuse(self, _: web.Request) -> web.Response:
        """Answer in the ways in which servers and proxies refuse; the customer is in the body, and in a header."""
        self.operations += 1
        headers = {"X-Customer": WORD, "Retry-After": WORD, "Location": f"/{WORD}", "Set-Cookie": f"customer={WORD}"}
        match self.operations % 5:
            case 0:
                return web.json_response({"statusCode": 2, "statusMessage": CANARY}, headers=headers)
            case 1:
                return web.json_response({"statusCode": 4, "statusMessage": CANARY}, status=500, headers=headers)
            case 2:
                return web.Response(status=502, text=f"<html>{CANARY}</html>", headers=headers)
            case 3:
                return web.json_response({"statusCode": NUMBER, "error": CANARY}, status=404, headers=headers)
            case _:
                return web.Response(status=302, text=CANARY, headers=headers)


class Seen:
    """What was to be seen of a daemon: each surface by its name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.config = Path()
        self.revealed = ""
        self.audited = ""
        self.spans: list[Span] = []


async def start(folder: Path, *arguments: str, stderr: int = PIPE, notify: str = "") -> Process:
    """Start a command in a process of its own."""
    ours = {name: value for name, value in variables.items() if not name.startswith(("FBSESSIOND_", "COV_"))}
    environment = {**ours, "PYTHONPATH": str(folder), "NOTIFY_SOCKET": notify}
    program = (sys.executable, "-m", "fbsessiond")
    return await asyncio.create_subprocess_exec(
        *program, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=stderr, env=environment, cwd=folder
    )


async def ended(process: Process) -> str:
    """Return all that a command wrote."""
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    return (output + (errors or b"")).decode()


def said(*arguments: str) -> str:
    """Run a command in this process, which is quicker, and return all that it wrote."""
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((sys, "unraisablehook"), (threading, "excepthook"), (warnings, "showwarning")):
            patch.setattr(module, name, getattr(module, name))
        patch.setattr(logging, "_warnings_showwarning", None)
        patch.setattr(logging.getLogger(), "handlers", [])
        patch.setattr(sys, "argv", ["fbsessiond", *arguments])
        with redirect_stdout(written), redirect_stderr(written), pytest.raises(SystemExit):
            main()
    structlog.reset_defaults()
    return written.getvalue()


async def look(seen: Seen, folder: Path) -> None:
    """Run the daemon on a platform full of canaries, and look at it from all sides while it runs."""
    async with Platform().serving() as platform, collecting() as collector:
        seen.config = folder / "fbsessiond.toml"
        places = {"folder": folder, "host": LOOPBACK, "port": platform.port, "collector": collector.url}
        seen.config.write_text(CONFIGURATION.format(**places))
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with closing(notified), (folder / "log").open("wb") as log:
            notified.bind(str(folder / "notify"))
            arguments = ("run", "--config", str(seen.config), "--log-level", "debug")
            daemon = await start(folder, *arguments, stderr=log.fileno(), notify=str(folder / "notify"))
            try:
                await until(lambda: has_journal(folder), SECONDS)
                with closing(open_reader("sqlite:journal.db", folder / "state")) as reader:
                    await until(lambda: reader.statistics().entries + reader.statistics().quarantined >= COUNT, SECONDS)
                    await until(lambda: sum(1 for _ in reader.dead()) >= SETTLED, SECONDS)
                    await until(lambda: sum(1 for _ in reader.stuck_follow_ups()) >= SETTLED, SECONDS)
                    dead = next(one.id for one in reader.dead() if "Lookup" in (one.because or ""))
                for path in PATHS:
                    seen.texts[path] = await fetched(folder, path)
                for surface in SURFACES:
                    words = surface.format(dead=dead).split()
                    seen.texts[surface] = said(*words, "--config", str(seen.config))
                operated = await start(folder, "operate", "S000001", "Complete", "--config", str(seen.config))
                seen.texts["operate"] = await ended(operated)
                seen.revealed = said("export", "--json", "--reveal", "--config", str(seen.config))
                audit = folder / "state" / "audit.jsonl"
                await until(lambda: '"revealed":{' in audit.read_text(), SECONDS)
                seen.audited = audit.read_text()
            finally:
                with suppress(ProcessLookupError):
                    daemon.send_signal(signal.SIGTERM)
                await daemon.wait()
            seen.texts["status of the service"] = heard(notified)
        seen.texts["log"] = (folder / "log").read_text()
        seen.spans = collector.spans
        seen.texts["traces"] = f"{collector.raw.decode(errors='replace')}\n{collector.spans}"


def has_journal(folder: Path) -> bool:
    """Say whether the daemon's journal can be read yet."""
    with suppress(JournalError), closing(open_reader("sqlite:journal.db", folder / "state")):
        return True
    return False


async def fetched(folder: Path, path: str) -> str:
    """Ask the daemon's HTTP interface."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(folder / "http.sock"))) as session,
        session.get(f"http://localhost{path}") as response,
    ):
        return await response.text()


def heard(notified: socket.socket) -> str:
    """Return what systemd was told."""
    told: list[str] = []
    with suppress(BlockingIOError):
        while True:
            told.append(notified.recv(65536).decode())
    return "\n".join(told)


async def crash(seen: Seen, folder: Path) -> None:
    """Have a daemon crash by a mistake that quotes a customer."""
    config = folder / "crashing.toml"
    config.write_text(f'{seen.config.read_text()}\n[handlers.crashing]\nuse = "canary_handlers:Crashing"\n')
    (folder / "canary_handlers.py.customer").write_text(CANARY)
    seen.texts["a crash"] = await ended(await start(folder, "run", "--config", str(config)))


async def replay(seen: Seen, folder: Path) -> None:
    """Replay what was received, for people and programs, with the log on a pipe and on a terminal."""
    path = folder / "received.jsonl"
    path.write_text("".join(f"{json.dumps(message)}\n" for message in planted(440, 20)))
    with path.open("a") as file:
        file.write(f'{{"no JSON": "{WORD}\n[1, {WORD}\n')
    config = folder / "replay.toml"
    config.write_text('[handlers.log]\n[handlers.fragile]\nuse = "canary_handlers:Fragile"\n')
    journal = ("--journal", "sqlite:replayed.db")
    arguments = ("replay", str(path), "--config", str(config), *journal)
    seen.texts["replay --json"] = await ended(await start(folder, *arguments, "--json"))
    terminal, end = pty.openpty()
    process = await start(folder, *arguments, stderr=end)
    os.close(end)
    shown = asyncio.create_task(asyncio.to_thread(read_all, terminal))
    seen.texts["replay"] = await ended(process)
    seen.texts["log on a terminal"] = await shown
    config.write_text('[handlers.another]\nuse = "canary_handlers:Fragile"\n')
    for surface in ("rehearse", "rehearse --json"):
        rehearsed = await start(folder, *surface.split(), "--config", str(config), *journal)
        seen.texts[surface] = await ended(rehearsed)


def read_all(terminal: int) -> str:
    """Return what is shown on a terminal until nobody writes there any more."""
    shown = b""
    with suppress(OSError), open(terminal, "rb", buffering=0) as file:
        while piece := file.read(65536):
            shown += piece
    return shown.decode(errors="replace")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Look once, for all tests."""
    folder = tmp_path_factory.mktemp("privacy")
    (folder / "canary_handlers.py").write_text(HANDLERS)
    (folder / "password").write_text(PASSWORD)
    (folder / "secret").write_text(f"whsec_{SIGNING_KEY}")
    seen = Seen()

    async def look_from_all_sides() -> None:
        await look(seen, folder)
        await crash(seen, folder)
        await replay(seen, folder)

    asyncio.run(look_from_all_sides())
    return seen


EVERYWHERE = [
    *SURFACES,
    *PATHS,
    *("log", "traces", "status of the service", "operate"),
    *("a crash", "replay", "replay --json", "log on a terminal", "rehearse", "rehearse --json"),
]


@pytest.mark.parametrize("surface", EVERYWHERE)
def test_no_customer_data(seen: Seen, surface: str) -> None:
    """Nothing of a customer's is to be seen, in whatever spelling."""
    text = seen.texts[surface]
    assert text
    assert leaks(text) == [], next(line for line in text.splitlines() if leaks(line))


def test_no_secret(seen: Seen) -> None:
    """Neither the password, nor what is sent in its place, nor a signing key, nor a cookie is to be seen anywhere."""
    for text in (*seen.texts.values(), seen.revealed):
        for secret in (PASSWORD, base64.b64encode(f"agent1:{PASSWORD}".encode()).decode(), SIGNING_KEY, COOKIE):
            assert secret not in text


def test_there_was_something_to_leak(seen: Seen) -> None:
    """The canaries were in what was received; what was to go wrong went wrong, and was told."""
    assert seen.revealed.count(WORD) > COUNT
    log = [json.loads(line) for line in seen.texts["log"].splitlines()]
    events = {line["event"] for line in log}
    assert {"delivery.dead", "follow_up.failed", "message.quarantined", "thread.crashed", "exception.ignored"} <= events
    assert {"Task exception was never retrieved", "session.transition"} <= events
    assert any(event.startswith("Exception in callback") for event in events)
    assert [json.loads(line)["event"] for line in seen.texts["a crash"].splitlines()] == ["crashed"]
    for surface in ("dead list --json", "quarantine list --json", "export --json"):
        assert len(seen.texts[surface].splitlines()) >= SETTLED
    assert seen.texts["quarantine show 1"].startswith("received")
    assert seen.texts["dead show {dead}"].startswith("delivery")
    names = {span.name.split()[0] for span in seen.spans}
    assert {"receive", "journal", "deliver", "handle", "follow", "POST"} <= names


def test_revealing_is_audited(seen: Seen) -> None:
    """Who has customer data shown while the daemon runs stands in its log and in the audit file: who, and by what."""
    (revealed,) = [
        line["revealed"] for line in map(json.loads, seen.audited.strip().split("\n")) if line.get("revealed")
    ]
    assert revealed["command"].startswith("export --json --reveal")
    events = [json.loads(line) for line in seen.texts["log"].splitlines()]
    (logged,) = [event for event in events if event["event"] == "customer_data.revealed"]
    assert logged["by"] == revealed["by"]
    assert seen.texts["audit verify"]


def test_log_is_not_forged(seen: Seen) -> None:
    """Each line of the log is one whole event; on a terminal each begins with its time, or is set in."""
    for line in seen.texts["log"].split("\n")[:-1]:
        assert line.isprintable()
        assert {"at", "level", "event"} <= json.loads(line).keys()
    assert "forged" not in seen.texts["log on a terminal"]


def test_each_command_is_looked_at() -> None:
    """Each command is either looked at here, or named as one that shows nothing that was received."""
    known = [*SURFACES, *NO_SURFACES]
    missing = [name for name in commands() if not any(each == name or each.startswith(f"{name} ") for each in known)]
    assert missing == []


@pytest.mark.parametrize(
    "text",
    [
        f"at {WORD}!",
        WORD.upper(),
        json.dumps(CANARY),
        repr(CANARY),
        f"{NUMBER}",
        f"a{WORD[::-1]}b",
        base64.b64encode(f"xy{CANARY}".encode()).decode(),
        base64.urlsafe_b64encode(f"x{CANARY}".encode()).decode(),
        base64.b64encode(CANARY.encode()).decode(),
        CANARY.encode().hex(),
        quote(CANARY),
    ],
)
def test_oracle(text: str) -> None:
    """The oracle finds a canary however it is spelled, and nothing where there is none."""
    assert leaks(text)
    assert leaks("fbsessiond.errors.JournalError: [identity:5f2c9a10] kanarie 4708 vogel") == []

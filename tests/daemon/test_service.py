import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from pydantic import PrivateAttr
from structlog.testing import capture_logs

from cometd_servers import ScriptedServer, scripted
from daemons import until
from fbsessiond import limits, service
from fbsessiond.chance import SeededChance
from fbsessiond.clock import SystemClock
from fbsessiond.configuration import Configuration, load
from fbsessiond.dispatch import Dispatch
from fbsessiond.envelope import open_envelope
from fbsessiond.errors import ConfigurationError, DiskError, JournalError, RefusedError
from fbsessiond.handler import Delivery, Done, Handler, Outcome
from fbsessiond.intake import Intake
from fbsessiond.journal.records import DiskSpace, Draft, Misfit, Wait
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.reserve import Reserve
from fbsessiond.route import Route
from fbsessiond.service import (
    HOUSEKEEPING_SECONDS,
    PRUNE_EVERY,
    Pipeline,
    keep_house,
    run_daemon,
    running_handlers,
)
from fbsessiond.service_manager import ServiceManager
from fbsessiond.settings import JournalSettings
from fbsessiond.testing import VirtualClock, run_virtual
from journal_parts import NOW, after, append, draft, lease, misfit, retry_quarantined, settle
from test_prometheus import promtool, with_promtool
from trace_parts import collecting

CHANNEL = "/v2/me/facebooksession"
SECONDS = 20.0


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    """Open a journal in memory."""
    journal = SqliteJournal(MEMORY, NOW)
    yield journal
    journal.close()


def now() -> float:
    """Return the seconds since the test began."""
    return asyncio.get_running_loop().time()


def message(session: str, state: str) -> Message:
    """Return a notification that says which state a session is in."""
    data = {"messageType": "FacebooksessionStateChangeMessage", "facebooksession": {"id": session, "state": state}}
    return open_envelope(json.dumps({"channel": CHANNEL, "data": data}).encode())


def batch(*states: str, session: str = "S1") -> Batch:
    """Return notifications of a session as a batch."""
    return Batch("agent1", Origin.LIVE, NOW, tuple(message(session, state) for state in states))


def states(journal: SqliteJournal) -> list[str | None]:
    """Return the states that were journaled."""
    return [entry.after for entry in journal.reader().entries()]


# From a source to the journal.


class Script:
    """A source that yields what it is given, and notes what happens; after that it waits, or ends."""

    def __init__(self, *batches: Batch, at_its_end: Sequence[Batch] = (), waits: bool = False) -> None:
        self.asked = 0
        self.closed = False
        self._batches = deque(batches)
        self._at_its_end = at_its_end
        self._waits = waits
        self.look: Callable[[], object] = lambda: None

    def __aiter__(self) -> "Script":
        return self

    async def __anext__(self) -> Batch:
        self.asked += 1
        self.look()
        if not self._batches and self._waits and not self.closed:
            await asyncio.Event().wait()
        if not self._batches:
            raise StopAsyncIteration
        return self._batches.popleft()

    async def aclose(self) -> None:
        """Close it: what had been read by then can still be asked for."""
        if not self.closed:
            self._batches.extend(self._at_its_end)
        self.closed = True


class Slow(SqliteJournal):
    """A journal on a disk that takes its time."""

    def __init__(self) -> None:
        super().__init__(MEMORY, NOW)

    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        """Append after a second."""
        await asyncio.sleep(1)
        return await super().append(batch, drafts, misfits)


def pipeline(journal: SqliteJournal) -> Pipeline:
    """Return a pipeline without handlers."""
    return Pipeline(journal, [], VirtualClock(), SeededChance(1))


def test_shared_intake(journal: SqliteJournal) -> None:
    """Who else takes batches to the journal shares the intake with it; on its own it has one of its own."""
    intake = Intake(journal, [], VirtualClock())
    assert Pipeline(journal, [], VirtualClock(), SeededChance(1), intake=intake).intake is intake
    assert pipeline(journal).intake is not intake


def test_asked_after_the_commit(journal: SqliteJournal) -> None:
    """The source is asked for its next batch only when the one before is on disk."""
    source = Script(batch("Invited"), batch("Chatting", "LeftChat"), batch("Completed"))
    seen: list[int] = []
    source.look = lambda: seen.append(journal.reader().statistics().entries)
    run_virtual(pipeline(journal).take_all(source))
    assert seen == [0, 1, 3, 4]
    assert source.closed


def test_no_room(journal: SqliteJournal) -> None:
    """While the disk is nearly full, the source is asked for nothing; what was asked for before is journaled."""
    room = [1]
    clock = VirtualClock()
    reserve = Reserve(lambda: DiskSpace(room[0], 2), clock, 1)
    source = Script(batch("Invited"), batch("Chatting"))
    source.look = lambda: room.__setitem__(0, 0)
    taking = Pipeline(journal, [], clock, SeededChance(1), intake=Intake(journal, [], clock, reserve))

    async def work() -> None:
        task = asyncio.create_task(taking.take_all(source))
        await asyncio.sleep(100)
        assert (source.asked, states(journal)) == (1, ["Invited"])
        source.look = lambda: None
        room[0] = 1
        await task

    run_virtual(work())
    assert states(journal) == ["Invited", "Chatting"]


def test_failed_commit(journal: SqliteJournal) -> None:
    """When a batch can't be written, the source is asked for nothing more, and closed."""
    source = Script(batch("Invited"), batch("Chatting"))
    journal.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalError):
        run_virtual(pipeline(journal).take_all(source))
    assert (source.asked, source.closed) == (1, True)


async def cancelled(work: Awaitable[None], seconds: float) -> None:
    """Do some work, and cancel it after some seconds."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_stopped_while_waiting(journal: SqliteJournal) -> None:
    """What a source had read when it was stopped is journaled: after its farewell nobody sends that again."""
    source = Script(batch("Invited"), waits=True, at_its_end=[batch("Chatting"), batch("LeftChat")])
    run_virtual(cancelled(pipeline(journal).take_all(source), 5))
    assert states(journal) == ["Invited", "Chatting", "LeftChat"]
    assert source.closed


def test_stopped_while_writing() -> None:
    """A batch that is being written when the source is stopped is written to the end."""
    journal = Slow()
    source = Script(batch("Invited"), batch("Chatting"), waits=True)
    run_virtual(cancelled(pipeline(journal).take_all(source), 0.5))
    assert states(journal) == ["Invited", "Chatting"]
    journal.close()


# Handlers.


class Held(Handler):
    """A handler that notes when it is held, or can't be."""

    name: str
    _notes: list[str] = PrivateAttr(default_factory=list[str])
    _error: Exception | None = PrivateAttr(default=None)

    @classmethod
    def noting(cls, name: str, notes: list[str], error: Exception | None = None) -> "Held":
        """Return a handler that notes here."""
        held = cls(name=name)
        held._notes = notes
        held._error = error
        return held

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Note it, or fail."""
        if self._error is not None:
            raise self._error
        self._notes.append(f"{self.name} begins")
        try:
            yield
        finally:
            self._notes.append(f"{self.name} ends")

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()


async def test_handlers_run() -> None:
    """What handlers need is held from before the first delivery until after the last, and given back in reverse."""
    notes: list[str] = []
    async with running_handlers([Route(name, Held.noting(name, notes)) for name in ("one", "two")]):
        notes.append("work")
    assert notes == ["one begins", "two begins", "work", "two ends", "one ends"]


async def test_handler_that_cannot_start() -> None:
    """A handler that can't have its file or its port is a matter of the configuration, and named; the others end."""
    notes: list[str] = []
    routes = [
        Route("one", Held.noting("one", notes)),
        Route("two", Held.noting("two", notes, PermissionError(13, "Permission denied", "/x"))),
    ]
    with pytest.raises(ConfigurationError, match=r"handlers\.two: can't start: .*Permission denied: '/x'"):
        async with running_handlers(routes):
            notes.append("work")
    assert notes == ["one begins", "one ends"]


# Keeping house.


def test_keeping_house(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person asked for is done within a second; what is too old is forgotten, bite by bite, once a minute."""
    bites: list[tuple[float, datetime]] = []
    prune = SqliteJournal.prune

    async def noting(self: SqliteJournal, before: datetime, most_bytes: int | None) -> int:
        bites.append((now(), before))
        return await prune(self, before, most_bytes)

    monkeypatch.setattr(SqliteJournal, "prune", noting)

    async def main() -> None:
        intake = Intake(journal, [], VirtualClock())
        keeping = asyncio.create_task(keep_house(journal, intake, settings, VirtualClock()))
        with monkeypatch.context() as strict:
            strict.setattr(limits, "NOTIFICATION_BYTES", 1)
            await intake.take(batch("Invited"))
        for number in range(300):
            await append(journal, draft(f"T{number}", "Completed"), at=NOW - timedelta(hours=2))
        await append(journal, draft("T300", "Completed"))
        await asyncio.sleep(0.5)
        assert retry_quarantined(journal.reader(), 1)
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
        assert states(journal)[-1] == "Invited"
        await asyncio.sleep(2 * PRUNE_EVERY * HOUSEKEEPING_SECONDS)
        keeping.cancel()
        await asyncio.wait([keeping])

    settings = JournalSettings.model_validate({"retain": "1h"})
    with capture_logs() as logged:
        run_virtual(main())
    assert [round(at) for at, _ in bites] == [0, 60, 60, 60, 60, 120]
    assert bites[1][1] == after(60) - timedelta(hours=1)
    assert [line["entries"] for line in logged if line["event"] == "journal.pruned"] == [100, 100, 100]
    assert journal.reader().statistics().entries == 2


class Firing(Handler):
    """Tell that a delivery came."""

    _fired: asyncio.Event = PrivateAttr()

    @classmethod
    def setting(cls, fired: asyncio.Event) -> "Firing":
        """Return one that sets an event."""
        made = cls()
        made._fired = fired
        return made

    async def handle(self, delivery: Delivery) -> Outcome:
        """Set it."""
        del delivery
        self._fired.set()
        return Done()


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1)])
def test_machine_is_set(journal: SqliteJournal, by: timedelta) -> None:
    """When the machine's time is set, by a person or a time server, a clock still takes as long as it was to take."""

    async def main() -> tuple[float, datetime]:
        clock = VirtualClock()
        fired = asyncio.Event()
        await append(journal, draft("S1", "LeftChat", "log", due_at=after(300), wait=Wait.FOR))
        settings = JournalSettings()
        parts = (
            keep_house(journal, Intake(journal, [], clock), settings, clock),
            Dispatch(journal, [Route("log", Firing.setting(fired))], clock, SeededChance(1)).run(),
        )
        running = asyncio.gather(*parts)
        await asyncio.sleep(100)
        clock.step(by)
        await fired.wait()
        running.cancel()
        await asyncio.wait([running])
        return now(), clock.now()

    with capture_logs() as logged:
        seconds, at = run_virtual(main())
    assert (seconds, at) == (300, after(300) + by)
    assert [line["by"] for line in logged if line["event"] == "clock.stepped"] == [str(by)]


# The daemon.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where configuration and state are."""
    return tmp_path


def configured(folder: Path, gws: str, rest: str = "") -> Configuration:
    """Return a configuration."""
    (folder / "password").write_text("the-secret-of-agent1\n")
    path = folder / "fbsessiond.toml"
    secret = f'{{ file = "{folder / "password"}" }}'
    path.write_text(f'state_directory = "{folder / "state"}"\n' + gws.replace("SECRET", secret) + rest)
    return load(path)


BASIC = '[gws]\nurl = "http://gws.example:8090/"\nusername = "agent1"\npassword = SECRET\n'


class Ear:
    """Hears what is logged."""

    def __init__(self) -> None:
        self.lines: list[structlog.typing.EventDict] = []
        self._heard = asyncio.Event()

    def note(self, _: object, level: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Note a line, as one of structlog's processors."""
        self.lines.append(dict(line) | {"level": level})
        self._heard.set()
        raise structlog.DropEvent

    def heard(self, event: str) -> list[structlog.typing.EventDict]:
        """Return the lines about an event."""
        return [line for line in self.lines if line["event"] == event]

    async def until(self, event: str, count: int = 1) -> None:
        """Wait until an event was logged so often."""
        async with asyncio.timeout(SECONDS):
            while len(self.heard(event)) < count:
                self._heard.clear()
                await self._heard.wait()


@contextmanager
def listening() -> Generator[Ear, None, None]:
    """Hear what is logged, in the place of what is done with it otherwise."""
    processors = structlog.get_config()["processors"]
    before = list(processors)
    ear = Ear()
    processors[:] = [ear.note]
    try:
        yield ear
    finally:
        processors[:] = before


HANDLERS = "[handlers.log]\n[handlers.audit]\n"


def daemon_for(
    server: ScriptedServer,
    folder: Path,
    rest: str = HANDLERS,
    *,
    http: str = "",
    gws: str = "",
    manager: ServiceManager | None = None,
) -> asyncio.Task[None]:
    """Start a daemon that is configured for a server, and serves HTTP at an address, if there is one."""
    platform = BASIC.replace("http://gws.example:8090/", f"http://127.0.0.1:{server.port}") + gws
    configuration = configured(folder, platform, f'[http]\nlisten = "{http}"\n{rest}')
    return asyncio.create_task(
        run_daemon(
            configuration,
            SystemClock(),
            SeededChance(1),
            reload=lambda: load(folder / "fbsessiond.toml"),
            manager=manager,
        )
    )


def notify(server: ScriptedServer, *messages: Message) -> None:
    """Let the server's answer to the next connect bring these notifications."""

    def answer(connect: dict[str, Any]) -> list[dict[str, Any]]:
        reply = {"channel": "/meta/connect", "id": connect["id"], "successful": True}
        return [*(json.loads(one.raw) for one in messages), reply]

    server.script("/meta/connect", answer)


def interrupt(number: signal.Signals = signal.SIGTERM) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_daemon(folder: Path, number: signal.Signals) -> None:
    """It takes what the platform sends to journal and handlers, until a signal; then all is closed."""
    async with scripted() as server:
        notify(server, message("S1", "Invited"), message("S1", "Chatting"))
        with listening() as ear:
            running = daemon_for(server, folder)
            await ear.until("session.transition", 2)
            interrupt(number)
            await running
    assert [ear.lines[0]["event"], ear.lines[-1]["event"]] == ["daemon.started", "daemon.stopped"]
    assert (ear.lines[0]["agent"], ear.lines[0]["handlers"]) == ("agent1", ["log", "audit"])
    journal = SqliteJournal(folder / "state" / "journal.db", NOW)
    assert states(journal) == ["Invited", "Chatting"]
    journal.close()
    assert len((folder / "state" / "audit.jsonl").read_bytes().splitlines()) == 2
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}
    assert asyncio.all_tasks() == {asyncio.current_task()}


def reconfigure(folder: Path, old: str, new: str) -> None:
    """Change the configuration's file, and have the daemon read it."""
    file = folder / "fbsessiond.toml"
    file.write_text(file.read_text().replace(old, new))
    interrupt(signal.SIGHUP)


async def test_reload(folder: Path) -> None:
    """After SIGHUP it goes on as the file says now, in the same CometD session; nothing is lost between the two."""
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        notify(server, message("S1", "Invited"))
        with listening() as ear:
            running = daemon_for(server, folder)
            await ear.until("session.transition")
            reconfigure(folder, "[handlers.audit]", "[handlers.second]\nuse = 'log'")
            server.publish(1)
            await ear.until("cometd.resumed")
            interrupt()
            await running
    first, second = ear.heard("daemon.started")
    assert (first["handlers"], second["handlers"]) == (["log", "audit"], ["log", "second"])
    assert server.handshakes == 1
    assert ear.lines[-1]["event"] == "daemon.stopped"


async def test_several_agents(folder: Path) -> None:
    """Each of several agents has its own conversation; one that is refused, or is new, doesn't disturb the others."""
    table = '[[agents]]\nusername = "agent{}"\npassword = {{ file = "{}" }}\n'
    second, third = (table.format(number, folder / "password") for number in (2, 3))
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        with listening() as ear:
            running = daemon_for(server, folder, f"{HANDLERS}{second}", http="127.0.0.1:0")
            await ear.until("cometd.subscribed", 2)
            assert {line["agent"] for line in ear.heard("cometd.subscribed")} == {"agent1", "agent2"}
            server.script("/meta/handshake", 401)
            reconfigure(folder, second, second + third)
            await ear.until("agent.left")
            notify(server, message("S1", "Invited"))
            server.publish(1)
            await ear.until("session.transition")
            url = ear.heard("daemon.started")[0]["http"]
            assert "connections: 2 of 3; not agent3: GWS refused" in (await get(f"{url}/readyz?verbose"))[1]
            shown = json.loads((await get(f"{url}/api/overview"))[1])["agents"]
            assert {one["agent"]: one["is_connected"] for one in shown} == {
                "agent1": True,
                "agent2": True,
                "agent3": False,
            }
            reconfigure(folder, second + third, third)
            await ear.until("agents.reloaded", 2)
            await ear.until("agent.left", 1)
            interrupt()
            await running
    assert len(ear.heard("daemon.started")) == 1
    assert ear.heard("cometd.closed")[0]["agent"] == "agent2"
    assert ear.lines[-1]["event"] == "daemon.stopped"


WRONG = [
    ("[handlers.audit]", "[handlers.audut]", "handlers.audut"),
    ("[handlers.audit]", '[handlers.audit]\npath = "/proc/audit.jsonl"', "handlers.audit: can't start"),
    ("[gws]", "[gws", "fbsessiond.toml"),
    ("[handlers.log]", '[journal]\nurl = "sqlite:other.db"\n[handlers.log]', "journal.url: can't be changed"),
    ('username = "agent1"', 'username = "agent2"', "GWS refused the credentials"),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG)
async def test_wrong_reload(folder: Path, old: str, new: str, words: str) -> None:
    """With a configuration that is wrong, or with which it can't start, it goes on as before, and says why."""
    manager = ServiceManager(None)
    async with scripted(ScriptedServer(acknowledge=True)) as server:
        with listening() as ear:
            notify(server, message("S1", "Invited"))
            running = daemon_for(server, folder, manager=manager)
            await ear.until("session.transition")
            if "username" in old:
                server.script("/meta/handshake", 401)
            reconfigure(folder, old, new)
            await ear.until("configuration.refused")
            notify(server, message("S2", "Invited"))
            server.publish(1)
            await ear.until("session.transition", 2)
            interrupt()
            await running
    assert words in ear.heard("configuration.refused")[0]["error"]
    assert words in manager.remark
    assert {tuple(line["handlers"]) for line in ear.heard("daemon.started")} == {("log", "audit")}
    assert server.handshakes == 1
    assert not (folder / "state" / "other.db").exists()


async def get(url: str) -> tuple[int, str]:
    """Ask for a page, and return status and text."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_http(folder: Path) -> None:
    """It says where it serves HTTP, and there how it is and what it counts, until it ends."""
    async with scripted() as server:
        with listening() as ear:
            running = daemon_for(server, folder, http="127.0.0.1:0")
            await ear.until("snapshot.unavailable")
            url = ear.heard("daemon.started")[0]["http"]
            assert await get(f"{url}/livez") == (200, "alive\n")
            assert await get(f"{url}/readyz") == (503, "not ready: coverage agent1\n")
            status, values = await get(f"{url}/metrics")
            expected = {
                'fbsessiond_agents_connected{group="default"} 1.0',
                'fbsessiond_gaps_total{cause="start"} 1.0',
                "fbsessiond_ready 0.0",
                "fbsessiond_handshakes_total 1.0",
                'fbsessiond_pending_deliveries{handler="log",state="due"} 0.0',
                'fbsessiond_deliveries_total{handler="log",outcome="dead"} 0.0',
            }
            assert (status, expected - {*values.splitlines()}) == (200, set())
            assert "fbsessiond_coverage_ratio" in values
            interrupt()
            await running
            with pytest.raises(aiohttp.ClientConnectorError):
                await get(url)


@with_promtool
async def test_exposition(folder: Path) -> None:
    """Prometheus' own check finds nothing to say about what the daemon exposes while it runs."""
    async with scripted() as server:
        with listening() as ear:
            running = daemon_for(server, folder, http="127.0.0.1:0")
            await ear.until("snapshot.unavailable")
            _, values = await get(f"{ear.heard('daemon.started')[0]['http']}/metrics")
            assert await asyncio.to_thread(promtool, "check", "metrics", given=values) == (0, "")
            interrupt()
            await running


async def test_traces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a collector configured, a notification's way is sent there."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    async with scripted() as server, collecting() as collector:
        notify(server, message("S1", "Invited"))
        with listening() as ear:
            running = daemon_for(server, folder, f'{HANDLERS}[traces]\nendpoint = "{collector.url}"\n')
            await ear.until("session.transition")
            await until(lambda: {"receive", "deliver log"} <= {span.name for span in collector.spans})
            interrupt()
            await running
    assert collector["receive"].id == collector["deliver log"].parent


async def test_traces_without_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra isn't installed, the daemon doesn't start, and says what it needs."""
    monkeypatch.setitem(sys.modules, "fbsessiond.traces", None)
    async with scripted() as server:
        rest = f'{HANDLERS}[traces]\nendpoint = "http://127.0.0.1:4318"\n'
        with pytest.raises(ConfigurationError, match=r"traces\.endpoint: needs the extra `traces`: pip install"):
            await daemon_for(server, folder, rest)


def test_import() -> None:
    """Where no traces are wanted, nothing of OpenTelemetry is imported."""
    program = "import sys, fbsessiond.service, fbsessiond.metrics; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_http_off(folder: Path) -> None:
    """Told not to serve HTTP it says that it serves it nowhere."""
    async with scripted() as server:
        with listening() as ear:
            running = daemon_for(server, folder)
            await ear.until("daemon.started")
            interrupt()
            await running
    assert ear.heard("daemon.started")[0]["http"] is None


async def test_http_in_use(folder: Path) -> None:
    """Where somebody else listens at its address it doesn't start, and names the setting; all is closed."""
    async with scripted() as server:
        with pytest.raises(ConfigurationError, match=r"http\.listen: can't listen on"):
            await daemon_for(server, folder, http=f"127.0.0.1:{server.port}")
    assert server.received == []
    SqliteJournal(folder / "state" / "journal.db", NOW).close()


@pytest.mark.parametrize(("gws", "is_kept"), [("", True), ("resume = false\n", False)])
async def test_restart(folder: Path, gws: str, is_kept: bool) -> None:
    """The next daemon goes on with the CometD session of the last; told not to resume, each begins and ends its own."""
    async with scripted() as server:
        server.acknowledge = True

        def has_connected(times: int) -> bool:
            return len(server.seen("/meta/connect")) >= times

        for number in range(2):
            with listening() as ear:
                running = daemon_for(server, folder, gws=gws)
                connects = len(server.seen("/meta/connect"))
                await ear.until("cometd.resumed" if number and is_kept else "cometd.subscribed")
                await until(partial(has_connected, connects + 2))
                interrupt()
                await running
            assert ear.heard("cometd.closed")[0]["farewell"] is not is_kept
        assert server.handshakes == (1 if is_kept else 2)
        assert len(server.seen("/meta/disconnect")) == (0 if is_kept else 2)
        clients = {message["clientId"] for message in server.seen("/meta/connect")}
        assert len(clients) == server.handshakes


async def test_snapshots(folder: Path) -> None:
    """Snapshots are taken as often as is configured, and what they show and notifications say is one knowledge."""

    def listed(_: object) -> web.Response:
        return web.json_response({"statusCode": 0, "facebooksessions": [{"id": "S1", "state": "Chatting"}]})

    async with scripted(ScriptedServer(hold_ms=500)) as server:
        server.script("GET", *[listed] * 100)
        with listening() as ear:
            snapshots = '[snapshots]\nevery = "1s"\nsettling = "10ms"\n'
            began = now()
            running = daemon_for(server, folder, f"{snapshots}{HANDLERS}")
            await ear.until("session.transition")
            assert now() - began < 4
            notify(server, message("S1", "LeftChat"))
            server.publish(1)
            await ear.until("session.transition", 3)
            interrupt()
            await running
    assert [line["after"] for line in ear.heard("session.transition")] == ["Chatting", "LeftChat", "Chatting"]
    assert len(ear.heard("gap.silent")) == 1


async def test_refused(folder: Path) -> None:
    """Refused credentials end it with `RefusedError`."""
    async with scripted() as server:
        server.script("/meta/handshake", 401)
        with listening() as ear, pytest.raises(RefusedError):
            await daemon_for(server, folder)
    assert ear.heard("daemon.stopped") == []


class Refusing(Handler):
    """A handler that is at work until it is let go."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Take longer than a test."""
        del delivery
        await asyncio.sleep(3600)
        raise AssertionError


async def test_broken_journal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that breaks ends it with `DiskError`; that it isn't ready is said at once, while what runs ends."""
    told: list[str] = []
    manager = ServiceManager(None)

    def tell(*lines: str) -> None:
        told.extend(lines)

    monkeypatch.setattr(manager, "tell", tell)
    async with scripted() as server:
        with listening() as ear:
            rest = f"[handlers.refusing]\nuse = '{__name__}:Refusing'\n"
            notify(server, message("S1", "Invited"))
            running = daemon_for(server, folder, rest, http="127.0.0.1:0", manager=manager)
            await ear.until("cometd.subscribed")
            url = ear.heard("daemon.started")[0]["http"]
            assert "ok   journal: whole\nok   handlers: whole\n" in (await get(f"{url}/readyz?verbose"))[1]
            with sqlite3.connect(folder / "state" / "journal.db") as another:
                another.execute("DROP TABLE entries")
            another.close()
            notify(server, message("S2", "Invited"))
            server.publish(1)
            await until(lambda: any(line.startswith("STATUS=failed: ") for line in told))
            assert not running.done()
            status, words = await get(f"{url}/readyz?verbose")
            assert (status, "FAIL journal: failed: the daemon ends" in words) == (503, True)
            with pytest.raises(DiskError):
                await running


async def test_in_use(folder: Path) -> None:
    """A journal that another daemon writes is a `DiskError`; nothing is asked of the platform, no file is opened."""
    journal = SqliteJournal(folder / "state" / "journal.db", NOW)
    async with scripted() as server:
        with pytest.raises(JournalError, match="another fbsessiond"):
            await daemon_for(server, folder)
    assert server.received == []
    assert not (folder / "state" / "audit.jsonl").exists()
    journal.close()


NO_START = [
    ("[handlers.log]\nvolume = 11\n", "", "volume"),
    ('[handlers.audit]\npath = "/proc/audit.jsonl"\n', "", r"handlers\.audit: can't start"),
    (HANDLERS, 'ca_file = "/nowhere"\n', "no CA certificates"),
    (HANDLERS, "IN USE", r"http\.listen: can't listen on"),
]


@pytest.mark.parametrize(("rest", "gws", "words"), NO_START)
async def test_wrong_configuration(folder: Path, rest: str, gws: str, words: str) -> None:
    """Any mistake is found before the journal is touched: what was leased there stays as it is, byte for byte."""
    path = folder / "state" / "journal.db"
    journal = SqliteJournal(path, NOW)
    await append(journal, draft("S1", "Invited", "log"), misfit())
    await lease(journal)
    journal.close()
    before = path.read_bytes()
    async with scripted() as server:
        http = f"127.0.0.1:{server.port}" if gws == "IN USE" else ""
        with pytest.raises(ConfigurationError, match=words):
            await daemon_for(server, folder, rest, http=http, gws="" if http else gws)
    assert path.read_bytes() == before
    assert {found.name for found in path.parent.iterdir()} <= {"journal.db", "journal.db.lock", "audit.jsonl"}
    assert server.received == []


async def test_backlog(folder: Path) -> None:
    """What an earlier daemon left undone is carried out."""
    journal = SqliteJournal(folder / "state" / "journal.db", NOW)
    await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log"))
    await settle(journal, *await lease(journal))
    await lease(journal)
    journal.close()
    async with scripted() as server:
        with listening() as ear:
            running = daemon_for(server, folder, '[handlers.log]\n[journal]\nretain = "9000d"\n')
            await ear.until("session.transition")
            interrupt()
            await running
    assert [line["seq"] for line in ear.heard("session.transition")] == [2]


def test_relation() -> None:
    """The journal is pruned about once a minute."""
    assert 30 <= service.PRUNE_EVERY * service.HOUSEKEEPING_SECONDS <= 120

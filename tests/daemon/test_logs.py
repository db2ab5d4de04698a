import asyncio
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from fbsessiond import logs
from fbsessiond.errors import FbsessiondError
from fbsessiond.logs import LONGEST_TEXT, configure_logs
from fbsessiond.testing import EPOCH
from journald_socket import JournaldSocket, listening
from terminals import shown_on_terminal

HOSTILE = "a\nb\r\t\x1b[2J\x07\x7f\x9b1m\u2028\u202e\u2066\u200d\ud83d\U000e0001 é 漢字 🙂 [red]x[/red] \\"
"""Line breaks, ANSI, C1 controls, bidi overrides, half a character, a tag character; and what is fine."""

log = structlog.get_logger("fbsessiond.test")
library = logging.getLogger("a_library")


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Return the one time that it shows."""
        return EPOCH

    def monotonic(self) -> float:
        """Return the one time that it shows."""
        return 0.0

    def stepped(self) -> timedelta:
        """Nobody sets it."""
        return timedelta()


@pytest.fixture(autouse=True)
def _restored() -> Generator[None, None, None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    loggers = [root, logging.getLogger("fbsessiond"), logging.getLogger("fbsessiond_handlers")]
    handlers, levels = root.handlers, [logger.level for logger in loggers]
    yield
    root.handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Log to a pipe; return how to get the lines."""
    pipe = StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    configure_logs(FixedClock())
    return lambda: [json.loads(line) for line in pipe.getvalue().split("\n")[:-1]]


def logged_on_terminal(write: Callable[[], None]) -> str:
    """Return what is shown on a terminal while something is logged."""

    def configure_and_write() -> None:
        configure_logs(FixedClock())
        write()

    return shown_on_terminal("stderr", configure_and_write)


def test_json_on_a_pipe(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """On a pipe an event is one JSON object on one line: time, level and event first, then what belongs to it."""
    log.info("session.transition", seq=3, session="S1", before=None, handlers=["log"])
    log.warning("second", where=EPOCH)
    first, second = lines()
    assert list(first.items()) == [
        ("at", "2026-01-01T00:00:00.000+00:00"),
        ("level", "info"),
        ("event", "session.transition"),
        ("seq", 3),
        ("session", "S1"),
        ("before", None),
        ("handlers", ["log"]),
    ]
    assert second == {"at": first["at"], "level": "warning", "event": "second", "where": "2026-01-01 00:00:00+00:00"}


def test_libraries(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A library's line comes out the same way, with what it adds, from its warnings upwards."""
    library.info("chatter")
    library.warning("slow: %s", "connect", extra={"host": "gws.example"})
    (line,) = lines()
    assert list(line) == ["at", "level", "event", "host"]
    assert (line["level"], line["event"], line["host"]) == ("warning", "slow: connect", "gws.example")


def test_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in an event ends its line, begins another, or moves a terminal's cursor, on a pipe or a terminal."""
    pipe = StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    configure_logs(FixedClock())
    log.info(HOSTILE, text=HOSTILE, inside={"list": [HOSTILE]})
    library.error(HOSTILE)
    ours, theirs = pipe.getvalue().removesuffix("\n").split("\n")
    assert (ours + theirs).isprintable()
    assert (json.loads(ours)["text"], json.loads(ours)["inside"]) == (HOSTILE, {"list": [HOSTILE]})
    shown = logged_on_terminal(lambda: log.info(HOSTILE, text=HOSTILE, inside=[HOSTILE]))
    assert shown.count("\n") == 1
    assert "\x1b[2J" not in shown
    assert not {"\x07", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066"} & set(shown)
    assert "é 漢字 🙂 [red]x[/red]" in shown


def test_text_on_a_terminal() -> None:
    """On a terminal an event is a line of coloured text."""
    shown = logged_on_terminal(lambda: log.info("session.transition", session="S1", seq=3))
    assert shown.endswith("\n")
    assert "\x1b[" in shown
    for part in ("2026-01-01T00:00:00.000+00:00", "info", "session.transition", "session", "S1"):
        assert part in shown


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("debug", ["debug", "info", "warning", "error", "library warning", "library error"]),
        ("info", ["info", "warning", "error", "library warning", "library error"]),
        ("warning", ["warning", "error", "library warning", "library error"]),
        ("error", ["error", "library error"]),
    ],
)
def test_level(monkeypatch: pytest.MonkeyPatch, level: str, logged: list[str]) -> None:
    """What is below the level isn't logged, whoever logs it."""
    pipe = StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    configure_logs(FixedClock(), level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
        getattr(library, name)("library %s", name)
    assert [json.loads(line)["event"] for line in pipe.getvalue().splitlines()] == sorted(
        logged, key=lambda text: (["debug", "info", "warning", "error"].index(text.split()[-1]), len(text))
    )


def fail(customer: str) -> None:
    """Fail with a customer's name in a local variable."""
    greeting = f"hello {customer}"
    raise LookupError(len(greeting))


def log_failures() -> None:
    """Log one exception by ourselves, and one as a library does."""
    try:
        fail("Vitaliy")
    except LookupError:
        log.exception("failed")
        library.exception("failed, too")


def test_exceptions(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """An exception is part of its event: its traceback, without its text and the local variables on the way."""
    log_failures()
    for line in lines():
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("\nLookupError")
        assert "in fail" in line["exception"]
        assert "Vitaliy" not in line["exception"].replace('fail("Vitaliy")', "")


def test_exceptions_on_a_terminal() -> None:
    """On a terminal its lines follow the event, set apart from those of others, without local variables either."""
    shown = logged_on_terminal(log_failures).split("\n")
    assert len([line for line in shown if line and not line.startswith("  ")]) == 2
    assert shown.count("  LookupError") == 2
    assert not any("Vitaliy" in line for line in shown if 'fail("Vitaliy")' not in line)


def test_forged_exception() -> None:
    """An error's text can't pass for an event of its own: one that is shown is set in."""
    error = FbsessiondError("bad\n2026-01-01 [info] all is well\x1b[1A")
    shown = logged_on_terminal(lambda: log.error("failed", exc_info=error))
    assert "  2026-01-01 [info] all is well" in shown
    assert "\n2026" not in shown
    assert "\x1b[1A" not in shown
    assert "\n  ValueError\n" in logged_on_terminal(lambda: log.error("failed", exc_info=ValueError("bad")))


def test_exception_info(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Where there is no exception, none is told."""
    log.error("one", exc_info=True)  # noqa: LOG014  that is what is tested
    log.error("two", exc_info=False)
    log.error("three", exc_info=(ValueError, ValueError("bad"), None))
    assert [line.get("exception") for line in lines()] == [None, None, "ValueError"]


def test_long_texts(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """What is too long is cut, and its length told; of a traceback the end stays."""
    log.error("long", text="x" * (LONGEST_TEXT + 1), fine="x" * LONGEST_TEXT, exception=f"{'y' * LONGEST_TEXT}KeyError")
    (line,) = lines()
    assert line["text"] == f"{'x' * LONGEST_TEXT}… {LONGEST_TEXT + 1} characters …"
    assert line["fine"] == "x" * LONGEST_TEXT
    assert line["exception"].startswith(f"… {LONGEST_TEXT + 8} characters …yyy")
    assert line["exception"].endswith("yKeyError")


def test_asyncio(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """What asyncio tells of a task or a callback that failed names the failure, and shows no value."""

    async def fail_alone() -> None:
        task = asyncio.create_task(raising("Vitaliy"))
        asyncio.get_running_loop().call_soon(failing, "Vitaliy")
        await asyncio.wait([task])
        del task
        gc.collect()

    async def raising(customer: str) -> None:
        raise LookupError(customer)

    def failing(customer: str) -> None:
        raise LookupError(customer)

    asyncio.run(fail_alone())
    logged = lines()
    assert [line["event"].partition(" test_")[0] for line in logged] == [
        "Exception in callback",
        "Task exception was never retrieved",
    ]
    assert all(line["exception"].endswith("\nLookupError") for line in logged)
    assert "Vitaliy" not in json.dumps(logged)


def test_half_characters(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """What can't be written in UTF-8, such as the name of a file, is logged all the same."""
    log.info("unreadable", path=os.fsdecode(b"caf\xe9.json"))
    assert lines()[0]["path"] == "caf\udce9.json"


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[JournaldSocket, None, None]:
    """Log as under systemd: standard error is what its journal reads."""
    with listening(tmp_path / "socket") as socket, (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(logs, "ADDRESS", socket.address)
        configure_logs(FixedClock())
        yield socket
    assert (tmp_path / "stream").read_text() == ""


def entries(socket: JournaldSocket) -> list[dict[str, str]]:
    """Return what the journal got; a field that comes twice is a mistake."""
    found = socket.entries()
    assert all(len(dict(entry)) == len(entry) for entry in found)
    return [{name: value.decode() for name, value in entry} for entry in found]


def test_fields_in_the_journal(socket: JournaldSocket) -> None:
    """In systemd's journal an event has a field for each of its parts, beside the text that people read."""
    log.info("session.transition", session="S1", before=None, after="LeftChat", seq=220, handlers=["log"])
    (entry,) = entries(socket)
    assert entry == {
        "EVENT": "session.transition",
        "SESSION": "S1",
        "AFTER": "LeftChat",
        "SEQ": "220",
        "HANDLERS": '["log"]',
        "MESSAGE": 'session.transition session=S1 after=LeftChat seq=220 handlers=["log"]',
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "fbsessiond",
    }


@pytest.mark.parametrize(
    ("about", "handler"),
    [
        ({"delivery": "220/wrap-up"}, "wrap-up"),
        ({"follow_up": "220/wrap-up/1"}, "wrap-up"),
        ({"delivery": "220/wrap-up", "handler": "wrap-up"}, "wrap-up"),
        ({}, None),
    ],
)
def test_transition_in_the_journal(socket: JournaldSocket, about: dict[str, str], handler: str | None) -> None:
    """What is about a delivery or a follow-up says which transition and which handler caused it."""
    log.warning("delivery.failed", **about)
    (entry,) = entries(socket)
    assert entry.get("TRANSITION") == ("220" if about else None)
    assert entry.get("HANDLER") == handler


def test_priority_in_the_journal(socket: JournaldSocket) -> None:
    """Levels are the journal's priorities; one that it doesn't know counts as information."""
    logging.getLogger("fbsessiond").setLevel(logging.DEBUG)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("debug"))
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(structlog.get_logger("fbsessiond.test"), level)(level)
    library.log(35, "between two levels")
    assert [entry["PRIORITY"] for entry in entries(socket)] == ["7", "6", "4", "3", "2", "6"]


def test_forged_field_in_the_journal(socket: JournaldSocket) -> None:
    """Nothing in an event makes a field, ends a line, or passes for another part of the text."""
    log.info("event", session="S1\nPRIORITY=0\nMESSAGE=all is well", text="x session=S2", message="y", _pid=1, é=2)
    library.error(HOSTILE, extra={"priority": "0"})
    first, second = entries(socket)
    assert first["SESSION"] == "S1\nPRIORITY=0\nMESSAGE=all is well"
    assert "_PID" not in first
    assert (first["PRIORITY"], second["PRIORITY"]) == ("6", "3")
    assert first["MESSAGE"] == (
        r'event session="S1\nPRIORITY=0\nMESSAGE=all is well" text="x session=S2" message=y _pid=1 é=2'
    )
    assert second["MESSAGE"].isprintable()


def test_exceptions_in_the_journal(socket: JournaldSocket) -> None:
    """An exception's lines are a field of their own, and stand below the event, set apart from it."""
    log_failures()
    for entry in entries(socket):
        first, *others = entry["MESSAGE"].split("\n")
        assert first in {"failed", "failed, too"}
        assert others == [f"  {line}" for line in entry["EXCEPTION"].split("\n")]
        assert others[-1] == "  LookupError"


async def test_what_it_is_about(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """What is bound to a task stands in each line that is logged in it; what a line says itself goes first."""
    with structlog.contextvars.bound_contextvars(handler="wrap-up", session="S1"):
        log.info("first", session="S2")
        library.warning("second")
    first, second = lines()
    assert (first["handler"], first["session"]) == ("wrap-up", "S2")
    assert (second["handler"], second["session"]) == ("wrap-up", "S1")

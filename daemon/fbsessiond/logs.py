"""The daemon's log: one event a line on standard error, JSON on a pipe, coloured text on a terminal.

Where standard error ends in systemd's journal, an event goes there with fields of its own instead. Nothing that stands
in an event can end its line or move a terminal's cursor: see `printable` and `printable_json`. Of an exception its
traceback is logged, and not its text, which can hold customer data: see `crashes`.
"""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from fbsessiond.clock import Clock
from fbsessiond.crashes import told
from fbsessiond.environment import journal_stream
from fbsessiond.journald import ADDRESS, JournaldStream, is_read_by_journald
from fbsessiond.printable import printable, printable_json

LIBRARIES = logging.WARNING
"""What libraries log below this level is passed over."""

OURS = ("fbsessiond", "fbsessiond_handlers")

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""The levels in the journal's words. [syslog(3)]"""

LONGEST_TEXT = 16_384
"""Of a longer text in an event so many characters are logged, and how many there are."""

_VALUES = re.compile(r"[\n(<].*", re.DOTALL)
"""What follows asyncio's own words in its messages: how tasks and callbacks write themselves, with what they hold."""


def configure_logs(clock: Clock, level: str = "info") -> None:
    """Send all log lines, those of libraries too, to standard error."""

    def add_time(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["at"] = clock.now().isoformat(timespec="milliseconds")
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,  # what a handler is working on
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        add_time,
        _without_values,
        _tell_exception,
        _shorten,
    ]
    stream: Any = sys.stderr
    renderers: list[Any] = [_to_json]
    if sys.stderr.isatty():
        renderers = [_escape, structlog.dev.ConsoleRenderer(timestamp_key="at")]
    elif is_read_by_journald(sys.stderr, journal_stream()):
        stream, renderers = JournaldStream(ADDRESS), [_to_fields]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            foreign_pre_chain=shared,
        )
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(LIBRARIES, number))
    for name in OURS:
        logging.getLogger(name).setLevel(number)


def _without_values(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep asyncio's own words alone: its messages show results, exceptions and arguments of whoever runs."""
    record = event.get("_record")
    if record is not None and record.name == "asyncio":
        event["event"] = _VALUES.sub("", event["event"]).rstrip()
    return event


def _tell_exception(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put an exception's traceback in the place of the exception."""
    match event.pop("exc_info", None):
        case BaseException() as error:
            pass
        case (_, error, _):
            pass
        case True:
            error = sys.exc_info()[1]
        case _:
            error = None
    if error is not None:
        event["exception"] = told(error)
    return event


def _shorten(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut what is too long; of an exception its end is what tells most."""
    for key, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            left_out = f"… {len(value)} characters …"
            is_trace = key == "exception"
            event[key] = left_out + value[-LONGEST_TEXT:] if is_trace else value[:LONGEST_TEXT] + left_out
    return event


def _to_json(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """Render an event as one line of JSON."""
    first = {"at": event.pop("at", None), "level": event.pop("level", None), "event": event.pop("event", None)}
    return printable_json(_compact({**first, **event}))


def _to_fields(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """Render an event as an object of the journal's fields: each part by its name, and all of them as a text.

    What is about a delivery (`220/wrap-up`) or a follow-up (`220/wrap-up/1`) is about its transition and handler, too.
    """
    level, name, exception = event.pop("level"), event.pop("event"), event.pop("exception", None)
    del event["at"]  # journald knows
    number, *handler = str(event.get("delivery") or event.get("follow_up") or "").split("/")[:2]
    parts = {"event": name, "transition": number or None, "handler": "".join(handler) or None, "exception": exception}
    texts = {key.upper(): _text(value) for key, value in {**parts, **event}.items() if value is not None}
    words = [printable(name), *(f"{key}={_word(value)}" for key, value in event.items() if value is not None)]
    lines = [" ".join(words), *(f"  {printable(line)}" for line in (exception or "").splitlines())]
    priority = PRIORITIES.get(level, PRIORITIES["info"])
    ours = {"MESSAGE": "\n".join(lines), "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": OURS[0]}
    return _compact({**texts, **ours})


def _word(value: object) -> str:
    """Return a value as it stands in a text, where the next one can't be taken for a part of it."""
    is_plain = isinstance(value, str) and value.isprintable() and not set(' "=') & set(value)
    return str(value) if is_plain else printable_json(_compact(value))


def _text(value: object) -> str:
    return value if isinstance(value, str) else _compact(value)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


def _escape(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape an event's texts; an exception's lines stay lines, and are set apart from those of other events."""
    for key, value in event.items():
        if isinstance(value, str):
            is_trace = key == "exception"
            lines = (f"  {printable(line)}" for line in value.split("\n"))
            event[key] = "\n".join(lines) if is_trace else printable(value)
    return event

"""The daemon's log: one event a line on standard error, JSON on a pipe, coloured text on a terminal.

Nothing that stands in an event can end its line or move a terminal's cursor: see `printable` and `printable_json`.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from fbsessiond.clock import Clock

LIBRARIES = logging.WARNING
"""What libraries log below this level is passed over."""

OURS = ("fbsessiond", "fbsessiond_handlers")


def configure_logs(clock: Clock, level: str = "info") -> None:
    """Send all log lines, those of libraries too, to standard error."""

    def add_time(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["at"] = clock.now().isoformat(timespec="milliseconds")
        return event

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        add_time,
        structlog.processors.format_exc_info,  # other tracebacks show local variables, and customer data in them
    ]
    renderers = [_escape, structlog.dev.ConsoleRenderer(timestamp_key="at")] if sys.stderr.isatty() else [_to_json]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
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


def printable(text: str) -> str:
    r"""Return a text with every character escaped that can't be seen: `\n`, `\x1b`, `\u202e`.

    These are control characters, line breaks of all kinds, what changes the direction of writing, and halves of
    characters.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_json(text: str) -> str:
    """Return a JSON text that means the same, every character escaped in it that can't be seen."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _to_json(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """Render an event as one line of JSON."""
    first = {"at": event.pop("at", None), "level": event.pop("level", None), "event": event.pop("event", None)}
    return printable_json(json.dumps({**first, **event}, ensure_ascii=False, default=str, separators=(",", ":")))


def _escape(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape an event's texts; an exception's lines stay lines, and are set apart from those of other events."""
    for key, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if key == "exception" else [value]
            event[key] = "\n".join(f"  {printable(line)}" for line in lines) if len(lines) > 1 else printable(value)
    return event

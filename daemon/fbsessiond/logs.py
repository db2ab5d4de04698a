"""The daemon's log: one event a line on standard error, JSON on a pipe, coloured text on a terminal."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog

from fbsessiond.clock import Clock


def configure_logs(clock: Clock, level: str = "info") -> None:
    """Send all log lines, those of libraries too, to standard error."""
    on_terminal = sys.stderr.isatty()

    def add_time(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["at"] = clock.now().isoformat(timespec="milliseconds")
        return event

    shared: list[Any] = [structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder(), add_time]
    renderer = structlog.dev.ConsoleRenderer(timestamp_key="at") if on_terminal else _JsonLine()
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("fbsessiond").setLevel(level.upper())
    logging.getLogger("fbsessiond_handlers").setLevel(level.upper())


class _JsonLine:
    """Renders an event as one line of JSON; JSON's own escapes keep whatever stands in it on that line."""

    def __call__(self, _: object, __: str, event: MutableMapping[str, Any]) -> str:
        first = {"at": event.pop("at", None), "level": event.pop("level", None), "event": event.pop("event", None)}
        return msgspec.json.encode({**first, **event}, enc_hook=str).decode()

"""A command's log. Setting it up takes longer than most commands that look at a journal: they do without."""

from typing import Any

from fbsessiond.clock import SystemClock


def set_up_log() -> None:
    """Have what goes wrong logged, and nothing else: what a command has to tell, it prints."""
    from fbsessiond.logs import configure_logs  # noqa: PLC0415  see above

    configure_logs(SystemClock(), "error")


def logger() -> Any:
    """Return the log, set up now if it isn't."""
    import structlog  # noqa: PLC0415  see above

    if not structlog.is_configured():
        set_up_log()
    return structlog.get_logger(__name__)

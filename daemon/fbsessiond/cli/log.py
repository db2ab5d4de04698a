"""A command's log. Setting it up takes longer than most commands that look at a journal: they do without."""

import sys
from importlib import import_module
from typing import Any, cast

from fbsessiond.clock import SystemClock


def set_up_log() -> None:
    """Have what goes wrong logged, and nothing else: what a command has to tell, it prints."""
    _import_structlog()
    from fbsessiond.logs import configure_logs  # noqa: PLC0415  see above

    configure_logs(SystemClock(), "error")


def logger() -> Any:
    """Return the log, set up now if it isn't."""
    _import_structlog()
    import structlog  # noqa: PLC0415  see above

    if not structlog.is_configured():
        set_up_log()
    return structlog.get_logger(__name__)


def _import_structlog() -> None:
    """Import it without rich, where nobody imported that before.

    It would take rich for tracebacks, which are none of its in our log: 4 MB of a daemon that needs 60.
    """
    if "rich" not in sys.modules:
        modules = cast("dict[str, object]", sys.modules)
        modules["rich"] = None  # has an import fail
        try:
            import_module("structlog")
        finally:
            del modules["rich"]

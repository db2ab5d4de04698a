"""How many files and sockets the process may have open: each agent needs its own connections.

Where it isn't told otherwise, a process may have 1,024, and may allow itself more, up to a hard limit.
"""

import resource

import structlog

log = structlog.get_logger(__name__)

AN_AGENT = 3
"""So many connections of an agent are open at a time as a rule: one that is held, and now and then a request."""

OTHERS = 500
"""The journal, the page's visitors, handlers' own files."""


def allow_open_files(agents: int) -> None:
    """Allow this process as many as so many agents need, or as can be had; say so where that is less."""
    wanted = OTHERS + AN_AGENT * agents
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_less(soft, wanted):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if _is_less(hard, wanted) else wanted, hard))
    if _is_less(hard, wanted):
        log.warning("open_files.too_few", allowed=hard, wanted=wanted, hint="under systemd, set LimitNOFILE=")


def _is_less(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted

"""fbsessiond.open_files: a process with many agents may have as many sockets open as they need."""

import resource
from collections.abc import Generator

import pytest
from structlog.testing import capture_logs

from fbsessiond.open_files import AN_AGENT, OTHERS, allow_open_files

BEFORE = resource.getrlimit(resource.RLIMIT_NOFILE)
SOFT = 600
"""What the process is allowed here, and may raise."""
NEEDS_MORE = 200
"""Agents that need more than that."""


@pytest.fixture(autouse=True)
def limited() -> Generator[None]:
    """Let this process have few files open."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, BEFORE[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, BEFORE)


def allowed(agents: int) -> int:
    """Return how many files may be open when so many agents are to be watched."""
    allow_open_files(agents)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_few() -> None:
    """For few agents it stays as it is."""
    assert allowed(1) == SOFT


def test_many() -> None:
    """For many it is raised to what they need; and it isn't lowered for few."""
    with capture_logs() as logged:
        assert allowed(NEEDS_MORE) == OTHERS + NEEDS_MORE * AN_AGENT
        assert allowed(1) == OTHERS + NEEDS_MORE * AN_AGENT
    assert logged == []


def test_too_many() -> None:
    """Where the hard limit doesn't let it, it is raised as far as that goes, and a person is told what to do."""
    with capture_logs() as logged:
        assert allowed(BEFORE[1]) == BEFORE[1]
    assert [(line["event"], line["allowed"], line["hint"]) for line in logged] == [
        ("open_files.too_few", BEFORE[1], "under systemd, set LimitNOFILE=")
    ]

import json
import logging
import subprocess
import sys
from collections.abc import Generator

import pytest
import structlog

from cli_parts import Command
from fbsessiond.cli import why
from fbsessiond.cli.log import logger, set_up_log


@pytest.fixture(autouse=True)
def _restored() -> Generator[None, None, None]:
    """Begin without a log, and leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


def test_set_up_log(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong is an event on standard error; what else could be logged isn't."""
    set_up_log()
    logger().warning("not.seen")
    logger().error("seen", where="here")
    captured = capsys.readouterr()
    assert captured.out == ""
    event = json.loads(captured.err)
    assert (event["event"], event["where"]) == ("seen", "here")


def test_logger(capsys: pytest.CaptureFixture[str]) -> None:
    """The log is set up when it is first asked for, and left as it is where a command has set it up."""
    logger().error("first")
    assert json.loads(capsys.readouterr().err)["event"] == "first"
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    logger().error("second")
    assert json.loads(capsys.readouterr().err)["event"] == "event='second'"


def test_what_it_takes_along() -> None:
    """The log doesn't bring rich along, which whoever prints tables can import all the same."""
    program = """
import sys
from fbsessiond.cli.log import set_up_log
set_up_log()
assert not [name for name in sys.modules if name.partition(".")[0] == "rich"]
import rich.table
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_crash(fbsessiond: Command, journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in a command that has no log yet is an event, as anywhere."""

    def fail(*_: object, **__: object) -> None:
        raise LookupError

    monkeypatch.setattr(why, "timelines", fail)
    ran = fbsessiond("why", "S1", "--journal", journal)
    assert (ran.status, ran.out) == (1, "")
    assert json.loads(ran.err)["event"] == "crashed"


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging brings no rich along, and leaves the way open to whoever imports it later."""
    monkeypatch.delitem(sys.modules, "rich", raising=False)
    set_up_log()
    assert "rich" not in sys.modules

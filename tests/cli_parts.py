"""What the commands' tests share: how a command ended, what goes into a journal, what must not come out of it."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import pytest

from fbsessiond.cli.application import VERBS, loaded

FIXTURES = Path(__file__).parent / "fixtures"

SESSION = "0002DaAVKJ0V0095"

CANARY = "Vitaliy Onv-4711"
"""A customer's value, to be looked for where it must not be."""

HOSTILE = "\x1b[31m[red]x[/red]\n{forged}\r\x07\x9b2J\u2028\u202e\u200f\u00a0é漢"
"""ANSI and rich markup, line breaks, C1 controls, marks of direction."""

CONFIGURATION = """
state_directory = "."

[journal]
url = "sqlite:journal.db"

[handlers.log]

[handlers.fragile]

[handlers.audit]
"""

FAILING_HANDLER = """
from fbsessiond import Delivery, Done, Handler, Outcome, Reject

class Fragile(Handler):
    async def handle(self, delivery: Delivery) -> Outcome:
        session = delivery.transition.session
        if session.state == "Chatting":
            raise LookupError(f"nobody is called\\n{session.user_data.get('FirstName')}, {session.comment!r}")
        if session.state == "LeftChat":
            return Reject(f"don't know {session.comment}")
        return Done()
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines that it printed."""
        assert not self.out or self.out.endswith("\n"), "the last line is complete"
        return self.out.split("\n")[:-1]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of JSON that it printed."""
        return [json.loads(line) for line in self.lines]


class Command(Protocol):
    """Runs a command as the shell would."""

    def __call__(self, *arguments: str | Path) -> Ran:
        """Return how it ended."""
        ...


def notification(state: str, session: str = SESSION, **known: Any) -> dict[str, Any]:
    """Return a message about a session, as the platform sends it."""
    data = {"messageType": "FacebooksessionStateChangeMessage", "notificationType": "StatusChange"}
    document = {"id": session, "state": state, **known}
    return {"channel": "/v2/me/facebooksession", "data": {**data, "facebooksession": document}}


def misfit(**known: Any) -> dict[str, Any]:
    """Return a message about a session without an id: it goes to the quarantine."""
    return {"channel": "/v2/me/facebooksession", "data": {"facebooksession": known}}


def write_lines(path: Path, *lines: Any) -> Path:
    """Write a file of JSON Lines; a text is a line as it stands."""
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def commands() -> Iterator[str]:
    """Yield the commands as they are typed: `why`, `dead list`."""
    for name in VERBS:
        below = getattr(loaded(name), "commands", None)
        yield from [name] if below is None else (f"{name} {each}" for each in below)


def printed(write: Callable[[], None]) -> str:
    """Return what is printed on a pipe."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        pipe = StringIO()
        monkeypatch.setattr(sys, "stdout", pipe)
        write()
    return pipe.getvalue()

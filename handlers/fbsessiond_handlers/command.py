"""The handler `command`: run a program, in any language, for each transition."""

import json
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, PrivateAttr

from fbsessiond import Delivery, Done, Handler, HomePath, Outcome
from fbsessiond_handlers.program import Ended, run
from fbsessiond_handlers.transition_data import Data, data_of

TRY_AGAIN = 75
"""`EX_TEMPFAIL` of sysexits.h."""

_INHERITED = ("PATH", "LANG", "HOME")
"""What the program gets of the daemon's environment; the rest, which may hold secrets, isn't its business."""

_REASON_CHARACTERS = 500


class NotDoneError(Exception):
    """The program didn't end with exit status 0."""


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("should hold no NUL: no program can be given one")
    return text


def _to_be_found(argv: list[str]) -> list[str]:
    if "/" in argv[0] and not argv[0].startswith("/"):
        raise ValueError("should begin with an absolute path, or a name to be found on PATH")
    return argv


_Text = Annotated[str, AfterValidator(_without_nul)]
_VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Command(Handler):
    """Run a program, with the delivery as JSON on its standard input. There is no shell.

    Exit status 0 is done; anything else, 75 ("try again") among it, is a failed attempt.
    """

    acts_outside: ClassVar[bool] = True

    argv: Annotated[list[_Text], Field(min_length=1), AfterValidator(_to_be_found)] = Field(
        examples=[["/usr/local/bin/notify"]]
    )
    """The program, and its arguments."""
    data: Data = "state"
    """What the program is told: ids and states, or all that was received, customer data included."""
    environment: Mapping[_VariableName, _Text] = Field(default_factory=dict[str, str], examples=[{"TEAM": "north"}])
    """What its environment has besides PATH, LANG and HOME."""
    working_directory: HomePath | None = Field(default=None, examples=["/var/lib/notify"])
    """The folder in which it runs; by default the daemon's."""

    _program: str = PrivateAttr()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Find the program. Raises `OSError` where it, or its working directory, isn't there."""
        self._program = self._find()
        yield

    async def handle(self, delivery: Delivery) -> Outcome:
        """Run the program once. Raises `NotDoneError` where it fails, and `OSError` where it can't be started."""
        environment = {
            **self._environment(),
            "DELIVERY_KEY": delivery.key,
            "DELIVERY_ATTEMPT": str(delivery.attempt),
        }
        argv = [self._program, *self.argv[1:]]
        ended = await run(argv, document_of(delivery, self.data), environment, self.working_directory)
        if ended.status != 0:
            raise NotDoneError(reason_of(ended))
        return Done()

    def _find(self) -> str:
        found = shutil.which(self.argv[0], path=self._environment().get("PATH"))
        if found is None:
            raise FileNotFoundError(f"argv: {self.argv[0]} isn't a program, or isn't to be found on PATH")
        if self.working_directory is not None and not self.working_directory.is_dir():
            raise NotADirectoryError(f"working_directory: {self.working_directory} isn't a folder")
        return str(Path(found).absolute())  # a part of PATH can be relative

    def _environment(self) -> dict[str, str]:
        own = os.environ  # noqa: TID251  handed on, as it is when the program starts; nothing is decided by it
        return {**{name: own[name] for name in _INHERITED if name in own}, **self.environment}


def document_of(delivery: Delivery, data: Data) -> bytes:
    """Return what a program reads: one line of JSON."""
    document = {
        "key": delivery.key,
        "handler": delivery.handler,
        "attempt": delivery.attempt,
        "late_seconds": delivery.late.total_seconds(),
        "transition": data_of(delivery.transition, data),
    }
    return json.dumps(document).encode() + b"\n"


def reason_of(ended: Ended) -> str:
    """Return how a program failed, and the last line that it wrote to standard error: for the eyes of people alone."""
    if ended.status < 0:
        how = f"ended by signal {-ended.status} ({signal.strsignal(-ended.status)})"
    else:
        how = f"exit status {ended.status}{', try again' if ended.status == TRY_AGAIN else ''}"
    lines = ended.error.decode(errors="replace").strip().splitlines()
    return f"{how}: {lines[-1].strip()[:_REASON_CHARACTERS]}" if lines else how

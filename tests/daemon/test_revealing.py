"""Who had customer data shown is told to the handlers, once it stands in the journal."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from pydantic import PrivateAttr
from structlog.testing import capture_logs

from fbsessiond import Delivery, DiskError, Done, Handler, Outcome, Reveal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.revealing import LOOK_SECONDS, PAUSE_SECONDS, pass_on_reveals
from fbsessiond.route import DeliverySettings, Route
from fbsessiond.testing import run_virtual
from journal_parts import NOW, after


class Keeping(Handler):
    """A handler that keeps what it is told, and can fail first."""

    _told: list[Reveal] = PrivateAttr(default_factory=list[Reveal])
    _failures: list[Exception] = PrivateAttr(default_factory=list[Exception])
    _hangs: bool = PrivateAttr(default=False)

    @property
    def told(self) -> list[str]:
        """By which commands customer data was shown."""
        return [reveal.command for reveal in self._told]

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()

    async def revealed(self, reveal: Reveal) -> None:
        """Keep it, unless a failure comes first."""
        if self._hangs:
            await asyncio.Event().wait()
        if self._failures:
            raise self._failures.pop(0)
        self._told.append(reveal)

    def fail_with(self, *failures: Exception) -> "Keeping":
        """Fail so often first."""
        self._failures += failures
        return self

    def hang(self) -> "Keeping":
        """Never return."""
        self._hangs = True
        return self


class Indifferent(Handler):
    """A handler that keeps nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()


def run(handlers: list[Handler], test: Callable[[Journal], Coroutine[Any, Any, None]]) -> None:
    """Pass reveals on to some handlers while a test runs, on virtual time, with a journal of its own."""
    settings = DeliverySettings(timeout=timedelta(seconds=10))
    routes = [Route(f"handler{number}", handler, (), settings) for number, handler in enumerate(handlers)]

    async def main() -> None:
        with closing(SqliteJournal(MEMORY, NOW)) as journal:
            async with asyncio.TaskGroup() as group:
                passing = group.create_task(pass_on_reveals(journal, routes))
                await test(journal)
                passing.cancel()

    run_virtual(main())


def note(journal: Journal, *commands: str) -> None:
    """Write down that customer data is shown."""
    for number, command in enumerate(commands):
        journal.reader().note_reveal(after(number), "alice (uid 1000)", command)


def test_passed_on() -> None:
    """Each handler is told of each reveal within a second, once and in order; the log says it, too."""
    one, other = Keeping(), Keeping()

    async def test(journal: Journal) -> None:
        note(journal, "export --reveal", "dead list --reveal")
        await asyncio.sleep(LOOK_SECONDS * 3)
        assert await journal.take_reveals() == []

    with capture_logs() as events:
        run([one, Indifferent(), other], test)
    assert one.told == other.told == ["export --reveal", "dead list --reveal"]
    assert [(event["event"], event["command"], event["by"]) for event in events] == [
        ("customer_data.revealed", "export --reveal", "alice (uid 1000)"),
        ("customer_data.revealed", "dead list --reveal", "alice (uid 1000)"),
    ]


def test_without_handlers() -> None:
    """Where there are no handlers the log alone is told."""

    async def test(journal: Journal) -> None:
        note(journal, "export --reveal")
        await asyncio.sleep(LOOK_SECONDS * 2)
        assert await journal.take_reveals() == []

    run([], test)


def test_failure() -> None:
    """A handler that can't take one is asked again after a pause, and nobody is told the next one before.

    The failure's text isn't logged.
    """
    failing, other = Keeping().fail_with(LookupError("Vitaliy"), OSError("Vitaliy")), Keeping()

    async def test(journal: Journal) -> None:
        note(journal, "one", "two")
        await asyncio.sleep(PAUSE_SECONDS * 1.5)
        assert failing.told == []
        assert other.told == ["one", "one"]
        await asyncio.sleep(PAUSE_SECONDS)
        assert failing.told == ["one", "two"]

    with capture_logs() as events:
        run([failing, other], test)
    failures = [event["handler"] for event in events if event["event"] == "reveal.not_recorded"]
    assert failures == ["handler0", "handler0"]
    assert "Vitaliy" not in str(events)


def test_hanging() -> None:
    """A handler that hangs keeps the others from nothing for longer than its time-out."""
    other = Keeping()

    async def test(journal: Journal) -> None:
        note(journal, "one")
        await asyncio.sleep(LOOK_SECONDS + 11)
        assert other.told == ["one"]

    run([Keeping().hang(), other], test)


def test_broken_disk() -> None:
    """A handler whose disk is broken ends it."""

    async def test(journal: Journal) -> None:
        note(journal, "one")
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        run([Keeping().fail_with(DiskError("broken"))], test)
    assert raised.group_contains(DiskError, match="broken")

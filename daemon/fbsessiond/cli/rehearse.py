"""`fbsessiond rehearse`: what another configuration would have done with what is in the journal."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from fbsessiond import collecting
from fbsessiond.chance import SeededChance
from fbsessiond.cli.options import AsJson, Config, JournalUrl, reading
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.cli.progress import Report, progress
from fbsessiond.cli.tables import cell, new_table, print_table
from fbsessiond.clock import SystemClock
from fbsessiond.configuration import load
from fbsessiond.confinement import confine
from fbsessiond.dates import parse_date
from fbsessiond.dead_letters import to_record as dead_record
from fbsessiond.difference import KINDS, Asked, Difference, compare, count
from fbsessiond.durations import parse_duration
from fbsessiond.journal.engines import IN_MEMORY, open_journal
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryState, Entry
from fbsessiond.logs import configure_logs
from fbsessiond.privacy import scrub
from fbsessiond.rehearsing import Rehearsal
from fbsessiond.route import Route
from fbsessiond.testing import run_virtual

EPILOG = """Examples:

fbsessiond rehearse --config new.toml --journal sqlite:/var/lib/fbsessiond/journal.db

fbsessiond rehearse --config new.toml --since 30d

Exit status: 0 where the same follow-ups would have been asked for, 3 where there is a difference."""

DIFFERENT = 3
"""The exit status where there is a difference."""


def rehearse(
    config: Config = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only what arrived since: 30d, or 2026-11-01T00:00:00Z.", show_default=False),
    ] = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what another configuration would have done.

    The journal runs through it; what is shown is the difference in follow-ups.

    Nothing is sent: while handlers run, this process can open no socket, start no program and write no file. Handlers
    that act outside, and those that try to, are named and left out. A clock that still runs at the end isn't counted.
    """
    sys.dont_write_bytecode = True
    clock = SystemClock()
    configure_logs(clock, "critical")  # what failed is told in the end
    begin = _begin(since, clock.now())
    routes = load(config).routes()
    collecting.begin()
    left_out = {route.name: "acts outside this machine" for route in routes if route.handler.acts_outside}
    with reading(journal, config) as reader, progress("rehearsing") as report:
        ran = _Run(reader, [route for route in routes if _can_differ(route)], begin, report)
        left_out |= ran.refused
        shown = _Shown(reader, list(compare(ran.before(left_out), ran.after(left_out))))
        (shown.print_json if as_json else shown.print)(ran, left_out)
    if any(one.kind != "same" for one in shown.differences):
        raise typer.Exit(DIFFERENT)


def _can_differ(route: Route) -> bool:
    return not route.handler.acts_outside and not route.handler.only_observes


def _begin(since: str | None, now: datetime) -> datetime | None:
    if since is None:
        return None
    if (date := parse_date(since)) is not None:
        return date
    try:
        return now - parse_duration(since)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or a time, as '2026-11-01T00:00:00Z'", param_hint="--since") from error


class _Run:
    """The journal, run through routes."""

    def __init__(self, reader: Reader, routes: Sequence[Route], begin: datetime | None, report: Report) -> None:
        self.entries = 0
        self._first = self._last = 0
        self._reader = reader
        self._begin = begin
        self._report = report
        self._all = reader.statistics().entries
        journal = open_journal(IN_MEMORY, Path(), SystemClock().now())
        self.look = journal.reader()
        self._rehearsal = Rehearsal(journal, routes, SeededChance())
        run_virtual(self._run())
        report(self._all, self._all)
        self.clocks = sum(one.state is DeliveryState.WAITING for one in self.look.deliveries())

    @property
    def refused(self) -> dict[str, str]:
        """The handlers that tried what isn't allowed, and what that was."""
        return {
            name: f"tried what isn't allowed in a rehearsal: {what}" for name, what in self._rehearsal.refused.items()
        }

    def before(self, left_out: dict[str, str]) -> Iterator[Asked]:
        """Yield what was asked for when it happened."""
        for record in self._reader.follow_ups():
            if self._first <= record.seq <= self._last and record.handler not in left_out:
                yield Asked(record.seq, record.handler, record.step, record.operation)

    def after(self, left_out: dict[str, str]) -> Iterator[Asked]:
        """Yield what was asked for in the rehearsal, with the numbers of the journal's own entries."""
        for record in self.look.follow_ups():
            if record.handler not in left_out:
                yield Asked(self._rehearsal.places[record.seq - 1], record.handler, record.step, record.operation)

    def dead(self, left_out: dict[str, str]) -> list[str]:
        """Return why deliveries failed, without customer data."""
        dead = (one for one in self.look.dead() if one.handler not in left_out)
        return [f"{one.handler}: {dead_record(one, self.look, reveal=False)['reason']}" for one in dead]

    async def _run(self) -> None:
        confine(self._rehearsal.note)  # the event loop has its own pair of sockets by now
        await self._rehearsal.run(self._taken(), lambda _: self._report(self.entries, self._all))

    def _taken(self) -> Iterator[Entry]:
        for entry in self._reader.entries():
            if self._begin is None or entry.received_at >= self._begin:
                self.entries += 1
                self._first, self._last = self._first or entry.seq, entry.seq
                yield entry


@dataclass(frozen=True, slots=True)
class _Shown:
    """Differences, for a person or a program."""

    reader: Reader
    differences: Sequence[Difference]

    def print(self, ran: _Run, left_out: dict[str, str]) -> None:
        """Print how many there are of each kind, with an example of each."""
        counts = count(self.differences)
        print_line(f"{ran.entries:,} entries rehearsed")
        table = new_table("FOLLOW-UPS", "COUNT", "FOR EXAMPLE")
        for kind in KINDS:
            example = next((one for one in self.differences if one.kind == kind), None)
            table.add_row(
                cell(kind), cell(f"{counts[kind]:,}"), cell("" if example is None else self._in_words(example))
            )
        print_table(table)
        for name, why in left_out.items():
            print_line(f"left out: {name}: {why}")
        for line in ran.dead(left_out)[:1]:
            print_line(f"failed: {len(ran.dead(left_out)):,} deliveries, for example {line}")
        if ran.clocks:
            print_line(f"{ran.clocks:,} clocks still ran at the end")

    def print_json(self, ran: _Run, left_out: dict[str, str]) -> None:
        """Print a line for each difference, and one with the counts."""
        for one in self.differences:
            if one.kind != "same":
                sides = {"before": self._record(one.before), "after": self._record(one.after)}
                print_json({"kind": one.kind, "session": one.asked.follow_up.session, **sides})
        dead = ran.dead(left_out)
        print_json(
            {
                "entries": ran.entries,
                **count(self.differences),
                "left_out": left_out,
                "failed": len(dead),
                "clocks": ran.clocks,
            }
        )

    def _in_words(self, one: Difference) -> str:
        asked = one.asked
        words = f"{asked.seq}/{asked.handler}/{asked.step} {asked.follow_up.session} "
        if one.kind == "changed":
            return f"{words}{self._effect(one.before)} -> {self._effect(one.after)}"
        return words + self._effect(asked)

    def _effect(self, asked: Asked | None) -> str:
        record = self._record(asked)
        assert record is not None, "it is on both sides"  # noqa: S101  by `compare`
        parameters = " ".join(f"{name}={value}" for name, value in record["parameters"].items())
        return f"{record['operation']} {parameters}".rstrip()

    def _record(self, asked: Asked | None) -> dict[str, Any] | None:
        if asked is None:
            return None
        return {
            "follow_up": f"{asked.seq}/{asked.handler}/{asked.step}",
            "operation": asked.follow_up.name,
            "parameters": self._hidden(asked),
        }

    def _hidden(self, asked: Asked) -> dict[str, str]:
        """Return parameters without customer data that a handler put into them."""
        entry = next(self.reader.entries(after_seq=asked.seq - 1))
        document, key = msgspec.json.decode(entry.notification), self.reader.redaction_key()
        return {name: scrub(str(value), document, key) for name, value in asked.follow_up.parameters.items()}

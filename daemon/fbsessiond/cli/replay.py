"""`fbsessiond replay`: fixtures, offline."""

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from fbsessiond.chance import SeededChance
from fbsessiond.cli.export import to_record as entry_record
from fbsessiond.cli.options import AsJson
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.cli.progress import Report, progress
from fbsessiond.cli.quarantine import to_record as quarantine_record
from fbsessiond.cli.tables import cell, new_table, print_table
from fbsessiond.clock import SystemClock
from fbsessiond.configuration import Configuration, load
from fbsessiond.dead_letters import to_record as dead_record
from fbsessiond.fixtures import Fixture, UnreadableFile, find_files, read_file
from fbsessiond.journal.engines import IN_MEMORY, open_journal
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Quarantined
from fbsessiond.logs import configure_logs
from fbsessiond.printable import printable
from fbsessiond.replaying import replay_fixtures
from fbsessiond.route import Route
from fbsessiond.settings import Settings
from fbsessiond.transition import Kind

EPILOG = """Examples:

fbsessiond replay notifications/

fbsessiond replay captured.jsonl.gz --config fbsessiond.toml --speed 10

Exit status: 0 fine, 1 if a file couldn't be read, a message went to the quarantine or a delivery failed."""

WITHOUT_CONFIGURATION: dict[str, dict[str, dict[str, str]]] = {"handlers": {"log": {}}}
"""The settings of a replay that has no configuration."""

_Deliveries: TypeAlias = defaultdict[int, list[DeliveryRecord]]

_STYLES = {DeliveryState.DELIVERED: "green", DeliveryState.DEAD: "red"}


def replay(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and folders of notifications.")],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="FBSESSIOND_CONFIG",
            help="The configuration, for its handlers; without one, the handler log alone.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, help="N times as fast as they were received; by default at once.", show_default=False),
    ] = None,
    journal: Annotated[str, typer.Option(metavar="URL", help="Keep the journal here.")] = IN_MEMORY,
    act: Annotated[bool, typer.Option("--act", help="Run handlers that act outside this machine, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replay notifications through the handlers, offline.

    Nothing is sent to GWS: what handlers ask for is captured. Handlers that act outside, such as webhook and command,
    are left out. Files hold JSON, JSON Lines or arrays, plain or gzip, with or without the wrapper
    {"channel": …, "data": …}.
    """
    clock = SystemClock()
    configure_logs(clock)
    configuration = load(config) if config else Configuration(Settings.model_validate(WITHOUT_CONFIGURATION), None, "")
    routes = [route for route in configuration.routes() if act or not _is_left_out(route)]
    unreadable: list[UnreadableFile] = []
    opened = open_journal(journal, Path(), clock.now())
    try:
        look = opened.reader()
        start = _Start(look.statistics().last_seq or 0, max((one.seq for one in look.quarantined()), default=0))
        with progress("replaying") as report:
            fixtures = _fixtures(paths, unreadable, report)
            asyncio.run(replay_fixtures(fixtures, opened, routes, clock=clock, chance=SeededChance(), speed=speed))
        show = _show_json if as_json else _show
        troubles = show(look, start, [route.name for route in routes], unreadable)
    finally:
        opened.close()
    if troubles:
        raise typer.Exit(1)


def _is_left_out(route: Route) -> bool:
    if route.handler.acts_outside:
        name = printable(route.name)
        sys.stderr.write(f"fbsessiond: {name} is left out: it acts outside this machine; --act runs it\n")
    return route.handler.acts_outside


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a journal ended before the replay."""

    seq: int
    quarantined: int


def _fixtures(paths: Sequence[Path], unreadable: list[UnreadableFile], report: Report) -> Iterator[Fixture]:
    files = list(find_files(paths))
    for done, path in enumerate(files):
        report(done, len(files))
        for found in read_file(path):
            if isinstance(found, UnreadableFile):
                unreadable.append(found)
            else:
                yield found
    report(len(files), len(files))


def _show(look: Reader, start: _Start, handlers: Sequence[str], unreadable: Sequence[UnreadableFile]) -> int:
    """Print the transitions as a table, and what went wrong; return how much went wrong."""
    kinds: Counter[Kind] = Counter()
    table = new_table("SEQ", "SESSION", "BEFORE", "AFTER", *(name.upper() for name in handlers))
    deliveries = _deliveries(look, start)
    for entry in look.entries(after_seq=start.seq):
        kinds[entry.kind] += 1
        if entry.kind is Kind.TRANSITION:
            states = {record.handler: record.state for record in deliveries[entry.seq]}
            outcomes = (cell(state := states.get(name), _STYLES.get(state, "") if state else "") for name in handlers)
            table.add_row(cell(entry.seq), cell(entry.session), cell(entry.before), cell(entry.after), *outcomes)
    if table.rows:
        print_table(table)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"
    print_line(f"{kinds.total()} notifications: {counts}")
    captured = Counter(one.operation.name for one in look.follow_ups() if one.seq > start.seq)
    if captured:
        counts = ", ".join(f"{count} {name}" for name, count in captured.items())
        print_line(f"{captured.total()} follow-ups captured: {counts}")
    return _show_troubles(look, start, deliveries, unreadable)


def _show_troubles(look: Reader, start: _Start, deliveries: _Deliveries, unreadable: Sequence[UnreadableFile]) -> int:
    troubles = 0
    for records in deliveries.values():
        for record in (one for one in records if one.state is DeliveryState.DEAD):
            troubles += 1
            dead = dead_record(record, look, reveal=False)
            print_line(f"failed: {dead['delivery']}: {dead['reason']}")
    for quarantined in _quarantined(look, start):
        troubles += 1
        print_line(f"quarantined: {quarantined.channel or 'no channel'}: {quarantined.error}")
    for problem in unreadable:
        troubles += 1
        print_line(f"unreadable: {_name(problem.path)}: {problem.problem}")
    return troubles


def _show_json(look: Reader, start: _Start, handlers: Sequence[str], unreadable: Sequence[UnreadableFile]) -> int:
    """Print a line an entry as `export` does, with its deliveries, then what went wrong; return how much did."""
    del handlers
    deliveries = _deliveries(look, start)
    troubles = 0
    key = look.redaction_key()
    for entry in look.entries(after_seq=start.seq):
        records = deliveries.get(entry.seq, [])
        troubles += sum(record.state is DeliveryState.DEAD for record in records)
        print_json({**entry_record(entry, key), "deliveries": [_outcome(record, look) for record in records]})
    for quarantined in _quarantined(look, start):
        troubles += 1
        print_json(quarantine_record(quarantined, key))
    for problem in unreadable:
        troubles += 1
        print_json({"path": _name(problem.path), "problem": problem.problem})
    return troubles


def _outcome(record: DeliveryRecord, look: Reader) -> dict[str, Any]:
    """Return what became of a delivery, and what its handler asked for."""
    asked = (one for one in look.follow_ups(seq=record.seq) if one.handler == record.handler)
    follow_ups = [{"operation": one.operation.name, "state": one.progress.state.value} for one in asked]
    return {"handler": record.handler, "state": record.state.value, "follow_ups": follow_ups}


def _name(path: Path) -> str:
    """Return a path as text; a name may hold bytes that are none."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _deliveries(look: Reader, start: _Start) -> _Deliveries:
    found: _Deliveries = defaultdict(list)
    for record in look.deliveries():
        if record.seq > start.seq and record.state is not DeliveryState.NOT_WANTED:
            found[record.seq].append(record)
    return found


def _quarantined(look: Reader, start: _Start) -> list[Quarantined]:
    return [one for one in look.quarantined() if one.seq > start.quarantined]

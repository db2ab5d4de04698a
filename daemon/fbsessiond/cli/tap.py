"""`fbsessiond tap`: what happens, as it happens."""

import asyncio
import signal
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer

from fbsessiond.acts import act_record, act_shown, act_told
from fbsessiond.cli.export import to_record as entry_record
from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, point_in_time, reading
from fbsessiond.cli.printing import flush, is_read, print_json, print_line
from fbsessiond.cli.quarantine import to_record as quarantined_record
from fbsessiond.clock import SystemClock
from fbsessiond.dates import iso
from fbsessiond.gap import Gap
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, DeliveryRecord, Entry, FollowUpRecord, Quarantined
from fbsessiond.looking import Looks
from fbsessiond.tap import Happening, Tap, happened_at
from fbsessiond.why import entry_of, without_customer_data

EPILOG = """Examples:

fbsessiond tap

fbsessiond tap --since 1h --handler wrap-up

fbsessiond tap --json | jq 'select(.event == "delivery" and .state == "dead")'

With an option that chooses, only what has such a thing is shown: gaps have an agent, and no session or handler. It
ends with Ctrl-C, with --count, or when nobody reads it any more, with exit status 0."""


def tap(
    *,
    session: Annotated[str | None, typer.Option(help="Only what is about this session.", show_default=False)] = None,
    handler: Annotated[str | None, typer.Option(help="Only what is this handler's.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="Only what is about this agent.", show_default=False)] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            parser=point_in_time,
            help="Begin so long ago, as 2h, or then, as 2026-11-30T09:14Z; by default now.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="COUNT", min=1, help="End after so many lines.", show_default=False)
    ] = None,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
    reveal: Reveal = False,
) -> None:
    """Watch what happens, a line each, within a second.

    Entries, deliveries that are settled, follow-ups as far as they have come, gaps that begin, end and are closed,
    messages that go to the quarantine, and what persons retry or drop. Tokens stand for customer data. The journal is
    read beside the running daemon, which doesn't notice.
    """
    clock = SystemClock()
    wanted = {"session": session, "handler": handler, "agent": agent}
    with reading(journal, config, reveal=reveal) as reader:
        show = _Showing(reader, None if reveal else reader.redaction_key())
        watching = Watching(
            Tap(reader, since or clock.now(), clock),
            {name: value for name, value in wanted.items() if value is not None},
            (lambda one: print_json(show.record(one))) if as_json else (lambda one: print_line(show.line(one))),
            count,
        )
        asyncio.run(watching.run(reader.version))


class Watching:
    """Prints what happens, until it is enough."""

    def __init__(self, tap: Tap, wanted: dict[str, str], show: Callable[[Happening], None], count: int | None) -> None:
        self._tap = tap
        self._wanted = wanted
        self._show = show
        self._left = count
        self._stopping = asyncio.Event()

    async def run(self, version: Callable[[], int]) -> None:
        """Look until a signal, or until it is enough."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        looks = Looks(version, self._stopping)
        await self._print()
        async for changed in looks:
            if changed is not None:
                await self._print()
            if not is_read():
                return

    async def _print(self) -> None:
        for one in self._tap.look():
            if self._stopping.is_set():
                break
            if all(getattr(one, name, None) == value for name, value in self._wanted.items()):
                self._show(one)
                if self._left is not None:
                    self._left -= 1
                    if self._left == 0:
                        self._stopping.set()
            await asyncio.sleep(0)  # a long look back can be interrupted
        if not flush():
            self._stopping.set()


class _Showing:
    """How what happens is shown, with customer data or without."""

    def __init__(self, reader: Reader, redaction_key: bytes | None) -> None:
        self._reader = reader
        self._key = redaction_key

    def line(self, one: Happening) -> str:
        """Return a line for a person: when, whose, which session, what."""
        agent, session = getattr(one, "agent", "-"), getattr(one, "session", None) or "-"
        return f"{iso(happened_at(one))}  {agent}  {session}  {self._told(one)}"

    def record(self, one: Happening) -> dict[str, Any]:
        """Return a line of JSON, which says in `event` what the others are."""
        match one:
            case Entry():
                return {"event": "entry", **entry_record(one, self._key)}
            case DeliveryRecord():
                return {"event": "delivery", "delivery": one.id, **self._attempted(one, one.state, one.because)}
            case FollowUpRecord():
                progress = one.progress
                attempted = self._attempted(one, progress.state, progress.because)
                return {"event": "follow-up", "follow_up": one.id, "operation": one.operation.name, **attempted}
            case Gap():
                return {"event": "gap", "agent": one.agent, **one.written(), "closed_by": one.closed_by}
            case Quarantined():
                return {"event": "quarantined", **quarantined_record(one, self._key)}
            case _:
                return {"event": "act", **act_record(self._act(one))}

    def _attempted(self, one: DeliveryRecord | FollowUpRecord, state: str, because: str | None) -> dict[str, Any]:
        return {
            "handler": one.handler,
            "agent": one.agent,
            "session": one.session,
            "state": str(state),
            "because": self._reason(one.seq, because),
            "attempts": one.attempts,
            "at": iso(one.at),
        }

    def _told(self, one: Happening) -> str:
        match one:
            case Entry():
                change = f"{one.before or '(first sight)'} -> {one.after}" if one.after else one.kind
                return f"{one.seq} {one.origin} {change}"
            case DeliveryRecord():
                return f"{one.id} {one.state}{self._because(one.seq, one.because)}"
            case FollowUpRecord():
                state = f"{one.operation.name} {one.progress.state}"
                return f"{one.id} {state}{self._because(one.seq, one.progress.because)}"
            case Gap():
                closed = "; the sessions were compared after it" if one.closed_by else ""
                return f"gap: {one.cause} since {iso(one.begin)}, {'ended' if one.end else 'goes on'}{closed}"
            case Quarantined():
                return f"{one.id} {one.error}"
            case _:
                return f"{one.subject} {act_told(self._act(one))}"

    def _act(self, act: Act) -> Act:
        return act if self._key is None else act_shown(self._reader, act)

    def _because(self, seq: int, because: str | None) -> str:
        reason = self._reason(seq, because)
        return "" if reason is None else f": {reason}"

    def _reason(self, seq: int, because: str | None) -> str | None:
        if because is None:
            return None
        if self._key is not None:
            because = without_customer_data(because, entry_of(self._reader, seq), self._key)
        return because.replace("\n", ": ")

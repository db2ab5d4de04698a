"""`fbsessiond sessions`: where each session is."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from fbsessiond.cli.options import AsJson, Config, Group, JournalUrl, members, reading
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.cli.tables import cell, new_table, print_table
from fbsessiond.dates import iso
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import SessionRecord

EPILOG = """Examples:

fbsessiond sessions

fbsessiond sessions --state LeftChat --json

A session's trouble: dead letters and stuck follow-ups of its own, see `fbsessiond dead list`; and a gap of its agent's,
in which it may have changed unseen, see `fbsessiond coverage`. `fbsessiond why SESSION` tells the rest."""


def sessions(
    *,
    agent: Annotated[str | None, typer.Option(help="Only this agent's sessions.", show_default=False)] = None,
    group: Group = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.", show_default=False)] = None,
    is_all: Annotated[
        bool, typer.Option("--all/--open", help="Also those that have ended; by default, with --state alone.")
    ] = False,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the sessions that could still change.

    With the state of each and since when it is in it, its agent, its next clock, and its trouble.
    """
    own = None if group is None else members(group, config)
    with reading(journal, config) as reader:
        trouble = _Trouble(reader)
        found = (
            one
            for one in reader.sessions(is_open=not is_all and state is None)
            if agent in {None, one.agent} and state in {None, one.state} and (own is None or one.agent in own)
        )
        table = new_table("SESSION", "STATE", "SINCE", "AGENT", "NEXT CLOCK", "TROUBLE")
        for one in sorted(found, key=lambda one: (iso(one.since) or "", one.agent, one.session)):
            if as_json:
                print_json(_to_record(one, trouble))
            else:
                clock = None if one.clock is None else iso(one.clock.at)
                told = (one.session, one.state, iso(one.since), one.agent, clock, ", ".join(trouble.told(one)))
                table.add_row(*map(cell, told))
    if not as_json:
        print_table(table) if table.rows else print_line("There are no such sessions.")


class _Trouble:
    """What is wrong, by session: read once for all of them, by index."""

    def __init__(self, reader: Reader) -> None:
        self.dead = Counter((one.agent, one.session) for one in reader.dead())
        self.stuck = Counter((one.agent, one.session) for one in reader.stuck_follow_ups())
        self.in_doubt = {one.agent for one in reader.watched() if one.gaps or one.open_gap is not None}
        """Agents with a gap that isn't closed: their sessions may have changed unseen."""

    def told(self, one: SessionRecord) -> Iterator[str]:
        """Yield a session's troubles for a person."""
        for count, what in ((self.dead[one.agent, one.session], "dead"), (self.stuck[one.agent, one.session], "stuck")):
            if count:
                yield f"{count} {what}"
        if one.agent in self.in_doubt:
            yield "gap"


def _to_record(one: SessionRecord, trouble: _Trouble) -> dict[str, Any]:
    return {
        "session": one.session,
        "agent": one.agent,
        "state": one.state,
        "since": iso(one.since),
        "next_clock": None if one.clock is None else iso(one.clock.at),
        "handler": None if one.clock is None else one.clock.handler,
        "dead": trouble.dead[one.agent, one.session],
        "stuck": trouble.stuck[one.agent, one.session],
        "gap": one.agent in trouble.in_doubt,
    }

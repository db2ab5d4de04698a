"""`fbsessiond why`: what was done about a session, and what wasn't, and why."""

import difflib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any

import typer

from fbsessiond.acts import act_record, act_told, acts_shown
from fbsessiond.cli.export import to_record as entry_record
from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, configured, reading
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.clock import SystemClock
from fbsessiond.dates import iso
from fbsessiond.dead_letters import DeadLetter
from fbsessiond.gap import Gap
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, ActKind, Entry, FollowUpRecord
from fbsessiond.printable import printable
from fbsessiond.transition import Kind
from fbsessiond.why import (
    Fate,
    Moment,
    Timeline,
    delivery_told,
    follow_up_told,
    timelines,
    without_customer_data,
)

EPILOG = """Examples:

fbsessiond why 0002DaAVKJ0V0095

fbsessiond why 0002DaAVKJ0V0095 --json | jq '.deliveries[] | select(.handler == "wrap-up")'

Which handlers are new since then, or gone, is told where a configuration is read: --journal alone reads none.

Exit status: 0 the journal has the session, 1 it doesn't."""

NEAR = 3
"""How many sessions with a similar id are named where there is none with this one."""


def why(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    agent: Annotated[str | None, typer.Option(help="Of this agent alone.", show_default=False)] = None,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
    reveal: Reveal = False,
) -> None:
    """Tell what became of a session, and why.

    Each of its entries with its time, its origin and the gaps beside it; for each handler what it did, or why it did
    nothing: the first condition that failed, clocks, attempts, follow-ups with their confirmations. Tokens stand for
    customer data, in reasons too.
    """
    handlers = list(configured(config).settings.handlers) if journal is None or config is not None else None
    now = SystemClock().now()
    with reading(journal, config, reveal=reveal) as reader:
        found = timelines(reader, session, now, agent=agent, handlers=handlers)
        if not found:
            sys.stderr.write(f"fbsessiond: {printable(_not_there(reader, session, agent))}\n")
            raise typer.Exit(1)
        show = _Showing(reader, None if reveal else reader.redaction_key(), now)
        for number, timeline in enumerate(found):
            if as_json:
                for record in show.records(timeline):
                    print_json(record)
            else:
                for line in ("", *show.lines(timeline))[number == 0 :]:
                    print_line(line)


class _Showing:
    """How a timeline is shown, with customer data or without."""

    def __init__(self, reader: Reader, redaction_key: bytes | None, now: datetime) -> None:
        self._reader = reader
        self._key = redaction_key
        self._now = now

    def records(self, timeline: Timeline) -> Iterator[dict[str, Any]]:
        """Yield a line of JSON for each entry; what belongs to none stands in the last one."""
        for moment in timeline.moments:
            record = {
                **entry_record(moment.entry, self._key),
                "gaps": [_gap_record(gap) for gap in moment.gaps],
                "deliveries": [self._delivery_record(fate, moment.entry) for fate in moment.fates],
                "not_asked": list(moment.not_asked),
            }
            if moment is timeline.moments[-1]:
                record["gaps_since"] = [_gap_record(gap) for gap in timeline.gaps]
                record["asked_by_others"] = [self._follow_up_record(one, None) for one in timeline.others]
            yield record

    def lines(self, timeline: Timeline) -> Iterator[str]:
        """Yield lines for a person: entries that are no transitions stand together."""
        yield f"{timeline.session} of {timeline.agent}: {timeline.state or 'no state is known'}"
        if not timeline.is_whole:
            yield "    what came before is forgotten, or wasn't seen"
        for is_transition, group in groupby(timeline.moments, key=lambda one: one.entry.kind is Kind.TRANSITION):
            moments = list(group)
            if is_transition:
                for moment in moments:
                    yield from self._transition_lines(moment)
            else:
                yield from _other_lines(moments)
        yield from map(_gap_line, timeline.gaps)
        for one in timeline.others:
            yield f"    {one.id.rpartition('/')[0]}, of another session, asked for this:"
            yield from self._follow_up_lines(one, None)

    def _transition_lines(self, moment: Moment) -> Iterator[str]:
        entry = moment.entry
        yield from map(_gap_line, moment.gaps)
        before = entry.before or "(first sight)"
        yield f"{iso(entry.received_at)}  {entry.seq}  {entry.origin}  {before} -> {entry.after}"
        for fate in moment.fates:
            yield f"    {fate.delivery.handler}: {delivery_told(fate, self._now)}"
            for line in (self._reason(fate.delivery.because, entry) or "").splitlines():
                yield f"        {line}"
            yield from self._act_lines(fate.delivery, "        ")
            for one in fate.follow_ups:
                yield from self._follow_up_lines(one, entry)
        for name in moment.not_asked:
            yield f"    {name}: wasn't in the configuration when this was received"

    def _follow_up_lines(self, one: FollowUpRecord, entry: Entry | None) -> Iterator[str]:
        on = "" if entry is None or one.session == entry.session else f" on {one.session}"
        yield f"        {one.step}. {follow_up_told(one)}{on}"
        for line in (self._reason(one.progress.because, entry) or "").splitlines():
            yield f"            {line}"
        yield from self._act_lines(one, "            ")

    def _act_lines(self, on: DeadLetter, indent: str) -> Iterator[str]:
        """Yield who tried it again or dropped it; why it was dropped stands there as the reason already."""
        for act in self._acts(on):
            yield f"{indent}{act_told(act if act.kind is ActKind.RETRY else replace(act, because=None))}"

    def _delivery_record(self, fate: Fate, entry: Entry) -> dict[str, Any]:
        delivery = fate.delivery
        return {
            "delivery": delivery.id,
            "handler": delivery.handler,
            "state": delivery.state.value,
            "because": self._reason(delivery.because, entry),
            "attempts": delivery.attempts,
            "at": iso(delivery.at),
            "wait": delivery.wait,
            "behind": fate.behind,
            "told": delivery_told(fate, self._now),
            "is_configured": fate.is_configured,
            "acts": [act_record(act) for act in self._acts(delivery)],
            "follow_ups": [self._follow_up_record(one, entry) for one in fate.follow_ups],
        }

    def _follow_up_record(self, one: FollowUpRecord, entry: Entry | None) -> dict[str, Any]:
        return {
            "follow_up": one.id,
            "operation": one.operation.name,
            "session": one.session,
            "state": one.progress.state.value,
            "because": self._reason(one.progress.because, entry),
            "attempts": one.attempts,
            "at": iso(one.at),
            "told": follow_up_told(one),
            "acts": [act_record(act) for act in self._acts(one)],
        }

    def _acts(self, on: DeadLetter) -> Iterator[Act]:
        return acts_shown(self._reader, on.id, reveal=self._key is None)

    def _reason(self, because: str | None, entry: Entry | None) -> str | None:
        """Return a reason as it can be shown; of another session's only what holds no customer data."""
        if because is None or self._key is None:
            return because
        return without_customer_data(because, entry, self._key)


def _other_lines(moments: Sequence[Moment]) -> Iterator[str]:
    """Yield a line for what isn't a transition, and one for each gap beside it."""
    for moment in moments:
        yield from map(_gap_line, moment.gaps)
    first, last = moments[0].entry, moments[-1].entry
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(one.entry.kind for one in moments).most_common())
    until = "" if len(moments) == 1 else f" until {iso(last.received_at)}"
    yield f"{iso(first.received_at)}  {first.seq}  {first.origin}  {counts}{until}"


def _gap_record(gap: Gap) -> dict[str, Any]:
    return {**gap.written(), "closed_by": gap.closed_by}


def _gap_line(gap: Gap) -> str:
    end = "goes on" if gap.end is None else f"until {iso(gap.end)}"
    compared = "the sessions were compared after it" if gap.closed_by else "not compared yet"
    return f"    gap: {gap.cause} since {iso(gap.begin)}, {end}; {compared}"


def _not_there(reader: Reader, session: str, agent: str | None) -> str:
    """Say that there is no such session, what is written similarly, and how far back the journal goes."""
    of = "" if agent is None else f" of {agent}"
    first = next(reader.entries(), None)
    if first is None:
        return f"the journal has no session {session}{of}: it is empty"
    names = sorted({one.session for one in reader.sessions() if agent in {None, one.agent}})
    near = difflib.get_close_matches(session, names, NEAR, 0.8)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"the journal, which goes back to {iso(first.received_at)}, has no session {session}{of}{hint}"

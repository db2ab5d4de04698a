"""`fbsessiond coverage`: how much was seen, and what couldn't be."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from fbsessiond.cli.options import AsJson, Config, Group, JournalUrl, groups, members, reading
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.cli.tables import cell, new_table, print_table
from fbsessiond.clock import SystemClock
from fbsessiond.dates import iso
from fbsessiond.durations import in_words
from fbsessiond.gap import Coverage, Gap, Watched, coverage_of
from fbsessiond.journal.interface import Reader

ZERO = timedelta()

EPILOG = """Examples:

fbsessiond coverage --journal sqlite:journal.db

fbsessiond coverage --by-group

A gap is a span of time in which a notification may have been missed. It is closed once the agent's sessions were read
after it and compared with the journal; until then it is open, and counts up to where notifications arrive again."""


def coverage(
    config: Config = None,
    journal: JournalUrl = None,
    agent: Annotated[str | None, typer.Option(metavar="AGENT", help="One agent alone.", show_default=False)] = None,
    group: Group = None,
    by_group: Annotated[bool, typer.Option("--by-group", help="Add up the agents of each group.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the share of time that is covered, and every gap.

    While the daemon is stopped nothing is added: the gap that leaves is written when it comes back.
    """
    now = SystemClock().now()
    own = None if group is None else members(group, config)
    with reading(journal, config) as reader:
        agents = [one for one in reader.watched(agent=agent) if own is None or one.agent in own]
        gaps = list(_gaps(reader, agents))
    covered = [coverage_of(each, (gap for gap in gaps if gap.agent == each.agent), now) for each in agents]
    if by_group:
        _print_groups(groups(config), gaps, covered, as_json=as_json)
        return
    if as_json:
        for gap in gaps:
            print_json(_gap_record(gap))
        for one in covered:
            print_json(_coverage_record(one))
        return
    if not agents:
        print_line("No agent was listened for yet." if agent is None else f"{agent!r} was never listened for.")
        return
    _print(agents, gaps, covered, now)


def _print_groups(by_agent: Mapping[str, str], gaps: list[Gap], covered: list[Coverage], *, as_json: bool) -> None:
    """Print what is covered of each group; who isn't configured any more is in none."""
    table = new_table("GROUP", "AGENTS", "OBSERVED", "COVERED", "GAPS")
    for group in sorted(set(by_agent.values())):
        own = [one for one in covered if by_agent.get(one.agent) == group]
        total = Coverage(group, sum((one.observed for one in own), ZERO), sum((one.covered for one in own), ZERO))
        count = sum(by_agent.get(gap.agent) == group for gap in gaps)
        if as_json:
            record = _coverage_record(total)
            print_json({"group": record.pop("agent"), "agents": len(own), **record, "gaps": count})
        else:
            table.add_row(*map(cell, (group, len(own), in_words(total.observed), f"{_percent(total)} %", count)))
    if not as_json:
        print_table(table)


def _gaps(reader: Reader, agents: Iterable[Watched]) -> Iterable[Gap]:
    """Yield all gaps by agent, the one that goes on last."""
    for watched in agents:
        yield from reader.gaps(agent=watched.agent)
        if watched.open_gap is not None:
            yield watched.open_gap


def _gap_record(gap: Gap) -> dict[str, Any]:
    end = iso(gap.end)
    return {
        "agent": gap.agent,
        "from": iso(gap.begin),
        "to": None if gap.closed_by is None else end,
        "cause": gap.cause.value,
        "closed_by": gap.closed_by,
        "notified_since": end,
    }


def _coverage_record(one: Coverage) -> dict[str, Any]:
    return {
        "agent": one.agent,
        "covered_seconds": one.covered.total_seconds(),
        "observed_seconds": one.observed.total_seconds(),
        "coverage": one.share,
    }


def _print(agents: list[Watched], gaps: list[Gap], covered: list[Coverage], now: datetime) -> None:
    table = new_table("AGENT", "OBSERVED", "COVERED", "GAPS", "LAST PROOF", "LAST COMPARED")
    for watched, one in zip(agents, covered, strict=True):
        count = sum(gap.agent == one.agent for gap in gaps)
        share = f"{_percent(one)} %"
        times = (iso(watched.proven_until), iso(watched.compared_at) or "never")
        table.add_row(*map(cell, (one.agent, in_words(one.observed), share, count, *times)))
    print_table(table)
    if not gaps:
        return
    print_line("")
    table = new_table("AGENT", "FROM", "TO", "LASTED", "CAUSE", "CLOSED BY")
    for gap in gaps:
        end = iso(gap.end) or "goes on"
        closed_by = gap.closed_by or ("not compared yet" if gap.end else "")
        lasted = in_words((gap.end or max(now, gap.begin)) - gap.begin)
        table.add_row(*map(cell, (gap.agent, iso(gap.begin), end, lasted, gap.cause.value, closed_by)))
    print_table(table)


def _percent(one: Coverage) -> str:
    """Round down, so that 100 says that there was no gap."""
    thousandths = one.covered * 100_000 // one.observed if one.observed else 100_000
    return f"{thousandths / 1000:.3f}"

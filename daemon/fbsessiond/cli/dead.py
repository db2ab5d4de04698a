"""`fbsessiond dead`: deliveries that failed for good or were rejected, and follow-ups that are parked or failed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, TypeAlias

import typer

from fbsessiond.acts import act_record, act_told, acts_shown
from fbsessiond.cli.acting import (
    AllOfThem,
    Because,
    Limit,
    NeededBecause,
    Sure,
    Wish,
    ask,
    carry_out,
    check_choice,
)
from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, Since, reading
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.cli.tables import cell, new_table, print_table
from fbsessiond.dead_letters import DeadLetter, dead_letters, find_dead, to_record
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import ActKind

app = typer.Typer(
    help="Dead letters: deliveries that failed or were rejected.",
    epilog="Example: fbsessiond dead list --journal sqlite:journal.db",
    no_args_is_help=True,
)

COLUMNS = ("delivery", "session", "after", "attempts", "at", "reason")

Id = Annotated[str, typer.Argument(metavar="DELIVERY", help="As `dead list` shows it, e.g. 42/audit or 42/wrap-up/1.")]

Ids: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DELIVERY", help="As `dead list` shows them, e.g. 42/audit or 42/wrap-up/1.", show_default=False
    ),
]

OfHandler: TypeAlias = Annotated[
    str | None, typer.Option("--handler", metavar="NAME", help="Only this handler's.", show_default=False)
]

OfSession: TypeAlias = Annotated[
    str | None, typer.Option("--session", metavar="ID", help="Only this session's.", show_default=False)
]

WithReason: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="TEXT", help="Only those with this text in the reason that is shown.", show_default=False
    ),
]

RETRY = """Examples:

fbsessiond dead retry 42/audit

fbsessiond dead retry --handler crm --since 2h --reason "ConnectionRefused" --because "the CRM is back"

fbsessiond dead retry --all --limit 1000 --yes"""

DROP = """Examples:

fbsessiond dead drop 42/audit --because "a test session"

fbsessiond dead drop --session 0002DaAVKJ0V0095 --because "a test session" --yes"""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which dead letters a person means."""

    handler: str | None
    session: str | None
    since: datetime | None
    reason: str | None
    limit: int | None

    def check(self, named: Sequence[str], *, is_all: bool) -> None:
        """Raise `BadParameter` where it doesn't say which ones."""
        check_choice(named, (self.handler, self.session, self.since, self.reason), is_all=is_all)

    def found(self, reader: Reader) -> Iterator[DeadLetter]:
        """Yield those that are meant."""
        return islice((dead for dead in dead_letters(reader) if self._fits(dead, reader)), self.limit)

    def _fits(self, dead: DeadLetter, reader: Reader) -> bool:
        return (
            self.handler in {None, dead.handler}
            and self.session in {None, dead.session}
            and (self.since is None or self.since <= dead.at)
            and (self.reason is None or self.reason.casefold() in _shown_reason(dead, reader).casefold())
        )


@app.command(
    name="list", epilog="Examples:\n\nfbsessiond dead list\n\nfbsessiond dead list --handler crm --since 2h --json"
)
def list_(
    handler: OfHandler = None,
    session: OfSession = None,
    since: Since = None,
    reason: WithReason = None,
    limit: Limit = None,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
    reveal: Reveal = False,
) -> None:
    """List the dead letters with their reasons."""
    choice = _Choice(handler, session, since, reason, limit)
    with reading(journal, config, reveal=reveal) as reader:
        records = (to_record(dead, reader, reveal=reveal) for dead in choice.found(reader))
        if as_json:
            for record in records:
                print_json(record)
            return
        table = new_table(*(name.upper() for name in COLUMNS))
        for record in records:
            table.add_row(*(cell(record[name]) for name in COLUMNS))
        print_table(table) if table.rows else print_line("There are no dead letters.")


@app.command(epilog="Example: fbsessiond dead show 42/audit")
def show(
    delivery: Id, config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False
) -> None:
    """Show one dead letter, and what was done with it."""
    with reading(journal, config, reveal=reveal) as reader:
        dead = _there(reader, delivery)
        record = to_record(dead, reader, reveal=reveal)
        acts = list(acts_shown(reader, dead.id, reveal=reveal))
    if as_json:
        print_json({**record, "acts": [act_record(act) for act in acts]})
        return
    for key, value in record.items():
        print_line(f"{key:<9} {'-' if value is None else value}")
    for act in acts:
        print_line(f"{'act':<9} {act_told(act)}")


@app.command(epilog=RETRY)
def retry(
    deliveries: Ids = None,
    handler: OfHandler = None,
    session: OfSession = None,
    since: Since = None,
    reason: WithReason = None,
    is_all: AllOfThem = False,
    limit: Limit = None,
    because: Because = None,
    is_sure: Sure = False,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
) -> None:
    """Try deliveries again, with all their attempts.

    Those that are named; or those that all options fit which are given, counted and asked for first. The daemon does
    it: at once if it runs, else when it starts. Who did it is written down.
    """
    done = "tried again within a second if the daemon runs, else when it starts"
    wish = Wish(ActKind.RETRY, because, "dead letter", done, is_sure, as_json)
    choice = _Choice(handler, session, since, reason, limit)
    _act(deliveries or (), choice, wish, journal, config, is_all=is_all)


@app.command(epilog=DROP)
def drop(
    because: NeededBecause,
    deliveries: Ids = None,
    handler: OfHandler = None,
    session: OfSession = None,
    since: Since = None,
    reason: WithReason = None,
    is_all: AllOfThem = False,
    limit: Limit = None,
    is_sure: Sure = False,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw dead letters for good.

    Those that are named; or those that all options fit which are given, counted and asked for first. Who did it is
    written down.
    """
    wish = Wish(ActKind.DROP, because, "dead letter", "withdrawn", is_sure, as_json)
    choice = _Choice(handler, session, since, reason, limit)
    _act(deliveries or (), choice, wish, journal, config, is_all=is_all)


def _act(
    named: Sequence[str], choice: _Choice, wish: Wish, journal: JournalUrl, config: Config, *, is_all: bool
) -> None:
    choice.check(named, is_all=is_all)
    with reading(journal, config) as reader:
        if named:
            found = [_there(reader, delivery) for delivery in dict.fromkeys(named)]
        else:
            found = list(choice.found(reader))
            ask(found, (dead.handler for dead in found), wish)
        carry_out(reader, found, wish)


def _there(reader: Reader, delivery: str) -> DeadLetter:
    dead = find_dead(reader, delivery)
    if dead is None:
        raise typer.BadParameter(f"there is no dead letter {delivery!r}; see `fbsessiond dead list`")
    return dead


def _shown_reason(dead: DeadLetter, reader: Reader) -> str:
    """Return a reason as `dead list` shows it: by what a filter finds, nobody can guess a customer's data."""
    reason: str = to_record(dead, reader, reveal=False)["reason"]
    return reason

"""`fbsessiond dead`: deliveries that failed for good or were rejected, and follow-ups that are parked or failed."""

from typing import Annotated

import typer

from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, reading
from fbsessiond.cli.printing import cell, new_table, print_json, print_line, print_table
from fbsessiond.clock import SystemClock
from fbsessiond.dead_letters import dead_letters, find_dead, to_record
from fbsessiond.dead_letters import drop as withdraw
from fbsessiond.dead_letters import retry as try_again

app = typer.Typer(
    help="Dead letters: deliveries that failed or were rejected.",
    epilog="Example: fbsessiond dead list --journal sqlite:journal.db",
    no_args_is_help=True,
)

COLUMNS = ("delivery", "session", "after", "attempts", "at", "reason")

Id = Annotated[str, typer.Argument(metavar="DELIVERY", help="As `dead list` shows it, e.g. 42/audit or 42/wrap-up/1.")]


@app.command(name="list", epilog="Example: fbsessiond dead list --journal sqlite:journal.db")
def list_(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False) -> None:
    """List the dead letters with their reasons."""
    with reading(journal, config, reveal=reveal) as reader:
        records = (to_record(dead, reader, reveal=reveal) for dead in dead_letters(reader))
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
    """Show one dead letter."""
    with reading(journal, config, reveal=reveal) as reader:
        dead = find_dead(reader, delivery)
        if dead is None:
            raise _not_there(delivery)
        record = to_record(dead, reader, reveal=reveal)
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        print_line(f"{key:<9} {'-' if value is None else value}")


@app.command(epilog="Example: fbsessiond dead retry 42/audit")
def retry(delivery: Id, config: Config = None, journal: JournalUrl = None) -> None:
    """Try a delivery again, with all its attempts.

    The daemon does it: at once if it runs, else when it starts.
    """
    with reading(journal, config) as reader:
        dead = find_dead(reader, delivery)
        if dead is None or not try_again(reader, dead, SystemClock().now()):
            raise _not_there(delivery)
    print_line(f"{delivery} is tried again within a second if the daemon runs, else when it starts.")


@app.command(epilog='Example: fbsessiond dead drop 42/audit --reason "a test session"')
def drop(
    delivery: Id,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the delivery.")],
    config: Config = None,
    journal: JournalUrl = None,
) -> None:
    """Withdraw a dead letter for good."""
    with reading(journal, config) as reader:
        dead = find_dead(reader, delivery)
        if dead is None or not withdraw(reader, dead, reason, SystemClock().now()):
            raise _not_there(delivery)
    print_line(f"{delivery} is withdrawn.")


def _not_there(delivery: str) -> typer.BadParameter:
    return typer.BadParameter(f"there is no dead letter {delivery!r}; see `fbsessiond dead list`")

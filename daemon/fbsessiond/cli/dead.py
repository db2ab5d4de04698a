"""`fbsessiond dead`: deliveries that used up their attempts, or were rejected."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, reading
from fbsessiond.cli.printing import cell, iso, new_table, print_json, print_line, print_table
from fbsessiond.clock import SystemClock
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord
from fbsessiond.privacy import scrub

app = typer.Typer(help="Dead letters: deliveries that used up their attempts or were rejected.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="DELIVERY", help="As `dead list` shows it, e.g. 42/audit.")]


@app.command(name="list", epilog="Example: fbsessiond dead list --journal sqlite:journal.db")
def list_(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False) -> None:
    """List the dead letters with their reasons."""
    with reading(journal, config) as reader:
        records = (to_record(dead, reader, reveal=reveal) for dead in reader.dead())
        if as_json:
            for record in records:
                print_json(record)
            return
        table = new_table("DELIVERY", "SESSION", "AFTER", "ATTEMPTS", "AT", "REASON")
        for record in records:
            table.add_row(*(cell(record[key]) for key in ("delivery", "session", "after", "attempts", "at", "reason")))
        print_table(table) if table.rows else print_line("There are no dead letters.")


@app.command(epilog="Example: fbsessiond dead show 42/audit")
def show(
    delivery: Id, config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False
) -> None:
    """Show one dead letter."""
    with reading(journal, config) as reader:
        record = to_record(_find(reader, delivery), reader, reveal=reveal)
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        print_line(f"{key:<9} {value}")


@app.command(epilog="Example: fbsessiond dead retry 42/audit")
def retry(delivery: Id, config: Config = None, journal: JournalUrl = None) -> None:
    """Try a delivery again, with all its attempts: by the daemon, at once if it runs, else when it starts."""
    with reading(journal, config) as reader:
        reader.retry_dead(_find(reader, delivery), SystemClock().now())
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
        reader.drop_dead(_find(reader, delivery), f"dropped: {reason}", SystemClock().now())
    print_line(f"{delivery} is withdrawn.")


def to_record(dead: DeliveryRecord, reader: Reader, *, reveal: bool) -> dict[str, Any]:
    """Return a dead letter as a line of JSON shows it; a customer's values in its reason stand there as tokens."""
    reason = (dead.because or "").replace("\n", ": ")
    if not reveal:
        reason = _scrubbed(reason, dead.seq, reader)
    return {
        "delivery": f"{dead.seq}/{dead.handler}",
        "handler": dead.handler,
        "session": dead.session,
        "after": dead.after,
        "attempts": dead.attempts,
        "reason": reason,
        "at": iso(dead.at),
    }


def _scrubbed(reason: str, seq: int, reader: Reader) -> str:
    key = reader.redaction_key()
    for entry in _entry(reader, seq):
        for text in (entry.notification, entry.document):
            reason = scrub(reason, msgspec.json.decode(text), key) if text is not None else reason
    return reason


def _entry(reader: Reader, seq: int) -> Iterator[Any]:
    entry = next(reader.entries(after_seq=seq - 1), None)
    return iter(() if entry is None else (entry,))


def _find(reader: Reader, delivery: str) -> DeliveryRecord:
    seq, _, handler = delivery.partition("/")
    found = next(reader.dead(seq=int(seq), handler=handler), None) if seq.isdecimal() and handler else None
    if found is None:
        raise typer.BadParameter(f"there is no dead letter {delivery!r}; see `fbsessiond dead list`")
    return found

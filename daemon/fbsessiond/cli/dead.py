"""`fbsessiond dead`: deliveries that failed for good or were rejected, and follow-ups that are parked or failed."""

import heapq
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import msgspec
import typer

from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, reading
from fbsessiond.cli.printing import cell, new_table, print_json, print_line, print_table
from fbsessiond.clock import SystemClock
from fbsessiond.dates import iso
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord, Entry, FollowUpRecord
from fbsessiond.privacy import scrub

app = typer.Typer(
    help="Dead letters: deliveries that failed or were rejected.",
    epilog="Example: fbsessiond dead list --journal sqlite:journal.db",
    no_args_is_help=True,
)

COLUMNS = ("delivery", "session", "after", "attempts", "at", "reason")

LARGEST_SEQ = 2**63 - 1

DeadLetter: TypeAlias = DeliveryRecord | FollowUpRecord
"""A delivery that failed for good or was rejected; a follow-up that is parked or failed."""

Id = Annotated[str, typer.Argument(metavar="DELIVERY", help="As `dead list` shows it, e.g. 42/audit or 42/wrap-up/1.")]


@app.command(name="list", epilog="Example: fbsessiond dead list --journal sqlite:journal.db")
def list_(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False) -> None:
    """List the dead letters with their reasons."""
    with reading(journal, config, reveal=reveal) as reader:
        records = (to_record(dead, reader, reveal=reveal) for dead in _all(reader))
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
        dead = _find(reader, delivery)
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
        dead = _find(reader, delivery)
        if dead is None or not _retry(reader, dead):
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
        dead = _find(reader, delivery)
        if dead is None or not _drop(reader, dead, f"dropped: {reason}"):
            raise _not_there(delivery)
    print_line(f"{delivery} is withdrawn.")


def to_record(dead: DeadLetter, reader: Reader, *, reveal: bool) -> dict[str, Any]:
    """Return a dead letter as a line of JSON shows it; a customer's values in its reason stand there as tokens."""
    following = next(reader.entries(after_seq=dead.seq - 1), None)
    entry = following if following is not None and following.seq == dead.seq else None  # None: forgotten just now
    reason = _reason(dead)
    if not reveal:
        reason = _without_customer_data(reason, entry, reader)
    return {
        "delivery": dead.id,
        "handler": dead.handler,
        "session": dead.session,
        "after": None if entry is None else entry.after,
        "attempts": dead.attempts,
        "reason": reason.replace("\n", ": "),
        "at": iso(dead.at),
    }


def _reason(dead: DeadLetter) -> str:
    """Say why on the first line, as far as that can hold no customer data, and the rest on the next ones."""
    if isinstance(dead, DeliveryRecord):
        return dead.because or ""
    return f"{dead.operation.name} {dead.progress.state}\n{dead.progress.because}"


def _without_customer_data(reason: str, entry: Entry | None, reader: Reader) -> str:
    first_line = reason.partition("\n")[0]
    if entry is None:  # whose values stand in the text can't be known any more
        return first_line
    try:
        documents = [msgspec.json.decode(text) for text in (entry.notification, entry.document) if text is not None]
    except (ValueError, RecursionError):  # the same: the entry is damaged
        return first_line
    for document in documents:
        reason = scrub(reason, document, reader.redaction_key())
    return reason


def _all(reader: Reader, seq: int | None = None) -> Iterator[DeadLetter]:
    """Yield deliveries and follow-ups in the order of their entries."""
    return heapq.merge(reader.dead(seq=seq), reader.stuck_follow_ups(seq=seq), key=lambda dead: dead.seq)


def _find(reader: Reader, delivery: str) -> DeadLetter | None:
    digits, _, handler = delivery.partition("/")
    seq = int(digits) if digits.isdecimal() else 0
    if not handler or seq > LARGEST_SEQ:
        return None
    return next((dead for dead in _all(reader, seq) if dead.id == f"{seq}/{handler}"), None)


def _retry(reader: Reader, dead: DeadLetter) -> bool:
    now = SystemClock().now()
    return reader.retry_dead(dead, now) if isinstance(dead, DeliveryRecord) else reader.retry_follow_up(dead, now)


def _drop(reader: Reader, dead: DeadLetter, reason: str) -> bool:
    now = SystemClock().now()
    if isinstance(dead, DeliveryRecord):
        return reader.drop_dead(dead, reason, now)
    return reader.drop_follow_up(dead, reason, now)


def _not_there(delivery: str) -> typer.BadParameter:
    return typer.BadParameter(f"there is no dead letter {delivery!r}; see `fbsessiond dead list`")

"""`fbsessiond export`: the journal's entries."""

from typing import Annotated, Any

import msgspec
import typer

from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, reading
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.dates import iso
from fbsessiond.errors import JournalError
from fbsessiond.journal.records import Entry
from fbsessiond.message import Origin
from fbsessiond.privacy import redact

EPILOG = """Examples:

fbsessiond export --session 0002DaAVKJ0V0095

fbsessiond export 0002DaAVKJ0V0095 > bundle.jsonl && fbsessiond replay bundle.jsonl

fbsessiond export --json > journal.jsonl && fbsessiond replay journal.jsonl"""


def export(
    one: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="A bundle of this session alone, as with --json.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Only this session's entries.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent's entries.", show_default=False)] = None,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
    reveal: Reveal = False,
) -> None:
    """Print the journal's entries, without customer data.

    Tokens stand for it. With --json the entries can be replayed; so can the bundle of one SESSION, which makes the same
    transitions again, and is made to be attached to a report of a mistake.
    """
    session, as_json = one or session, as_json or one is not None
    with reading(journal, config, reveal=reveal) as reader:
        key = None if reveal else reader.redaction_key()
        for entry in reader.entries(session=session, agent=agent):
            if as_json:
                print_json(to_record(entry, key))
            else:
                change = f"  {entry.before or '-'} -> {entry.after}" if entry.after else ""
                where = f"{entry.agent}  {entry.session or entry.channel or '-'}"
                print_line(f"{entry.seq}  {iso(entry.received_at)}  {entry.origin}  {where}  {entry.kind}{change}")


def to_record(entry: Entry, redaction_key: bytes | None) -> dict[str, Any]:
    """Return an entry as a line of JSON shows it; without a key, customer data stands there word for word.

    Raises `JournalError` where its notification isn't what was written.
    """
    try:
        notification = _on_one_line(entry.notification) if redaction_key is None else _redacted(entry, redaction_key)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise JournalError(
            f"entry {entry.seq}: can't be shown: its notification is damaged; see `fbsessiond journal verify`"
        ) from None
    return {
        "seq": entry.seq,
        "received_at": iso(entry.received_at),
        "origin": entry.origin.value,
        "agent": entry.agent,
        "channel": entry.channel,
        "session": entry.session,
        "kind": entry.kind.value,
        "before": entry.before,
        "after": entry.after,
        "notification": notification,
    }


def _redacted(entry: Entry, key: bytes) -> Any:
    """Return a notification without customer data; what a snapshot says of itself is ours, and no customer's."""
    document = msgspec.json.decode(entry.notification)
    shown = redact(document, key)
    return {**shown, "snapshot": document["snapshot"]} if entry.origin is Origin.SNAPSHOT else shown


def _on_one_line(notification: bytes) -> msgspec.Raw:
    """Return a notification as it was received, but for blanks and line breaks between its parts."""
    return msgspec.Raw(msgspec.json.format(notification, indent=-1))

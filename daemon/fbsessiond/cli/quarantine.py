"""`fbsessiond quarantine`: the messages that don't validate."""

from typing import Annotated, Any

import typer

from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, reading
from fbsessiond.cli.printing import cell, new_table, print_json, print_line, print_table
from fbsessiond.dates import iso
from fbsessiond.journal.records import Quarantined
from fbsessiond.privacy import redact_raw

app = typer.Typer(
    help="Messages that don't validate, kept word for word.",
    epilog="Example: fbsessiond quarantine list --journal sqlite:journal.db",
    no_args_is_help=True,
)

LARGEST_SEQ = 2**63 - 1

Place = Annotated[
    int, typer.Argument(metavar="SEQ", min=1, max=LARGEST_SEQ, help="The message's number in `quarantine list`.")
]


@app.command(name="list", epilog="Example: fbsessiond quarantine list --journal sqlite:journal.db")
def list_(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False) -> None:
    """List what is in the quarantine.

    With --json the messages themselves too: with tokens for customer data, or word for word with --reveal.
    """
    with reading(journal, config, reveal=reveal) as reader:
        if as_json:
            key = None if reveal else reader.redaction_key()
            for quarantined in reader.quarantined():
                print_json(to_record(quarantined, key))
            return
        table = new_table("SEQ", "RECEIVED", "AGENT", "CHANNEL", "ERROR")
        for one in reader.quarantined():
            table.add_row(*map(cell, (one.seq, iso(one.received_at), one.agent, one.channel, one.error)))
        print_table(table) if table.rows else print_line("The quarantine is empty.")


@app.command(epilog="Example: fbsessiond quarantine show 3")
def show(
    seq: Place, config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False
) -> None:
    """Show a message, and what is wrong with it.

    Tokens stand for customer data in it, and for all of it where it isn't JSON; with --reveal it is shown word for
    word.
    """
    with reading(journal, config, reveal=reveal) as reader:
        quarantined = next(reader.quarantined(seq=seq), None)
        if quarantined is None:
            raise _not_there(seq)
        key = None if reveal else reader.redaction_key()
        record = to_record(quarantined, key)
        if as_json:
            print_json(record)
            return
        print_line(f"received {iso(quarantined.received_at)} by {quarantined.agent} on {quarantined.channel or '-'}")
        print_line(f"error    {quarantined.error}")
        for line in record["raw"].split("\n"):
            print_line(f"    {line}")


@app.command(epilog="Example: fbsessiond quarantine retry 3")
def retry(seq: Place, config: Config = None, journal: JournalUrl = None) -> None:
    """Read a message again, after an update for example.

    The daemon does it: at once if it runs, else when it starts.
    """
    with reading(journal, config) as reader:
        if not reader.retry_quarantined(seq):
            raise _not_there(seq)
    print_line(f"{seq} is read again within a second if the daemon runs, else when it starts.")


def to_record(quarantined: Quarantined, redaction_key: bytes | None) -> dict[str, Any]:
    """Return a message in the quarantine as a line of JSON shows it; without a key, word for word."""
    raw = quarantined.raw
    return {
        "seq": quarantined.seq,
        "received_at": iso(quarantined.received_at),
        "agent": quarantined.agent,
        "channel": quarantined.channel,
        "error": quarantined.error,
        "raw": raw.decode(errors="backslashreplace") if redaction_key is None else redact_raw(raw, redaction_key),
    }


def _not_there(seq: int) -> typer.BadParameter:
    return typer.BadParameter(f"{seq} isn't in the quarantine; see `fbsessiond quarantine list`")

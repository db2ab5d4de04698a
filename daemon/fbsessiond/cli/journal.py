"""`fbsessiond journal`: the journal as a whole."""

import dataclasses

import typer

from fbsessiond.acts import act_record, acts_shown
from fbsessiond.cli.options import AsJson, Config, JournalUrl, Reveal, reading
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.cli.progress import progress
from fbsessiond.cli.tables import cell, new_table, print_table
from fbsessiond.dates import iso

app = typer.Typer(
    help="The journal as a whole.",
    epilog="Example: fbsessiond journal stats --journal sqlite:journal.db",
    no_args_is_help=True,
)


@app.command(epilog="Example: fbsessiond journal verify --journal sqlite:journal.db")
def verify(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False) -> None:
    """Check everything that can be checked.

    Exit status: 0 all is whole, 1 something is wrong, 74 the journal can't be read.
    """
    found = 0
    with reading(journal, config) as reader, progress("verifying") as report:
        for finding in reader.verify(report):
            found += 1
            if as_json:
                print_json({"where": finding.where, "what": finding.what})
            else:
                print_line(f"{finding.where}: {finding.what}")
        entries = reader.statistics().entries if not found else 0
    if found:
        raise typer.Exit(1)
    if not as_json:
        print_line(f"{entries} entries: every one is whole, and follows from the one before.")


@app.command(epilog="Example: fbsessiond journal reveals --json")
def reveals(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False) -> None:
    """List who had customer data shown.

    That is each command with --reveal, written down before it showed any.
    """
    table = new_table("AT", "BY", "COMMAND")
    with reading(journal, config) as reader:
        for reveal in reader.reveals():
            if as_json:
                print_json({"at": iso(reveal.at), "by": reveal.by, "command": reveal.command, "key": reveal.key})
            else:
                table.add_row(*map(cell, (iso(reveal.at), reveal.by, reveal.command)))
    if table.rows:
        print_table(table)
    elif not as_json:
        print_line("No customer data was ever revealed.")


@app.command(epilog="Example: fbsessiond journal acts --json")
def acts(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False) -> None:
    """List who retried or dropped what, and why.

    That is each dead letter and each message of the quarantine, on the page, too.
    """
    table = new_table("AT", "BY", "ACT", "SUBJECT", "BECAUSE")
    with reading(journal, config, reveal=reveal) as reader:
        for act in acts_shown(reader, reveal=reveal):
            if as_json:
                print_json(act_record(act))
            else:
                table.add_row(*map(cell, (iso(act.at), act.by, act.kind, act.subject, act.because)))
    if table.rows:
        print_table(table)
    elif not as_json:
        print_line("Nothing was retried or dropped.")


@app.command(epilog="Example: fbsessiond journal stats --json")
def stats(config: Config = None, journal: JournalUrl = None, as_json: AsJson = False) -> None:
    """Count what the journal holds."""
    with reading(journal, config) as reader:
        record = dataclasses.asdict(reader.statistics())
    for key in ("first_received_at", "last_received_at"):
        record[key] = iso(record[key])
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        counts = ", ".join(f"{count} {name}" for name, count in value.items()) if isinstance(value, dict) else value
        print_line(f"{key.replace('_', ' '):<18} {'-' if counts in {None, ''} else counts}")

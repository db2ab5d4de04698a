"""`fbsessiond quarantine`: the messages that don't validate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, TypeAlias

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
from fbsessiond.dates import iso
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import ActKind, Quarantined
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

Places: TypeAlias = Annotated[
    list[int] | None,
    typer.Argument(
        metavar="SEQ",
        min=1,
        max=LARGEST_SEQ,
        help="The messages' numbers in `quarantine list`.",
        show_default=False,
    ),
]

OfAgent: TypeAlias = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's.", show_default=False)
]

WithError: TypeAlias = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="Only those with this text in the error.", show_default=False),
]

RETRY = """Examples:

fbsessiond quarantine retry 3

fbsessiond quarantine retry --reason "participants" --because "updated to 0.2" --yes

fbsessiond quarantine retry --all"""

DROP = """Examples:

fbsessiond quarantine drop 3 --because "a test of the platform's"

fbsessiond quarantine drop --since 2h --reason "isn't JSON" --because "a broken proxy" --yes"""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which messages a person means."""

    agent: str | None
    since: datetime | None
    error: str | None
    limit: int | None

    def check(self, named: Sequence[int], *, is_all: bool) -> None:
        """Raise `BadParameter` where it doesn't say which ones."""
        check_choice(named, (self.agent, self.since, self.error), is_all=is_all)

    def found(self, reader: Reader) -> Iterator[Quarantined]:
        """Yield those that are meant."""
        return islice(filter(self._fits, reader.quarantined()), self.limit)

    def _fits(self, one: Quarantined) -> bool:
        return (
            self.agent in {None, one.agent}
            and (self.since is None or self.since <= one.received_at)
            and (self.error is None or self.error.casefold() in one.error.casefold())
        )


@app.command(
    name="list", epilog="Examples:\n\nfbsessiond quarantine list\n\nfbsessiond quarantine list --since 2h --json"
)
def list_(
    agent: OfAgent = None,
    since: Since = None,
    reason: WithError = None,
    limit: Limit = None,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
    reveal: Reveal = False,
) -> None:
    """List what is in the quarantine.

    With --json the messages themselves too: with tokens for customer data, or word for word with --reveal.
    """
    choice = _Choice(agent, since, reason, limit)
    with reading(journal, config, reveal=reveal) as reader:
        if as_json:
            key = None if reveal else reader.redaction_key()
            for quarantined in choice.found(reader):
                print_json(to_record(quarantined, key))
            return
        table = new_table("SEQ", "RECEIVED", "AGENT", "CHANNEL", "ERROR")
        for one in choice.found(reader):
            table.add_row(*map(cell, (one.seq, iso(one.received_at), one.agent, one.channel, one.error)))
        print_table(table) if table.rows else print_line("The quarantine is empty.")


@app.command(epilog="Example: fbsessiond quarantine show 3")
def show(
    seq: Place, config: Config = None, journal: JournalUrl = None, as_json: AsJson = False, reveal: Reveal = False
) -> None:
    """Show a message, its error, and what was done with it.

    Tokens stand for customer data in it, and for all of it where it isn't JSON; with --reveal it is shown word for
    word.
    """
    with reading(journal, config, reveal=reveal) as reader:
        quarantined = _there(reader, seq)
        key = None if reveal else reader.redaction_key()
        record = to_record(quarantined, key)
        acts = list(acts_shown(reader, quarantined.id, reveal=reveal))
    if as_json:
        print_json({**record, "acts": [act_record(act) for act in acts]})
        return
    print_line(f"received {iso(quarantined.received_at)} by {quarantined.agent} on {quarantined.channel or '-'}")
    print_line(f"error    {quarantined.error}")
    for act in acts:
        print_line(f"act      {act_told(act)}")
    for line in record["raw"].split("\n"):
        print_line(f"    {line}")


@app.command(epilog=RETRY)
def retry(
    seqs: Places = None,
    agent: OfAgent = None,
    since: Since = None,
    reason: WithError = None,
    is_all: AllOfThem = False,
    limit: Limit = None,
    because: Because = None,
    is_sure: Sure = False,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
) -> None:
    """Read messages again, after an update for example.

    Those that are named; or those that all options fit which are given, counted and asked for first. The daemon does
    it: at once if it runs, else when it starts. Who did it is written down.
    """
    done = "read again within a second if the daemon runs, else when it starts"
    wish = Wish(ActKind.RETRY, because, "message", done, is_sure, as_json)
    _act(seqs or (), _Choice(agent, since, reason, limit), wish, journal, config, is_all=is_all)


@app.command(epilog=DROP)
def drop(
    because: NeededBecause,
    seqs: Places = None,
    agent: OfAgent = None,
    since: Since = None,
    reason: WithError = None,
    is_all: AllOfThem = False,
    limit: Limit = None,
    is_sure: Sure = False,
    config: Config = None,
    journal: JournalUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take messages out of the quarantine that nobody needs.

    Those that are named; or those that all options fit which are given, counted and asked for first. Who did it is
    written down. They can't be read again, and are forgotten when their time comes.
    """
    wish = Wish(ActKind.DROP, because, "message", "dropped", is_sure, as_json)
    _act(seqs or (), _Choice(agent, since, reason, limit), wish, journal, config, is_all=is_all)


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


def _act(
    named: Sequence[int], choice: _Choice, wish: Wish, journal: JournalUrl, config: Config, *, is_all: bool
) -> None:
    choice.check(named, is_all=is_all)
    with reading(journal, config) as reader:
        if named:
            found = [_there(reader, seq) for seq in dict.fromkeys(named)]
        else:
            found = list(choice.found(reader))
            ask(found, (one.agent for one in found), wish)
        carry_out(reader, found, wish)


def _there(reader: Reader, seq: int) -> Quarantined:
    quarantined = next(reader.quarantined(seq=seq), None)
    if quarantined is None:
        raise typer.BadParameter(f"{seq} isn't in the quarantine; see `fbsessiond quarantine list`")
    return quarantined

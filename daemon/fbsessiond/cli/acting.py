"""What `dead` and `quarantine` share: which ones a person means, whether he is sure, and doing it."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from fbsessiond.acts import act_record
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.cli.progress import progress
from fbsessiond.clock import SystemClock
from fbsessiond.environment import user
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, ActKind, GivenUp
from fbsessiond.printable import printable

AllOfThem: TypeAlias = Annotated[
    bool, typer.Option("--all", help="All that there are, where no other option says less.")
]

Limit: TypeAlias = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, help="At most so many, the first ones.", show_default=False)
]

Sure: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Don't ask; where nobody can be asked, it has to be given.")
]

Because: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Why; it is written down with who did it.", show_default=False)
]

NeededBecause: TypeAlias = Annotated[
    str, typer.Option(metavar="TEXT", help="Why; it is written down with who did it, and needed.")
]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants done, and how it is told."""

    kind: ActKind
    because: str | None
    what: str
    """What it is done with, of which there can be several: `dead letter`."""
    done: str
    """What becomes of it: `withdrawn`."""
    is_sure: bool
    as_json: bool


def check_choice(named: Sequence[object], filters: Iterable[object], *, is_all: bool) -> None:
    """Raise `BadParameter` unless some are named, or chosen by a filter, or all are meant."""
    is_filtered = any(one is not None for one in filters)
    if named and (is_filtered or is_all):
        raise typer.BadParameter("name some, or choose them by options: not both")
    if not (named or is_filtered or is_all):
        raise typer.BadParameter("which ones? Name them, choose them by options, or say --all")


def ask(found: Sequence[GivenUp], groups: Iterable[str], wish: Wish) -> None:
    """Have a person confirm what was found by a filter; where none can be asked, `BadParameter`.

    Where nothing was found, that is told, with exit status 1.
    """
    if not found:
        sys.stderr.write(f"fbsessiond: there is no such {wish.what}\n")
        raise typer.Exit(1)
    if wish.is_sure:
        return
    counted = Counter(groups).most_common()
    parts = ", ".join(f"{count} of {printable(name)}" for name, count in counted)
    question = f"{wish.kind} {_several(len(found), wish.what)}{f' ({parts})' if len(counted) > 1 else ''}"
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"nobody can be asked here whether to {question}; --yes says so")
    sys.stderr.write(
        f"{question[0].upper()}{question[1:]}? [y/N] "
    )  # `typer.confirm` would write to standard output, too
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise typer.Abort


def carry_out(reader: Reader, found: Sequence[GivenUp], wish: Wish) -> None:
    """Do it with one after the other, each in a commit of its own, and tell.

    With exit status 1 where it came too late for all of them.
    """
    clock, by = SystemClock(), user()
    done: list[GivenUp] = []
    with progress(f"{wish.kind} {wish.what}s") as report:
        for number, one in enumerate(found, 1):
            at = clock.now()
            if reader.act(one, wish.kind, by=by, at=at, because=wish.because):
                done.append(one)
                if wish.as_json:
                    print_json(act_record(Act(one.id, wish.kind, at, by, wish.because)))
            report(number, len(found))
    if len(done) < len(found):
        late = f"{_several(len(found) - len(done), wish.what)} of {len(found)}: there no more, somebody was quicker"
        sys.stderr.write(f"fbsessiond: {late}\n")
    if not done:
        raise typer.Exit(1)
    if not wish.as_json:
        name = done[0].id.removeprefix("quarantine/")
        print_line(
            f"{name} is {wish.done}." if len(done) == 1 else f"{_several(len(done), wish.what)} are {wish.done}."
        )


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"

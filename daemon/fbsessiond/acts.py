"""What persons did with what was given up, as it is shown."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fbsessiond.dates import iso
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, ActKind
from fbsessiond.why import entry_of, without_customer_data

_DONE = {ActKind.RETRY: "retried", ActKind.DROP: "dropped"}


def acts_shown(reader: Reader, subject: str | None = None, *, reveal: bool = False) -> Iterator[Act]:
    """Yield what was done, with one subject or with all; tokens stand for a customer's values, unless revealed."""
    for act in reader.acts(subject=subject):
        yield act if reveal else act_shown(reader, act)


def act_shown(reader: Reader, act: Act) -> Act:
    """Return an act with tokens for a customer's values; only the first line of its reason, if they can't be known."""
    if act.because is None:
        return act
    seq = act.subject.partition("/")[0]
    entry = entry_of(reader, int(seq)) if seq.isdecimal() else None
    return replace(act, because=without_customer_data(act.because, entry, reader.redaction_key()))


def act_told(act: Act) -> str:
    """Return an act as a sentence: `retried by alice (uid 1000) at 2026-…: the receiver is back`."""
    because = f": {act.because}" if act.because else ""
    return f"{_DONE[act.kind]} by {act.by} at {iso(act.at)}{because}"


def act_record(act: Act) -> dict[str, Any]:
    """Return an act as JSON has it."""
    return {
        "subject": act.subject,
        "act": act.kind.value,
        "at": iso(act.at),
        "by": act.by,
        "because": act.because,
    }

"""What persons did with what was given up, as it is shown."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fbsessiond.dates import iso
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, ActKind, Entry
from fbsessiond.why import without_customer_data

_DONE = {ActKind.RETRY: "retried", ActKind.DROP: "dropped"}


def acts_shown(reader: Reader, subject: str | None = None, *, reveal: bool = False) -> Iterator[Act]:
    """Yield what was done, with one subject or with all; tokens stand for a customer's values, unless revealed."""
    key = reader.redaction_key()
    for act in reader.acts(subject=subject):
        if reveal or act.because is None:
            yield act
        else:
            yield replace(act, because=without_customer_data(act.because, _entry(reader, act.subject), key))


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


def _entry(reader: Reader, subject: str) -> Entry | None:
    """Return the entry of a delivery or follow-up; None where it is forgotten, and of the quarantine."""
    seq = subject.partition("/")[0]
    following = next(reader.entries(after_seq=int(seq) - 1), None) if seq.isdecimal() else None
    return following if following is not None and following.seq == int(seq) else None

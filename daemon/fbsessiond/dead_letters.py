"""Dead letters, as a person looks at them and decides: deliveries and follow-ups that the daemon has given up.

The commands and the operator page say the same of them, and do the same with them.
"""

import heapq
from collections.abc import Iterator
from typing import Any, TypeAlias

from fbsessiond.dates import iso
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryRecord, FollowUpRecord
from fbsessiond.why import entry_of, without_customer_data

LARGEST_SEQ = 2**63 - 1

DeadLetter: TypeAlias = DeliveryRecord | FollowUpRecord
"""A delivery that failed for good or was rejected; a follow-up that is parked or failed."""


def dead_letters(reader: Reader, seq: int | None = None) -> Iterator[DeadLetter]:
    """Yield deliveries and follow-ups in the order of their entries."""
    return heapq.merge(reader.dead(seq=seq), reader.stuck_follow_ups(seq=seq), key=lambda dead: dead.seq)


def find_dead(reader: Reader, delivery: str) -> DeadLetter | None:
    """Return the dead letter of an id, e.g. `42/audit` or `42/wrap-up/1`; None where there is none."""
    digits, _, handler = delivery.partition("/")
    seq = int(digits) if digits.isdecimal() and len(digits) <= len(str(LARGEST_SEQ)) else 0
    if not handler or seq > LARGEST_SEQ:
        return None
    return next((dead for dead in dead_letters(reader, seq) if dead.id == f"{seq}/{handler}"), None)


def to_record(dead: DeadLetter, reader: Reader, *, reveal: bool) -> dict[str, Any]:
    """Return a dead letter as a line of JSON shows it; a customer's values in its reason stand there as tokens."""
    entry = entry_of(reader, dead.seq)
    reason = _reason(dead)
    if not reveal:
        reason = without_customer_data(reason, entry, reader.redaction_key())
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

"""Follow-ups. Each function runs in the transaction that is open."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fbsessiond.finding import Finding
from fbsessiond.follow_up import FollowUp, FollowUpState, Progress, written
from fbsessiond.journal.records import FollowUpLease, FollowUpRecord, Lease
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import Row, from_microseconds, to_microseconds

_SQL = read_queries("follow_ups.sql")
_LAST = 2**63 - 1


def intend(connection: Connection, lease: Lease, follow_ups: Sequence[FollowUp], now: int) -> None:
    """Write down what a handler asks for: at least one follow-up."""
    entry = lease.entry
    for step, follow_up in enumerate(follow_ups, 1):
        row = {
            "seq": entry.seq,
            "handler": lease.handler,
            "step": step,
            "agent": entry.agent,
            "session": follow_up.session,
            "operation": follow_up.name,
            "parameters": json.dumps(dict(follow_up.parameters)),
            "now": now,
        }
        connection.execute(_SQL["intend"], row)
    for session in sorted({follow_up.session for follow_up in follow_ups}):
        _promote_session(connection, (entry.seq, lease.handler, 1), entry.agent, session, now)


def lease_due(connection: Connection, most: int, now: int, until: int, number: int) -> list[FollowUpLease]:
    """Hand out what is due, numbered from `number`."""
    rows = connection.execute(_SQL["find_due"], (now, most)).fetchall()
    leases = [_to_lease(row, number + place) for place, row in enumerate(rows)]
    connection.executemany(_SQL["lease"], [(until, each.number, each.seq, each.handler, each.step) for each in leases])
    return leases


def record(connection: Connection, lease: FollowUpLease, progress: Progress, now: int) -> None:
    """Write down how far a follow-up has come; once it has ended, the next one of its session is due."""
    row = {
        **_key(lease),
        "state": progress.state.value,
        "attempts": progress.attempts,
        "sent_at": None if progress.sent_at is None else to_microseconds(progress.sent_at),
        "after": progress.after,
        "reference_id": progress.reference_id,
        "because": progress.because,
        "now": now,
    }
    if not connection.execute(_SQL["record"], row).rowcount:
        return
    if progress.again_at is not None:
        connection.execute(_SQL["let_go"], {**_key(lease), "due_at": to_microseconds(progress.again_at)})
    if not progress.state.is_open:
        connection.execute(_SQL["end"], _key(lease))
        if not progress.state.has_succeeded:
            because = (
                f"step {lease.step}, {lease.operation.name}, ended as {progress.state}: a retry takes this up again"
            )
            connection.execute(_SQL["withdraw_rest"], {**_key(lease), "because": because, "now": now})
        _promote(connection, lease.seq, lease.handler, lease.step, now)


def release(connection: Connection, leases: Sequence[FollowUpLease], now: int) -> None:
    """Make interrupted ones due at once."""
    connection.executemany(_SQL["let_go"], [{**_key(lease), "due_at": now} for lease in leases])


def end_leases(connection: Connection, now: int) -> None:
    """End the leases of a daemon that is no more."""
    connection.execute(_SQL["end_leases"], (now,))


def shift(connection: Connection, by: int) -> None:
    """Move due dates, since the machine's time was set."""
    connection.execute(_SQL["shift"], (by,))


def next_due(connection: Connection) -> int | None:
    """Return when the next one is due."""
    found: int | None = connection.execute(_SQL["next_due"]).fetchone()[0]
    return found


def read(connection: Connection, *, seq: int | None) -> Iterator[FollowUpRecord]:
    """Yield follow-ups, all or those of an entry."""
    first, last = (0, _LAST) if seq is None else (seq, seq)
    yield from map(_to_record, connection.execute(_SQL["read"], {"first": first, "last": last}))


def read_session(connection: Connection, session: str, agent: str | None) -> Iterator[FollowUpRecord]:
    """Yield follow-ups that were asked for at a session's entries, and those that act on it."""
    yield from map(_to_record, connection.execute(_SQL["read_session"], {"session": session, "agent": agent}))


def read_changed(connection: Connection, since: int) -> Iterator[FollowUpRecord]:
    """Yield those that were asked for or last changed since a time, in that order, by an index."""
    yield from map(_to_record, connection.execute(_SQL["read_changed"], (since,)))


def read_stuck(connection: Connection, *, seq: int | None) -> Iterator[FollowUpRecord]:
    """Yield those that a person has to look at: parked and failed."""
    yield from map(_to_record, connection.execute(_SQL["read_stuck"], {"seq": seq}))


def revive(connection: Connection, found: FollowUpRecord, now: int) -> bool:
    """Intend a parked or failed one anew, and the steps that were withdrawn with it."""
    key = {"seq": found.seq, "handler": found.handler, "step": found.step, "now": now}
    if not connection.execute(_SQL["revive"], key).rowcount:
        return False
    connection.execute(_SQL["revive_rest"], key)
    _promote(connection, found.seq, found.handler, found.step, now)
    return True


def drop(connection: Connection, found: FollowUpRecord, reason: str, now: int) -> bool:
    """Withdraw a parked or failed one for good."""
    key = {"seq": found.seq, "handler": found.handler, "step": found.step, "because": reason, "now": now}
    return bool(connection.execute(_SQL["drop"], key).rowcount)


def count(connection: Connection) -> dict[str, int]:
    """Count follow-ups by state."""
    return dict(connection.execute(_SQL["count"]))


def backlog(connection: Connection) -> dict[FollowUpState, int]:
    """Count by state those that are open, and those that a person has to look at."""
    return {FollowUpState(state): count for state, count in connection.execute(_SQL["backlog"])}


def check(connection: Connection) -> Iterator[Finding]:
    """Yield what is wrong with them."""
    for row in connection.execute(_SQL["check"]):
        seq, handler, step, session, operation, parameters, state, is_due, has_entry = row
        where = f"follow-up {seq}/{handler}/{step}"
        if not has_entry:
            yield Finding(where, f"entry {seq} is missing")
        if state not in tuple(FollowUpState):
            yield Finding(where, f"there is no state {state!r}")
        elif is_due and not FollowUpState(state).is_open:
            yield Finding(where, f"is due, and has ended as {state}")
        try:
            written(operation, session, _parameters(parameters)).check()
        except ValueError as error:
            yield Finding(where, str(error))
    yield from (Finding(where, what) for where, what in connection.execute(_SQL["check_due"]))


def forget(connection: Connection, stays: int) -> None:
    """Forget those of entries before the one that stays."""
    connection.execute(_SQL["forget"], (stays,))


def _promote(connection: Connection, seq: int, handler: str, step: int, now: int) -> None:
    """Say which ones are due now of the sessions of a step and of those after it: they came, ended or went."""
    key = {"seq": seq, "handler": handler, "step": step}
    for agent, session in connection.execute(_SQL["sessions_from"], key).fetchall():
        _promote_session(connection, (seq, handler, step), agent, session, now)


def _promote_session(connection: Connection, place: tuple[int, str, int], agent: str, session: str, now: int) -> None:
    """Say which one is due now of a session in which something from a place on came, ended or went."""
    seq, handler, step = place
    key = {"seq": seq, "handler": handler, "step": step, "agent": agent, "session": session}
    connection.execute(_SQL["step_back"], key)
    connection.execute(_SQL["promote"], {"agent": agent, "session": session, "now": now})


def _key(lease: FollowUpLease) -> dict[str, Any]:
    return {"seq": lease.seq, "handler": lease.handler, "step": lease.step, "lease": lease.number}


def _to_lease(row: Row, number: int) -> FollowUpLease:
    seq, handler, step, agent, session, operation, parameters, *progress = row
    asked = written(operation, session, _parameters(parameters))
    return FollowUpLease(number, seq, handler, step, agent, asked, _progress(progress))


def _to_record(row: Row) -> FollowUpRecord:
    seq, handler, step, agent, session, operation, parameters, *progress, lease, at = row
    return FollowUpRecord(
        seq=seq,
        handler=handler,
        step=step,
        agent=agent,
        operation=written(operation, session, _parameters(parameters)),
        progress=_progress(progress),
        is_running=bool(lease),
        at=from_microseconds(at),
    )


def _parameters(text: str) -> dict[str, Any]:
    """Read parameters. Raises `ValueError` where they aren't what was written."""
    parameters = json.loads(text)
    if not isinstance(parameters, dict):
        raise ValueError("its parameters are no table")  # noqa: TRY004  as what isn't JSON
    return parameters


def _progress(columns: Sequence[Any]) -> Progress:
    state, attempts, sent_at, after, reference_id, because = columns
    at = None if sent_at is None else from_microseconds(sent_at)
    return Progress(FollowUpState(state), attempts, at, after, reference_id, because)

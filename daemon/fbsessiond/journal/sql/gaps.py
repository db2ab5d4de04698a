"""The ledger of gaps. Each function runs in the transaction that is open."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from fbsessiond.finding import Finding
from fbsessiond.gap import SNAPSHOT, Break, Gap, GapCause, Proof, Watched
from fbsessiond.journal.sql.connection import Connection
from fbsessiond.journal.sql.queries import read_queries
from fbsessiond.journal.sql.rows import Row, from_microseconds, to_microseconds

_SQL = read_queries("gaps.sql")


def watch(connection: Connection, agent: str, now: int) -> None:
    """Begin to listen for an agent: from the last proof to the next one, or to the chain's going on, is a gap."""
    connection.execute(_SQL["watch"], {"agent": agent, "now": now})


def prove(connection: Connection, agent: str, proof: Proof | Break) -> bool:
    """Write what a source can prove; say whether that ended a gap which has to be repaired now."""
    if isinstance(proof, Break):
        since = None if proof.since is None else to_microseconds(proof.since)
        connection.execute(_SQL["break_chain"], {"agent": agent, "cause": proof.cause.value, "since": since})
        return False
    since, until = to_microseconds(proof.since), to_microseconds(proof.until)
    if (row := connection.execute(_SQL["chain"], (agent,)).fetchone()) is None:
        watch(connection, agent, since)
        row = (None, None, since, GapCause.START.value)
    chain, doubted, proven_until, broken = row
    if proof.chain == doubted:
        return False
    if until < proven_until:
        connection.execute(_SQL["set_back_agent"], {"agent": agent, "now": until})
        connection.execute(_SQL["set_back_gaps"], {"agent": agent, "now": until})
        since, proven_until = min(since, until), until
    is_new: bool = proof.chain != chain
    if is_new:
        cause = broken or GapCause.SESSION_LOST.value
        connection.execute(_SQL["add_gap"], (agent, proven_until, max(since, proven_until), cause))
    connection.execute(
        _SQL["prove"], {"agent": agent, "chain": proof.chain, "until": max(since, until), "position": proof.position}
    )
    return is_new


def doubt(connection: Connection, agent: str) -> None:
    """Take back what the chain proved since the last comparison; what it goes on to prove counts for nothing.

    What came before the chain stays as it is; where no chain holds there is nothing to take back.
    """
    connection.execute(_SQL["doubt"], (agent,))


def agree(connection: Connection, agent: str, at: int) -> None:
    """Note that the sessions are known as they were at a time, and close the gaps that had ended by then."""
    connection.execute(_SQL["agree"], {"agent": agent, "at": at})
    connection.execute(_SQL["close"], {"agent": agent, "at": at, "closed_by": SNAPSHOT})


def watched(connection: Connection, agent: str | None = None, *, is_in_doubt: bool = False) -> list[Watched]:
    """Return what is known of one agent, or of all, or of those in doubt."""
    if agent is not None:
        rows = connection.execute(_SQL["watched"], (agent,)).fetchall()
        found = connection.execute(_SQL["unclosed"], (agent,)).fetchall()
    else:
        rows = connection.execute(_SQL["all_in_doubt" if is_in_doubt else "all_watched"]).fetchall()
        found = connection.execute(_SQL["all_unclosed"]).fetchall()
    unclosed: defaultdict[str, list[Gap]] = defaultdict(list)
    for gap in map(_to_gap, found):
        unclosed[gap.agent].append(gap)
    return [_to_watched(row, unclosed[row[0]]) for row in rows]


def is_in_doubt(connection: Connection, agent: str) -> bool:
    """Say whether an agent has a gap that isn't closed, or that has no end yet."""
    return bool(connection.execute(_SQL["is_in_doubt"], {"agent": agent}).fetchone()[0])


def read(connection: Connection, agent: str | None) -> Iterator[Gap]:
    """Yield gaps of one agent, or of all: those that have an end."""
    yield from map(_to_gap, connection.execute(_SQL["read"], {"agent": agent}))


def check(connection: Connection) -> Iterator[Finding]:
    """Yield what is wrong with them."""
    yield from (Finding(where, what) for where, what in connection.execute(_SQL["check"]))
    for where, cause in connection.execute(_SQL["check_causes"]):
        if cause not in tuple(GapCause):
            yield Finding(where, f"there is no cause {cause!r}")


def forget(connection: Connection, before: int) -> None:
    """Forget what ended long ago, and count from there."""
    connection.execute(_SQL["forget"], (before,))
    connection.execute(_SQL["forget_observed"], {"before": before})


def _to_watched(row: Row, unclosed: Sequence[Gap]) -> Watched:
    agent, observed_since, proven_until, broken, compared_at, position = row
    return Watched(
        agent,
        from_microseconds(observed_since),
        from_microseconds(proven_until),
        None if broken is None else GapCause(broken),
        None if compared_at is None else from_microseconds(compared_at),
        position,
        tuple(unclosed),
    )


def _to_gap(row: Row) -> Gap:
    agent, begin_at, end_at, cause, closed_by = row
    return Gap(agent, from_microseconds(begin_at), from_microseconds(end_at), GapCause(cause), closed_by)

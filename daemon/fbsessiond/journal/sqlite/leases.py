"""Leases that aren't on disk yet.

Only this process leases, and a start ends every lease that it finds: so a lease needs no commit of its own. It is
written with the second one after it, whatever that is for: what waits for nothing is settled before, and then it never
has to be.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import timedelta

from fbsessiond.journal.records import Lease
from fbsessiond.journal.sql.deliveries import SessionKey

WRITTEN_WITHIN = timedelta(milliseconds=100)
"""After so much time a lease is on disk, so that another process sees what runs."""


class Leases:
    """Knows what is handed out though the file doesn't say so."""

    def __init__(self) -> None:
        self._unwritten: defaultdict[str, dict[SessionKey, tuple[Lease, int, int]]] = defaultdict(dict)
        self._new: set[int] = set()
        """The numbers of those that no commit came after."""
        self._being_settled: defaultdict[str, set[SessionKey]] = defaultdict(set)

    def __bool__(self) -> bool:
        """Say whether any is to be written."""
        return any(self._unwritten.values())

    def add(self, lease: Lease, until: int, before: int) -> None:
        """Take one that ends at a time, and the number of the one before it that the file has; 0 where it has none."""
        self._unwritten[lease.handler][_session(lease)] = lease, until, before
        self._new.add(lease.number)

    def held(self, handler: str) -> Collection[SessionKey]:
        """Return the sessions of which a delivery of the handler is handed out, and looks due in the file."""
        return self._unwritten[handler].keys() | self._being_settled[handler]

    def settle(self, lease: Lease) -> int:
        """Return the number by which the file knows what is about to be settled; it may never know this lease."""
        session, unwritten = _session(lease), self._unwritten[lease.handler]
        held, _, before = unwritten.get(session, (None, 0, 0))
        if held is not lease:
            return lease.number
        del unwritten[session]
        self._being_settled[lease.handler].add(session)
        return before

    def age(self) -> None:
        """Have all be written with the next commit."""
        self._new.clear()

    def take(self) -> Iterator[tuple[Lease, int]]:
        """Yield those that are to be written with this commit, each with its end."""
        for unwritten in self._unwritten.values():
            for session, (lease, until, _) in list(unwritten.items()):
                if lease.number not in self._new:
                    del unwritten[session]
                    yield lease, until
        self.age()

    def settled(self) -> None:
        """Forget what was about to be settled, since it is."""
        self._being_settled.clear()


def _session(lease: Lease) -> SessionKey:
    return lease.entry.agent, lease.entry.session

"""Leases that aren't on disk yet."""

from fbsessiond.journal.documents import entry_of
from fbsessiond.journal.records import Lease
from fbsessiond.journal.sqlite.leases import Leases
from fbsessiond.message import Batch, Origin
from journal_parts import NOW, draft


def lease(number: int, session: str = "S1", handler: str = "log") -> Lease:
    """Return a lease."""
    one = draft(session, "Invited", handler)
    return Lease(number, handler, 0, NOW, entry_of(number, Batch("agent1", Origin.LIVE, NOW, (one.message,)), one))


def test_settled_before_it_is_written() -> None:
    """What is settled at once never has to be written; until then its session is held."""
    leases, one = Leases(), lease(1)
    leases.add(one, 60, 0)
    assert leases
    assert ("agent1", "S1") in leases.held("log")
    assert leases.settle(one) == 0
    assert not leases
    assert ("agent1", "S1") in leases.held("log")
    leases.settled()
    assert ("agent1", "S1") not in leases.held("log")


def test_settled_after_it_was_written() -> None:
    """What was written is known by its number, and held no more: the file says that it runs."""
    leases, one, another = Leases(), lease(1), lease(2, "S2", "audit")
    leases.add(one, 60, 0)
    leases.add(another, 70, 0)
    leases.age()
    assert sorted(leases.take(), key=lambda taken: taken[1]) == [(one, 60), (another, 70)]
    assert not leases
    assert (leases.settle(one), leases.settle(another)) == (1, 2)
    assert ("agent1", "S1") not in leases.held("log")


def test_held_for_its_own_handler() -> None:
    """A session is held for the handler whose delivery runs, and for no other; an older lease isn't the one held."""
    leases = Leases()
    leases.add(lease(2), 60, 0)
    assert ("agent1", "S1") not in leases.held("audit")
    assert ("agent1", "S2") not in leases.held("log")
    assert leases.settle(lease(1)) == 1
    assert leases


def test_written_with_the_second_commit() -> None:
    """What is handed out just before a commit isn't written with it, but with the next one, if it still runs then."""
    leases, one, another = Leases(), lease(1), lease(2, "S2")
    leases.add(one, 60, 0)
    assert list(leases.take()) == []
    leases.add(another, 70, 0)
    assert list(leases.take()) == [(one, 60)]
    assert list(leases.take()) == [(another, 70)]
    assert not leases


def test_lease_that_ran_out() -> None:
    """What is handed out anew, and settled before that is written, is known to the file by the lease before."""
    leases, again = Leases(), lease(9)
    leases.add(again, 60, 1)
    assert leases.settle(again) == 1

"""The clocks of `for`, brought in line with the configuration when the daemon starts or reads it anew."""

from collections.abc import Sequence

from fbsessiond.clock import Clock
from fbsessiond.journal.documents import candidate_of
from fbsessiond.journal.interface import Journal
from fbsessiond.route import Route, Wish


async def wind_clocks(journal: Journal, routes: Sequence[Route], clock: Clock) -> None:
    """Begin, change and withdraw clocks as the routes have them now.

    A session that is already in the state counts from when it came there, so that its clock may fire at once.
    """
    standing = await journal.standing() if any(route.has_clocks for route in routes) else ()
    for route in routes:
        entries = {entry.seq: entry for entry in (*standing, *await journal.clocks(route.name))}
        wishes = [(entry, route.wish(candidate_of(entry))) for entry in entries.values()]
        clocks = [
            (entry, entry.received_at + wish.lasts)
            for entry, wish in wishes
            if isinstance(wish, Wish) and wish.lasts is not None
        ]
        if entries:
            await journal.wind(route.name, clocks, clock.now())

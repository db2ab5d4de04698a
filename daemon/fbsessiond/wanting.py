"""What each handler wants of a transition, in the journal's words."""

from collections.abc import Sequence
from datetime import datetime

from fbsessiond.conditions import Candidate
from fbsessiond.journal.records import NotWanted, Wait, Wanted
from fbsessiond.route import Route, Wish


def ask(
    routes: Sequence[Route], candidate: Candidate, arrived_at: datetime, now: datetime
) -> tuple[list[Wanted], list[NotWanted]]:
    """Ask each handler. What is wanted at once is due now; a clock runs from the notification's arrival."""
    wanted: list[Wanted] = []
    not_wanted: list[NotWanted] = []
    for route in routes:
        wish = route.wish(candidate)
        if not isinstance(wish, Wish):
            not_wanted.append(NotWanted(route.name, wish))
        elif wish.lasts is None:
            wanted.append(Wanted(route.name, now, throttle=wish.throttle))
        else:
            wanted.append(Wanted(route.name, arrived_at + wish.lasts, Wait.FOR))
    return wanted, not_wanted

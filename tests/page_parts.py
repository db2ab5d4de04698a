"""The operator page in this process, over real sockets, on a journal in which something of everything happened."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from fbsessiond.clock import Clock
from fbsessiond.events import AttemptEnded, AttemptOutcome
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.gap import GapCause
from fbsessiond.http_interface import serving
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import DeliveryState, NotWanted, Settlement, Wait
from fbsessiond.operations import Operation
from fbsessiond.page.figures import Figures
from fbsessiond.page.guard import Guard, place_of
from fbsessiond.page.interface import Page
from fbsessiond.readiness import Check
from fbsessiond.testing import EPOCH, VirtualClock, make_session
from journal_parts import NOW, after, append, break_chain, draft, lease, prove, settle

TOKEN = "a-token-that-nobody-guesses"  # noqa: S105  of a server in this test

CANARY = "Vitaliy Onv-4711"
"""A customer's value, to be looked for where it must not be."""

HANDLERS = ("crm", "log", "wrap-up")

CHECKS = (Check("connection agent1", True, "connected", EPOCH), Check("disk", True, "75 GiB free"))


def connections_in(checks: Sequence[Check]) -> Mapping[str, Check]:
    """Return those of the agents, by their names."""
    connections = (check for check in checks if check.name.startswith("connection "))
    return {check.name.removeprefix("connection "): check for check in connections}


async def fill(journal: Journal, canary: str = CANARY, *, state: str = "Chatting") -> None:
    """Have something of everything happen, with a customer's value wherever one can stand.

    S1 was invited (1), and is in a state in which crm has given up (2/crm); S2 left the chat: a clock runs for log, and
    of two steps of wrap-up the first is parked (3/wrap-up/1). The agent was in a gap before, and is in another now.
    """
    known: dict[str, Any] = {
        "comment": canary,
        "userData": {"FirstName": canary},
        "participants": [{"nickname": canary}],
    }
    await prove(journal, "one", -60, -30)
    await prove(journal, "two", -20, 0)
    await append(
        journal, draft("S1", "Invited", "crm", not_wanted=[NotWanted("wrap-up", f"to: was {canary}")], **known)
    )
    await settle(journal, *await lease(journal, "crm"))
    await append(journal, draft("S1", state, "crm", before="Invited", **known), at=after(1))
    (broken,) = await lease(journal, "crm", now=after(1))
    because = f"LookupError at crm.py:8\nnobody is called {canary}"
    await journal.settle([Settlement(broken, DeliveryState.DEAD, 3, because)], after(2))
    clock = draft("S2", "LeftChat", "wrap-up", **known)
    await append(journal, clock, at=after(3))
    (wanted,) = await lease(journal, "wrap-up", now=after(3))
    session = make_session("LeftChat", session="S2")
    steps = (Operation.add_comment(session, canary), Operation.complete(session))
    await journal.settle([Settlement(wanted, DeliveryState.DELIVERED, 1, follow_ups=steps)], after(3))
    (doubted,) = await journal.lease_follow_ups(1, after(3), after(60))
    progress = Progress(FollowUpState.PARKED, 2, because=f"in doubt: {canary}")
    await journal.record_follow_up(doubted, progress, after(4))
    await append(
        journal, draft("S3", "LeftChat", "log", due_at=NOW + timedelta(minutes=5), wait=Wait.FOR, **known), at=after(5)
    )
    await break_chain(journal, GapCause.NETWORK)


def ended(lease: Any, seconds: float | None = 0.1, outcome: AttemptOutcome = AttemptOutcome.DELIVERED) -> AttemptEnded:
    """Return that an attempt is over."""
    return AttemptEnded(lease, outcome, EPOCH, seconds)


@dataclass
class There:
    """A page that is served, and a browser's way to it."""

    address: str
    journal: Journal
    reader: Reader
    session: aiohttp.ClientSession
    figures: Figures
    clock: VirtualClock | Clock

    @property
    def base(self) -> str:
        """What stands before a path."""
        return "http://localhost" if self.address.startswith("unix:") else self.address

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Look; return the status, and what was said."""
        async with self.session.get(f"{self.base}{path}", headers=headers) as answer:
            return answer.status, await _said(answer)

    async def post(self, path: str, document: Any, **headers: str) -> tuple[int, Any]:
        """Do something as the page does it; return the status, and what was said."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {"Content-Type": "application/json", "Origin": self.base, **headers}
        async with self.session.post(f"{self.base}{path}", data=body, headers=headers) as answer:
            return answer.status, await _said(answer)


async def _said(answer: aiohttp.ClientResponse) -> Any:
    text = await answer.text()
    return json.loads(text) if answer.content_type == "application/json" else text


@asynccontextmanager
async def served_page(
    folder: Path,
    listen: str = "127.0.0.1:0",
    *,
    token: str | None = TOKEN,
    checks: Sequence[Check] = CHECKS,
    clock: Clock | None = None,
    canary: str = CANARY,
    state: str = "Chatting",
    is_open: bool = True,
    is_filled: bool = True,
) -> AsyncGenerator[There, None]:
    """Serve a page for a while; its journal may not be open yet."""
    clock = clock or VirtualClock()
    with closing(open_journal("sqlite:j.db", folder, NOW)) as journal:
        if is_filled:
            await fill(journal, canary, state=state)
        reader = journal.reader()
        figures = Figures(HANDLERS, clock)
        page = Page(lambda: checks, figures, Guard(place_of(listen), token, clock), clock)
        connector = aiohttp.UnixConnector(listen.removeprefix("unix:")) if listen.startswith("unix:") else None
        jar = aiohttp.CookieJar(unsafe=True)  # which takes an address's cookies, as a browser does
        async with (
            serving(listen, lambda: checks, lambda: (b"", "text/plain"), clock, page) as address,
            aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session,
        ):
            assert address is not None
            with page.showing(reader, lambda: connections_in(checks)) if is_open else nullcontext():
                yield There(address, journal, reader, session, figures, clock)

"""What the journal shows of a session after an operation was sent."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from fbsessiond.clock import Clock
from fbsessiond.journal.interface import Journal
from fbsessiond.message import Message
from fbsessiond.notification import AnyNotification, Document, read


class JournalEvidence:
    """A session's notifications, as they are journaled; a place is an entry's number."""

    def __init__(self, journal: Journal, agent: str, session: str, clock: Clock) -> None:
        self._journal = journal
        self._agent = agent
        self._session = session
        self._clock = clock

    def place(self) -> int:
        """Return the number of the last entry."""
        return self._journal.last_place()

    async def known(self) -> Document | None:
        """Return the session's merged document."""
        return await self._journal.known(self._agent, self._session)

    async def first(
        self, decides: Callable[[AnyNotification], bool], after: int, until: datetime
    ) -> AnyNotification | None:
        """Look through the entries after a place, and at each that arrives, until a point in time."""
        with self._journal.arrivals(self._agent, self._session) as arrived:
            while True:
                arrived.clear()
                for place, data in await self._journal.notifications(self._agent, self._session, after):
                    after = place
                    for notification in read(Message(b"", None, data)):
                        if notification.session_id == self._session and decides(notification):
                            return notification
                left = (until - self._clock.now()).total_seconds()
                if left <= 0:
                    return None
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await arrived.wait()

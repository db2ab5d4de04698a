"""What happens in the simulator, told to whoever listens: a person at the terminal, the script, a test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from fbsessiond.clock import Clock


class What(StrEnum):
    """Each kind of thing that happens."""

    WAITING = "session.waiting"
    INVITED = "session.invited"
    REVOKED = "session.revoked"
    ABANDONED = "session.abandoned"
    EFFECT = "operation.effect"
    FAILED = "operation.failed"
    ACCEPTED = "operation.accepted"
    REFUSED = "operation.refused"
    FAULT = "fault"
    HANDSHAKEN = "cometd.handshaken"
    SUBSCRIBED = "cometd.subscribed"
    GONE = "cometd.gone"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened."""

    at: datetime
    what: What
    agent: str | None = None
    session: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Chronicle:
    """Tells each happening to all who listen, in the order in which they began to; none of them may raise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listeners: list[Callable[[Happening], None]] = []

    def listen(self, listener: Callable[[Happening], None]) -> None:
        """Tell a listener all that happens from now on."""
        self._listeners.append(listener)

    def tell(self, what: What, agent: str | None = None, session: str | None = None, **details: Any) -> None:
        """Say that something happened just now."""
        happening = Happening(self._clock.now(), what, agent, session, details)
        for listener in self._listeners:
            listener(happening)

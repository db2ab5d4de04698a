"""How the handlers did lately: how often, how fast, how often in vain."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fbsessiond.clock import Clock
from fbsessiond.events import AttemptEnded, AttemptOutcome

LATELY_SECONDS: Final = 300.0

ATTEMPTS: Final = 5_000
"""Of so many attempts at most the figures of a handler are; a faster one's are of a shorter time."""

_FAILED = frozenset({AttemptOutcome.FAILED, AttemptOutcome.DEAD})


@dataclass(frozen=True, slots=True)
class HandlerFigures:
    """How one handler did lately."""

    handler: str
    per_minute: float = 0.0
    median_seconds: float | None = None
    """How long it took; None: it wasn't asked."""
    percentile_95_seconds: float | None = None
    failed: int = 0


class Figures:
    """Hears how each attempt ended, and remembers that for a while."""

    def __init__(self, handlers: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._attempts = {name: deque[tuple[float, float, bool]](maxlen=ATTEMPTS) for name in handlers}

    @property
    def handlers(self) -> Sequence[str]:
        """The names of the handlers that are configured."""
        return list(self._attempts)

    def observe(self, event: object) -> None:
        """Note an attempt that has ended; other events say nothing here."""
        if isinstance(event, AttemptEnded) and event.seconds is not None and event.lease.handler in self._attempts:
            now, is_failed = self._clock.monotonic(), event.outcome in _FAILED
            self._attempts[event.lease.handler].append((now, event.seconds, is_failed))

    def of(self, handler: str) -> HandlerFigures:
        """Return how a handler did lately."""
        attempts, now = self._attempts[handler], self._clock.monotonic()
        while attempts and attempts[0][0] <= now - LATELY_SECONDS:
            attempts.popleft()
        if not attempts:
            return HandlerFigures(handler)
        is_full = len(attempts) == ATTEMPTS
        span = now - attempts[0][0] if is_full else min(now - self._since, LATELY_SECONDS)
        durations = sorted(seconds for _, seconds, _ in attempts)
        return HandlerFigures(
            handler,
            per_minute=len(attempts) / max(span, 1.0) * 60,
            median_seconds=_at(durations, 0.5),
            percentile_95_seconds=_at(durations, 0.95),
            failed=sum(is_failed for _, _, is_failed in attempts),
        )


def _at(ascending: Sequence[float], share: float) -> float:
    """Return the value below which a share of the others lies."""
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)]

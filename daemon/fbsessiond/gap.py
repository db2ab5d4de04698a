"""What can be proved of the time in which fbsessiond listens for an agent, and the gaps in it.

A source proves that it heard everything by a chain: connects of one CometD session, each successful, whose
subscriptions that session confirmed. While the chain is the same, each `Proof` extends what is covered; between two
chains lies a gap. So a gap is never measured: it is what no proof covers, and a crash can't hide one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from fbsessiond.dates import iso

SNAPSHOT = "snapshot"
"""What closes a gap: the agent's sessions were read after its end, and compared."""


class GapCause(StrEnum):
    """Why nothing can be proved of a span of time: what broke the chain first."""

    START = "start"
    """The first start, up to the subscription."""
    STOPPED = "stopped"
    """The daemon didn't run, or had crashed."""
    NETWORK = "network"
    """GWS wasn't reached, or didn't answer as it should."""
    SESSION_LOST = "session lost"
    """The server forgot the CometD session, and what waited in it."""
    REFUSED = "refused"
    """The server refused the agent: HTTP or Bayeux 401 or 403, or `reconnect: none`."""
    SILENT = "silent"
    """All looked well, and a change wasn't notified."""
    SUBSCRIPTION = "subscription"
    """The server refused to subscribe a channel."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that was sent to a source from `since` to `until` is in its batches up to the one with this."""

    chain: str
    """The same for as long as the chain holds, over restarts too."""
    since: datetime
    until: datetime
    position: bytes | None = field(default=None, repr=False)
    """Where another process can go on; only the source understands it, and it holds secrets. None: nowhere."""


@dataclass(frozen=True, slots=True)
class Break:
    """The chain may be broken: from here on nothing is proved, until there is another proof."""

    cause: GapCause
    since: datetime | None = None
    """What was proved of the time from there on counts no more. None: it stands."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of time in which a notification may have been missed."""

    agent: str
    begin: datetime
    """The last proof before it."""
    end: datetime | None
    """Since when notifications are sure to arrive again; None: they aren't yet."""
    cause: GapCause
    closed_by: str | None = None
    """What repaired it: `SNAPSHOT`. None: what was missed isn't known yet."""

    def written(self) -> dict[str, str | None]:
        """Return its bounds and cause as JSON has them."""
        return {"from": iso(self.begin), "to": iso(self.end), "cause": self.cause.value}


def span(gaps: Sequence[Gap]) -> Gap:
    """Return the gap from the first one's beginning to the last one's end: what happened, happened in any of them."""
    return replace(gaps[0], end=gaps[-1].end)


def read_gap(agent: str, written: Mapping[str, Any]) -> Gap:
    """Read what `Gap.written` wrote. Raises `LookupError`, `TypeError` or `ValueError` where it isn't that."""
    end = written["to"]
    begin = datetime.fromisoformat(written["from"])
    return Gap(agent, begin, None if end is None else datetime.fromisoformat(end), GapCause(written["cause"]))


@dataclass(frozen=True, slots=True)
class Watched:
    """What the journal knows of the time in which it was listened for an agent."""

    agent: str
    observed_since: datetime
    """When a daemon first listened for this agent; or how far back the journal goes."""
    proven_until: datetime
    """The last proof."""
    broken: GapCause | None
    """Why the chain is broken now; None: as far as is known it isn't."""
    compared_at: datetime | None
    """When the agent's sessions were last read and found as they are known here."""
    position: bytes | None = field(repr=False)
    """Where the source can go on."""
    gaps: tuple[Gap, ...] = ()
    """Those that aren't closed, the oldest first."""

    @property
    def open_gap(self) -> Gap | None:
        """The gap that has no end yet."""
        return None if self.broken is None else Gap(self.agent, self.proven_until, None, self.broken)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the time in which an agent was observed is covered by proofs."""

    agent: str
    observed: timedelta
    covered: timedelta

    @property
    def share(self) -> float:
        """The share that is covered, 0 to 1; 1 where nothing was observed yet."""
        return self.covered / self.observed if self.observed else 1.0


def coverage_of(watched: Watched, gaps: Iterable[Gap], now: datetime) -> Coverage:
    """Add up an agent's gaps, the closed ones too, and the one that goes on, until `now`, whether it is given or not.

    Without an open gap the time since the last proof counts as neither: the next proof decides it.
    """
    end = watched.proven_until if watched.broken is None else max(now, watched.proven_until)
    observed = max(end - watched.observed_since, timedelta())
    spans = [(gap.begin, gap.end) for gap in gaps if gap.end is not None]
    spans.append((watched.proven_until, end))
    missing = timedelta()
    for begin, until in spans:
        missing += max(until - max(begin, watched.observed_since), timedelta())
    return Coverage(watched.agent, observed, max(observed - missing, timedelta()))

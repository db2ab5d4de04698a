"""What the page shows, as JSON: of all a bounded part, and of a customer nothing but tokens.

All of it is looked up on the event loop, by the journal's indexes: a few milliseconds. What takes longer, hiding a
customer's values in a reason (some 5 ms), is done once for each, and everything else has its turn in between.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

from fbsessiond.acts import act_record, act_shown
from fbsessiond.clock import Clock
from fbsessiond.dates import iso
from fbsessiond.dead_letters import DeadLetter, dead_letters, to_record
from fbsessiond.gap import Gap, Watched, coverage_of
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import Act, DeliveryState, Entry, FollowUpRecord, SessionRecord
from fbsessiond.page.figures import Figures
from fbsessiond.readiness import Check, Checks, is_ready
from fbsessiond.session import TERMINAL_STATES, VANISHED
from fbsessiond.why import Fate, Moment, Timeline, timelines, without_customer_data

Json: TypeAlias = dict[str, Any]

Connections: TypeAlias = Callable[[], Mapping[str, Check]]
"""Says of each agent that is watched, by its name, whether its notifications arrive now."""

T = TypeVar("T")

OPEN_SESSIONS: Final = 200
FINISHED_SESSIONS: Final = 50
DEAD_LETTERS: Final = 100
MOMENTS: Final = 300
"""How many of each are shown."""

REMEMBERED: Final = 5_000
"""So many of what takes long are kept."""

_FINISHED: Final = frozenset({*TERMINAL_STATES, VANISHED})
_TO_DO: Final = (DeliveryState.WAITING, DeliveryState.DUE, DeliveryState.RUNNING)


class Views:
    """Looks at the journal, and at what the daemon knows besides."""

    def __init__(
        self, reader: Reader, checks: Checks, connections: Connections, figures: Figures, clock: Clock
    ) -> None:
        self._reader = reader
        self._checks = checks
        self._connections = connections
        self._figures = figures
        self._clock = clock
        self._key = reader.redaction_key()
        self.remembered = OrderedDict[tuple[object, ...], Any]()
        """Reasons and dead letters as they are shown, and agents' gaps, by what they were made of."""

    async def overview(self) -> Json:
        """Return how everything is: agents, sessions, dead letters, handlers."""
        checks = self._checks()
        letters = _first(dead_letters(self._reader), DEAD_LETTERS + 1)
        in_trouble = Counter((dead.agent, dead.session) for dead in letters)
        open_sessions = _first(self._reader.sessions(is_open=True), OPEN_SESSIONS + 1)
        known = {(one.agent, one.session) for one in open_sessions}
        latest = _first(self._reader.sessions(), FINISHED_SESSIONS)
        others = [one for one in latest if (one.agent, one.session) not in known]
        sessions = sorted([*open_sessions[:OPEN_SESSIONS], *others], key=lambda one: (one.state in _FINISHED, -one.seq))
        return {
            "now": iso(self._clock.now()),
            "version": VERSION,
            "is_ready": is_ready(checks),
            "checks": [_check(check) for check in checks],
            "agents": await self._agents(),
            "sessions": {
                "listed": [_session(one, in_trouble) for one in sessions],
                "has_more": len(open_sessions) > OPEN_SESSIONS or len(latest) == FINISHED_SESSIONS,
                "has_more_open": len(open_sessions) > OPEN_SESSIONS,
            },
            "dead_letters": {
                "listed": [await self._dead_letter(dead) for dead in letters[:DEAD_LETTERS]],
                "has_more": len(letters) > DEAD_LETTERS,
            },
            "handlers": list(self._handlers()),
        }

    async def story(self, session: str, agent: str | None) -> Json | None:
        """Return what happened to a session, and what was done about it; None where it isn't known."""
        now = self._clock.now()
        found = timelines(self._reader, session, now, agent=agent, handlers=self._figures.handlers)
        if not found:
            return None
        timeline = max(found, key=lambda one: one.moments[-1].entry.seq)
        moments = timeline.moments[-MOMENTS:]
        gaps = {gap.begin: gap for gap in (*timeline.gaps, *(gap for moment in moments for gap in moment.gaps))}
        return {
            "now": iso(now),
            "session": session,
            "agent": timeline.agent,
            "state": timeline.state,
            "is_open": timeline.state not in _FINISHED,
            "count": len(timeline.moments),
            "has_more": len(moments) < len(timeline.moments),
            "gaps": [gap.written() for _, gap in sorted(gaps.items())],
            "entries": [await self._moment(moment) for moment in moments],
            "others": [self._other(one) for one in _others(timeline)],
        }

    async def _agents(self) -> list[Json]:
        connections = self._connections()
        found: list[Json] = []
        for watched in list(self._reader.watched()):
            found.append(self._agent(watched, connections.get(watched.agent)))
            await asyncio.sleep(0)
        return found

    def _agent(self, watched: Watched, connection: Check | None) -> Json:
        gaps = self._gaps(watched)
        gap = watched.open_gap or next(iter(watched.gaps), None)
        return {
            "agent": watched.agent,
            "is_connected": connection is not None and connection.is_ok,
            "connection": "not watched now" if connection is None else connection.words,
            "since": None if connection is None else iso(connection.since),
            "coverage": coverage_of(watched, gaps, self._clock.now()).share,
            "gaps": len(gaps) + (watched.open_gap is not None),
            "gap": gap and gap.written(),
            "proven_until": iso(watched.proven_until),
            "compared_at": iso(watched.compared_at),
        }

    def _gaps(self, watched: Watched) -> Sequence[Gap]:
        """Return an agent's gaps; they are read anew when one has come, or was compared."""
        key = ("gaps", watched.agent, watched.observed_since, watched.compared_at, *(gap.begin for gap in watched.gaps))
        return self._once(key, lambda: list(self._reader.gaps(agent=watched.agent)))

    async def _dead_letter(self, dead: DeadLetter) -> Json:
        await asyncio.sleep(0)
        key = (dead.id, dead.at)
        return self._once(key, lambda: to_record(dead, self._reader, reveal=False))

    def _handlers(self) -> Iterator[Json]:
        names = self._figures.handlers
        backlog = self._reader.backlog(names, self._clock.now())
        for name in names:
            figures = self._figures.of(name)
            states = backlog.deliveries.get(name, {})
            yield {
                "handler": name,
                "per_minute": figures.per_minute,
                "median_seconds": figures.median_seconds,
                "percentile_95_seconds": figures.percentile_95_seconds,
                "failed": figures.failed,
                "to_do": sum(states.get(state, 0) for state in _TO_DO),
                "dead": backlog.dead.get(name, 0),
            }

    async def _moment(self, moment: Moment) -> Json:
        await asyncio.sleep(0)
        entry = moment.entry
        return {
            "seq": entry.seq,
            "at": iso(entry.received_at),
            "origin": entry.origin.value,
            "kind": entry.kind.value,
            "before": entry.before,
            "after": entry.after,
            "deliveries": [self._fate(fate, entry) for fate in moment.fates],
        }

    def _fate(self, fate: Fate, entry: Entry) -> Json:
        delivery = fate.delivery
        return {
            "delivery": delivery.id,
            "handler": delivery.handler,
            "state": delivery.state.value,
            "because": self._reason(delivery.because, entry),
            "behind": fate.behind,
            "attempts": delivery.attempts,
            "at": iso(delivery.at),
            "acts": self._acts(delivery.id),
            "follow_ups": [self._follow_up(one, entry) for one in fate.follow_ups],
        }

    def _follow_up(self, follow_up: FollowUpRecord, entry: Entry | None) -> Json:
        return {
            "step": follow_up.step,
            "operation": follow_up.operation.name,
            "state": follow_up.progress.state.value,
            "because": self._reason(follow_up.progress.because, entry),
            "attempts": follow_up.attempts,
            "at": iso(follow_up.at),
            "acts": self._acts(follow_up.id),
        }

    def _other(self, follow_up: FollowUpRecord) -> Json:
        return {"asked_by": f"{follow_up.seq}/{follow_up.handler}", **self._follow_up(follow_up, None)}

    def _acts(self, subject: str) -> list[Json]:
        """Return who retried or dropped it."""
        return [self._act(act) for act in self._reader.acts(subject=subject)]

    def _act(self, act: Act) -> Json:
        return self._once((act,), lambda: act_record(act_shown(self._reader, act)))

    def _reason(self, because: str | None, entry: Entry | None) -> str | None:
        if not because:
            return None
        key = (because, None if entry is None else entry.seq)
        return self._once(key, lambda: without_customer_data(because, entry, self._key).replace("\n", ": "))

    def _once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """Return what was made for a key before, or make it."""
        if key not in self.remembered:
            self.remembered[key] = make()
            if len(self.remembered) > REMEMBERED:
                self.remembered.popitem(last=False)
        found: T = self.remembered[key]
        return found


VERSION: Final = version("fbsessiond")


def _first(items: Iterator[T], most: int) -> list[T]:
    """Return the first items; what isn't read any further ends with the iterator, when this returns."""
    return list(islice(items, most))


def _check(check: Check) -> Json:
    return {"name": check.name, "is_ok": check.is_ok, "words": check.words, "since": iso(check.since)}


def _session(one: SessionRecord, in_trouble: Mapping[tuple[str, str], int]) -> Json:
    dead = in_trouble.get((one.agent, one.session), 0)
    return {
        "agent": one.agent,
        "session": one.session,
        "state": one.state,
        "since": iso(one.since),
        "is_open": one.state not in _FINISHED,
        "clock": one.clock and {"handler": one.clock.handler, "at": iso(one.clock.at)},
        "trouble": f"{dead} dead letter{'' if dead == 1 else 's'}" if dead else None,
    }


def _others(timeline: Timeline) -> tuple[FollowUpRecord, ...]:
    return timeline.others[-MOMENTS:]

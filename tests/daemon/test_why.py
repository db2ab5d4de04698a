import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from fbsessiond import Operation
from fbsessiond.conditions import Throttle
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.gap import GapCause
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import DeliveryRecord, DeliveryState, Entry, FollowUpRecord, NotWanted, Settlement, Wait
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.message import Message, Origin
from fbsessiond.transition import Kind
from fbsessiond.why import Fate, Timeline, delivery_told, entry_of, follow_up_told, timelines, without_customer_data
from journal_parts import NOW, after, append, break_chain, draft, gap, lease, prove, repeat, settle

KEY = b"k" * 32


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    """Open a journal."""
    journal = SqliteJournal(MEMORY, NOW)
    yield journal
    journal.close()


def timeline(journal: Journal, *, now: datetime = NOW, **options: Any) -> Timeline:
    """Return the one timeline of a session."""
    (found,) = timelines(journal.reader(), "S1", now, **options)
    return found


async def test_timeline(journal: SqliteJournal) -> None:
    """A session's entries stand in their order, each transition with what became of it for each handler."""
    no = [NotWanted("wrap-up", "to: was Chatting")]
    await append(journal, draft("S1", "Chatting", "log", not_wanted=no), draft("S2", "Chatting", "log"))
    await append(journal, repeat(), draft("S1", "LeftChat", "log", "wrap-up", before="Chatting"), at=after(5))
    await settle(journal, *await lease(journal))
    found = timeline(journal)
    assert (found.agent, found.session, found.state) == ("agent1", "S1", "LeftChat")
    assert found.is_whole
    assert [(one.entry.seq, one.entry.kind) for one in found.moments] == [
        (1, Kind.TRANSITION),
        (3, Kind.REPEAT),
        (4, Kind.TRANSITION),
    ]
    assert [[(fate.delivery.id, fate.delivery.state.value) for fate in one.fates] for one in found.moments] == [
        [("1/log", "delivered"), ("1/wrap-up", "not_wanted")],
        [],
        [("4/log", "due"), ("4/wrap-up", "due")],
    ]


async def test_no_such_session(journal: SqliteJournal) -> None:
    """What the journal doesn't know has no timeline."""
    await append(journal, draft("S2"))
    assert timelines(journal.reader(), "S1", NOW) == []


async def test_several_agents(journal: SqliteJournal) -> None:
    """A session that two agents had has a timeline for each; one can be asked for."""
    await append(journal, draft("S1", "Invited", "log"))
    await append(journal, draft("S1", "Chatting", "log"), agent="agent2")
    await append(journal, draft("S1", "Revoked", before="Invited"))
    one, two = timelines(journal.reader(), "S1", NOW)
    assert [(each.agent, each.state, len(each.moments)) for each in (one, two)] == [
        ("agent1", "Revoked", 2),
        ("agent2", "Chatting", 1),
    ]
    assert timelines(journal.reader(), "S1", NOW, agent="agent2") == [two]


async def test_forgotten_beginning(journal: SqliteJournal) -> None:
    """A session whose first entries were forgotten says so."""
    await append(journal, draft("S1", "Chatting", before="Invited"))
    assert not timeline(journal).is_whole


async def test_no_state(journal: SqliteJournal) -> None:
    """A session of which no transition is there has no state."""
    await append(journal, repeat())
    assert timeline(journal).state is None


async def test_handlers(journal: SqliteJournal) -> None:
    """With the configuration's handlers it is known which ones are gone, and which weren't there yet."""
    await append(journal, draft("S1", "Chatting", "log", "old"), repeat())
    one, two = timeline(journal, handlers=["wrap-up", "log", "audit"]).moments
    assert [(fate.delivery.handler, fate.is_configured) for fate in one.fates] == [("log", True), ("old", False)]
    assert (one.not_asked, two.not_asked) == (("audit", "wrap-up"), ())
    (unknown, _) = timeline(journal).moments
    assert [fate.is_configured for fate in unknown.fates] == [None, None]
    assert unknown.not_asked == ()


async def test_gaps(journal: SqliteJournal) -> None:
    """A gap stands beside the entry before which something may have been missed, and after the last one."""
    await prove(journal, "one", 0, 10)
    await append(journal, draft("S1"), at=after(5))
    await prove(journal, "two", 20, 30)
    await append(journal, draft("S1", "Chatting", before="Invited"), at=after(25))
    await append(journal, draft("S1", "LeftChat", before="Chatting"), at=after(26))
    await break_chain(journal)
    found = timeline(journal, now=after(60))
    lost = gap(10, 20, GapCause.SESSION_LOST)
    assert [one.gaps for one in found.moments] == [(), (lost,), ()]
    assert found.gaps == (gap(30, None, GapCause.NETWORK),)
    assert timeline(journal, now=after(27)).gaps == ()


async def test_gap_before_a_first_sight(journal: SqliteJournal) -> None:
    """Beside a session that a snapshot saw first stands the gap in which it began."""
    await prove(journal, "one", 0, 10)
    await prove(journal, "two", 20, 30)
    lost = gap(10, 20, GapCause.SESSION_LOST)
    seen = draft("S1")
    data = json.dumps({"facebooksession": {"id": "S1", "state": "Invited"}, "snapshot": {"gap": lost.written()}})
    seen = replace(seen, message=Message(b"", None, data.encode()))
    await append(journal, seen, at=after(21), origin=Origin.SNAPSHOT)
    assert timeline(journal).moments[0].gaps == (lost,)
    await append(journal, draft("S3"), at=after(21), origin=Origin.SNAPSHOT)
    (damaged,) = timelines(journal.reader(), "S3", NOW)
    assert damaged.moments[0].gaps == ()


async def test_follow_ups(journal: SqliteJournal) -> None:
    """What a handler asked for stands with its delivery, even on another session; so does what others asked here."""
    await append(journal, draft("S1", "LeftChat", "wrap-up"), draft("S2", "LeftChat", "wrap-up"))
    for one in await lease(journal, "wrap-up"):
        asked = (Operation.leave("S1"), Operation.leave("S2"))
        await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=asked)], NOW)
    found = timeline(journal)
    (fate,) = found.moments[0].fates
    assert [(one.id, one.session) for one in fate.follow_ups] == [("1/wrap-up/1", "S1"), ("1/wrap-up/2", "S2")]
    assert [(one.id, one.session) for one in found.others] == [("2/wrap-up/1", "S1")]


async def test_behind(journal: SqliteJournal) -> None:
    """A delivery that waits behind another says which."""
    await append(journal, draft("S1", "Invited", "log"), draft("S1", "Chatting", "log", before="Invited"))
    one, two = (moment.fates[0] for moment in timeline(journal).moments)
    assert (one.behind, two.behind) == (None, "1/log")
    assert delivery_told(two, NOW) == "waits: behind 1/log"


async def test_waits(journal: SqliteJournal) -> None:
    """A clock and a throttle say until when; once that has passed, since when."""
    await append(journal, draft("S1", "LeftChat", "log", due_at=after(300), wait=Wait.FOR))
    throttle = Throttle("1/session/S1", timedelta(seconds=90), is_last=True)
    await append(journal, draft("S1", "Chatting", "audit", before="LeftChat", throttle=throttle))
    clock, held = (moment.fates[0] for moment in timeline(journal).moments)
    assert delivery_told(held, NOW) == "waits: once_after holds it until 2026-01-01T00:01:30.000000Z, 1 min 30 s more"
    assert clock.delivery.state is DeliveryState.WITHDRAWN
    assert delivery_told(clock, NOW) == "withdrawn at 2026-01-01T00:00:00.000000Z"


def record(state: DeliveryState, attempts: int = 0, *, at: float = 0, wait: Wait | None = None) -> DeliveryRecord:
    """Return a delivery as a reader sees it."""
    return DeliveryRecord(42, "log", "agent1", "S1", "LeftChat", state, attempts, None, after(at), wait)


DELIVERIES = [
    (record(DeliveryState.WAITING, at=300, wait=Wait.FOR), "waits: its clock runs until {5}, 5 min 0 s more"),
    (record(DeliveryState.WAITING, at=-60, wait=Wait.FOR), "waits: its clock ended at {-1}, 1 min 0 s ago"),
    (
        record(DeliveryState.WAITING, at=60, wait=Wait.ONCE_AFTER),
        "waits: once_after holds it until {1}, 1 min 0 s more",
    ),
    (
        record(DeliveryState.WAITING, at=-60, wait=Wait.ONCE_AFTER),
        "waits: once_after held it until {-1}, 1 min 0 s ago",
    ),
    (record(DeliveryState.DUE), "due since {0}, 0 s ago"),
    (record(DeliveryState.DUE, 1, at=60), "due at {1}, in 1 min 0 s, after 1 attempt"),
    (record(DeliveryState.RUNNING, 2, at=60), "running: attempt 3, handed out until {1}"),
    (record(DeliveryState.DELIVERED, 1), "delivered at {0}"),
    (record(DeliveryState.DELIVERED, 3), "delivered at {0}, at attempt 3"),
    (
        record(DeliveryState.DEAD, 10),
        "dead since {0}, after 10 attempts; when the cause is gone, `fbsessiond dead retry 42/log`",
    ),
    (record(DeliveryState.WITHDRAWN), "withdrawn at {0}"),
    (record(DeliveryState.NOT_WANTED), "not wanted"),
]


@pytest.mark.parametrize(("delivery", "told"), DELIVERIES)
def test_delivery_told(delivery: DeliveryRecord, told: str) -> None:
    """Each state of a delivery has its sentence."""
    for minutes in (-1, 0, 1, 5):
        told = told.replace(f"{{{minutes}}}", after(60 * minutes).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    assert delivery_told(Fate(delivery), NOW) == told
    gone = delivery_told(Fate(delivery, is_configured=False), NOW)
    assert gone == f"{told} (the configuration has no such handler any more)"


def test_each_delivery_is_told() -> None:
    """No state of a delivery is missing above."""
    assert {delivery.state for delivery, _ in DELIVERIES} == set(DeliveryState)


FOLLOW_UPS = {
    FollowUpState.INTENDED: "intended: not sent yet, {0}",
    FollowUpState.SENT: "sent: no answer yet, {0}",
    FollowUpState.ACCEPTED: "accepted: GWS took it, and nothing shows the effect yet, {0}",
    FollowUpState.CONFIRMED: "confirmed, {0}",
    FollowUpState.OBSERVED: "observed: the session, read back, shows it, {0}",
    FollowUpState.UNCONFIRMED: "unconfirmed: GWS took it, and nothing can show what became of it, {0}",
    FollowUpState.PARKED: "parked: sent, perhaps, and nothing tells whether it was done, {0}; "
    "look at the session, then `fbsessiond dead retry 1/log/1` or `fbsessiond dead drop 1/log/1`",
    FollowUpState.FAILED: "failed, {0}; when the cause is gone, `fbsessiond dead retry 1/log/1`",
    FollowUpState.CAPTURED: "captured: in a replay nothing is sent, {0}",
    FollowUpState.WITHDRAWN: "withdrawn, {0}",
}


@pytest.mark.parametrize("state", FollowUpState)
def test_follow_up_told(state: FollowUpState) -> None:
    """Each state of a follow-up has its sentence: since when, how often it was tried, and what is to be done."""
    once = FollowUpRecord(1, "log", 1, "a", Operation.leave("S1"), Progress(state, 1), is_running=False, at=NOW)
    at = "2026-01-01T00:00:00.000000Z"
    assert follow_up_told(once) == f"Leave {FOLLOW_UPS[state].format(at)}"
    again = replace(once, progress=Progress(state, 2), is_running=True)
    assert follow_up_told(again) == f"Leave {FOLLOW_UPS[state].format(f'{at}, 2 attempts; at work on it now')}"


def entry(**known: Any) -> Entry:
    """Return an entry about a customer."""
    document = json.dumps({"facebooksession": {"id": "S1", "state": "LeftChat", **known}}).encode()
    return Entry(1, NOW, Origin.LIVE, "a", None, "S1", Kind.TRANSITION, None, "LeftChat", document, None)


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ('user_data["AGE"] is ', '"42"', ""),
        ("user_data.AGE is ", "42", ', agent is "me"'),
        ("session.comment is ", "-4.2", "\nmore"),
        ("user_data['a b'] is ", "[42]", ""),
        ("user_data is ", '{"A": {"B": "42"}}', ', origin is "live"'),
        ("participants[0].age is ", '"42"', ""),
        ("session is ", '{"comment": "4\\"2"}', ""),
    ],
)
def test_short_values(before: str, value: str, after: str) -> None:
    """What a condition tells of a customer's value is hidden, however short it is."""
    shown = without_customer_data(f"when: x is false; {before}{value}{after}", entry(), KEY)
    assert re.fullmatch(
        rf"when: x is false; {re.escape(before)}[^0-9]*\[(opaque|free-text):[0-9a-f]{{8}}\]\W*{re.escape(after)}", shown
    )


@pytest.mark.parametrize(
    "told",
    [
        "to: was Chatting",
        'when: x is false; before is "A", origin is "live", session.id is "S1", capabilities is ["Leave"]',
        'when: x is false; user_data["A"] is not there, user_data.B is null, user_data.C is true',
        "when: x is false; user_data.A is [1, 2…",
        "when: x is false; user_data.A is 1-2",
    ],
)
def test_what_is_no_value(told: str) -> None:
    """What is no customer's stays."""
    assert without_customer_data(told, entry(), KEY) == told


def test_values_in_a_reason() -> None:
    """A customer's values in an error's text are replaced by tokens; without the entry, only the first line is told."""
    broke = "LookupError at x.py:1\nno Vitaliy"
    one = entry(userData={"FirstName": "Vitaliy"})
    assert without_customer_data(broke, one, KEY).startswith("LookupError at x.py:1\nno [identity:")
    assert without_customer_data(broke, None, KEY) == "LookupError at x.py:1"
    assert without_customer_data(broke, msgspec.structs.replace(one, notification=b"{"), KEY) == "LookupError at x.py:1"
    assert "Vitaliy" not in without_customer_data(broke, msgspec.structs.replace(one, document=b'{"id": "S1"}'), KEY)


async def test_entry(journal: SqliteJournal) -> None:
    """An entry is found by its number, but not once it is forgotten, or before it is there."""
    await append(journal, draft("S1", "Completed"), draft("S2"))
    entry = entry_of(journal.reader(), 2)
    assert entry is not None
    assert entry.seq == 2
    assert entry_of(journal.reader(), 3) is None
    await journal.prune(after(60), None)
    assert entry_of(journal.reader(), 1) is None

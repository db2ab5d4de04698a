import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fbsessiond import limits
from fbsessiond.clock import SystemClock
from fbsessiond.conditions import Condition
from fbsessiond.envelope import open_envelope
from fbsessiond.errors import JournalError
from fbsessiond.events import BatchTaken, Event
from fbsessiond.finding import Finding
from fbsessiond.handler import Delivery, Done, Handler, Outcome
from fbsessiond.intake import Intake
from fbsessiond.journal.documents import document_of
from fbsessiond.journal.interface import Reader
from fbsessiond.journal.records import DeliveryState, DiskSpace, Draft, Entry, Misfit, Quarantined
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.journal.sqlite.reader import SqliteReader
from fbsessiond.message import Batch, Message, Origin
from fbsessiond.notification import Document
from fbsessiond.reserve import Reserve
from fbsessiond.route import Route
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual
from fbsessiond.transition import Kind
from journal_parts import drop, retry_quarantined
from simulator_parts import HandClock

CHANNEL = "/v2/me/facebooksession"


class Nothing(Handler):
    """Do nothing: intake asks only what a handler wants."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()


def route(name: str, **on: Any) -> Route:
    """Return a handler's route, with one condition or none."""
    return Route(name, Nothing(), (Condition.model_validate(on),) if on else ())


FROM_INVITED: dict[str, Any] = {"from": "Invited", "to": "Chatting"}

ROUTES = (
    route("all"),
    route("left", to="LeftChat"),
    route("entered", **FROM_INVITED),
    route("replayed", origin="replay"),
    Route(
        "either", Nothing(), (Condition.model_validate({"to": "Revoked"}), Condition.model_validate({"to": "Invited"}))
    ),
)


class Watched(SqliteJournal):
    """A journal that says what it was asked for, and refuses to append when told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, EPOCH)
        self.asked: list[str] = []
        self.refuses = False
        self.is_dropped_meanwhile = False

    async def known(self, agent: str, session: str) -> Document | None:
        """Note who asked."""
        self.asked.append(session)
        return await super().known(agent, session)

    async def append(self, batch: Batch, drafts: Sequence[Draft], misfits: Sequence[Misfit]) -> int:
        """Append, or refuse."""
        self._check()
        return await super().append(batch, drafts, misfits)

    async def release_quarantined(self, quarantined: Quarantined, drafts: Sequence[Draft], error: str | None) -> bool:
        """Release, or refuse; a person may be quicker."""
        self._check()
        if self.is_dropped_meanwhile:
            assert drop(self.reader(), quarantined)
        return await super().release_quarantined(quarantined, drafts, error)

    def _check(self) -> None:
        if self.refuses:
            raise JournalError("the disk is full")


@pytest.fixture(params=[MEMORY, Path("journal.db")], ids=["memory", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    """Open a journal, in memory and in a file."""
    journal = Watched(request.param if request.param == MEMORY else tmp_path / request.param)
    yield journal
    journal.close()


@pytest.fixture
def reader(journal: SqliteJournal) -> Reader:
    """Return a look at the journal."""
    return journal.reader()


def intake_of(journal: SqliteJournal) -> Intake:
    """Return an intake that remembers nothing yet."""
    return Intake(journal, ROUTES, SystemClock())


@pytest.fixture
def intake(journal: SqliteJournal) -> Intake:
    """Return the journal's intake."""
    return intake_of(journal)


def message(session: str = "S1", state: str | None = None, *, kind: str = "StatusChange", **known: Any) -> Message:
    """Return a notification about a session."""
    document = {"id": session, **({"state": state} if state else {}), **known}
    data = {
        "messageType": "FacebooksessionStateChangeMessage",
        "notificationType": kind,
        "facebooksession": document,
    }
    return open_envelope(json.dumps({"channel": CHANNEL, "data": data}).encode())


def batch(*messages: Message, agent: str = "agent1", origin: Origin = Origin.LIVE) -> Batch:
    """Return messages as one batch."""
    return Batch(agent, origin, EPOCH, messages)


BROKEN = Message(b'{"channel":"/v2/me/facebooksession","data":{"facebooksession"', CHANNEL, None)


def changes(reader: Reader, session: str | None = None) -> list[tuple[str, str | None, str | None]]:
    """Return what each entry says."""
    return [(entry.kind.value, entry.before, entry.after) for entry in reader.entries(session=session)]


def last(reader: Reader) -> Entry:
    """Return the newest entry."""
    return list(reader.entries())[-1]


def wanted(reader: Reader) -> dict[int, set[str]]:
    """Return which handlers get which entries."""
    found: dict[int, set[str]] = {}
    for record in (one for one in reader.deliveries() if one.state is not DeliveryState.NOT_WANTED):
        found.setdefault(record.seq, set()).add(record.handler)
    return found


def commits(journal: SqliteJournal) -> list[str]:
    """Return a list that grows with each commit from now on."""
    seen: list[str] = []
    journal.connection.set_trace_callback(lambda statement: seen.append(statement) if statement == "COMMIT" else None)
    return seen


def findings(journal: SqliteJournal) -> list[Finding]:
    """Return what is wrong with the journal."""
    return list(journal.reader().verify(lambda _done, _all: None))


async def test_one_commit(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """A batch, with its entries, deliveries and misfits, is one commit, and nothing of it is there before."""
    seen = commits(journal)
    await intake.take(batch(message("S1", "Invited"), BROKEN, message("S2", "Invited"), message("S1", "Chatting")))
    assert seen == ["COMMIT"]
    assert reader.statistics().entries == 3
    assert reader.statistics().quarantined == 1


async def test_durable(tmp_path: Path) -> None:
    """When a batch was taken, another process can read it."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, EPOCH)
    await intake_of(journal).take(batch(message("S1", "Invited")))
    another = SqliteReader(path)
    assert changes(another) == [("transition", None, "Invited")]
    another.close()
    journal.close()


async def test_word_for_word(intake: Intake, reader: Reader) -> None:
    """An entry holds the notification as it was sent: order, blanks, escapes and all, and when and whence it came."""
    data = b'{ "zeta":1,\t"facebooksession" :{"state":"Invited","id":"S1","userData":{"N":"Zo\\u00eb","HUGE":1.50}} }'
    await intake.take(batch(open_envelope(b'{"data":' + data + b',"channel":"/v2/me/facebooksession","id":"7"}')))
    entry = last(reader)
    assert entry.notification == data
    assert (entry.agent, entry.origin, entry.received_at, entry.channel) == ("agent1", Origin.LIVE, EPOCH, CHANNEL)


async def test_who_gets_what(intake: Intake, reader: Reader) -> None:
    """A transition causes a delivery for each handler whose `on` matches, and for no other."""
    states = [message("S1", state) for state in ("Invited", "Chatting", "LeftChat", "Completed")]
    await intake.take(batch(*states))
    await intake.take(batch(message("S2", "Chatting"), message("S3", "Revoked"), origin=Origin.REPLAY))
    assert wanted(reader) == {
        1: {"all", "either"},
        2: {"all", "entered"},
        3: {"all", "left"},
        4: {"all"},
        5: {"all", "replayed"},
        6: {"all", "replayed", "either"},
    }


async def test_who_gets_nothing(intake: Intake, reader: Reader) -> None:
    """What is no transition causes no delivery."""
    log = {"messageType": "MessageLogUpdated", "facebooksessionPath": "/facebooksessions/S1", "messages": []}
    await intake.take(batch(message("S1", "Chatting")))
    await intake.take(
        batch(
            message("S1", "Chatting"),
            message("S1", userData={"A": 1}, kind="PropertiesUpdated"),
            message("S1", participants=[{"participantId": "P"}], kind="ParticipantsUpdated"),
            message("S1", kind="Error"),
            open_envelope(json.dumps({"channel": CHANNEL, "data": log}).encode()),
            open_envelope(b'{"channel":"/v2/me/calls","data":{"messageType":"CallStateChanged"}}'),
        )
    )
    assert [entry.kind for entry in reader.entries()][1:] == [
        Kind.REPEAT,
        Kind.PROPERTIES,
        Kind.PARTICIPANTS,
        Kind.ERROR,
        Kind.MESSAGES,
        Kind.OTHER,
    ]
    assert wanted(reader) == {1: {"all"}}


def test_when_it_is_due() -> None:
    """A delivery is due when its batch is taken, not when the notification is said to have been received."""

    async def main() -> None:
        journal = SqliteJournal(MEMORY, EPOCH)
        await asyncio.sleep(60)
        await Intake(journal, ROUTES, VirtualClock()).take(batch(message("S1", "Chatting")))
        assert await journal.next_due("all") == EPOCH + timedelta(minutes=1)
        journal.close()

    run_virtual(main())


async def test_within_one_batch(intake: Intake, reader: Reader) -> None:
    """Notifications of one session within a batch build on each other, and other sessions' between them don't."""
    await intake.take(
        batch(
            message("S1", "Invited", userData={"A": 1}, comment="first"),
            message("S2", "Chatting"),
            message("S1", "Chatting", userData=None),
            message("S2", "Chatting"),
            message("S2", "LeftChat"),
            message("S1", "LeftChat", comment="last"),
        )
    )
    assert changes(reader, "S1") == [
        ("transition", None, "Invited"),
        ("transition", "Invited", "Chatting"),
        ("transition", "Chatting", "LeftChat"),
    ]
    assert changes(reader, "S2") == [
        ("transition", None, "Chatting"),
        ("repeat", None, None),
        ("transition", "Chatting", "LeftChat"),
    ]
    assert document_of(last(reader)) == {"id": "S1", "state": "LeftChat", "userData": {"A": 1}, "comment": "last"}


async def test_within_one_message(intake: Intake, reader: Reader) -> None:
    """A list of sessions in one message is an entry each, and one that comes twice builds on itself."""
    sessions = [{"id": "S1", "state": "Invited"}, {"id": "S2", "state": "Invited"}, {"id": "S1", "state": "Chatting"}]
    data = {"messageType": "FacebooksessionStateChangeMessage", "facebooksessions": sessions}
    await intake.take(batch(open_envelope(json.dumps({"channel": CHANNEL, "data": data}).encode())))
    assert changes(reader, "S1") == [("transition", None, "Invited"), ("transition", "Invited", "Chatting")]
    assert [entry.session for entry in reader.entries()] == ["S1", "S2", "S1"]


async def test_one_session_twice_in_one_message(intake: Intake, reader: Reader) -> None:
    """A message that shows one session twice is two entries, each with the session as it was at that point."""
    parts = [{"id": "S1", "state": "Invited"}, {"id": "S1", "state": "Chatting"}]
    data = {"messageType": "FacebooksessionStateChangeMessage", "facebooksessions": parts}
    message = open_envelope(json.dumps({"channel": CHANNEL, "data": data}).encode())
    await intake.take(Batch("a1", Origin.LIVE, EPOCH, (message,)))
    assert [document_of(entry)["state"] for entry in reader.entries()] == ["Invited", "Chatting"]


async def test_kept_document(intake: Intake, reader: Reader) -> None:
    """The merged document is kept only where a notification changes it, and doesn't say it all itself."""
    await intake.take(
        batch(message("S1", "Invited", comment="kept"), message("S1", "Chatting"), message("S1", "Chatting"))
    )
    first, second, repeat = reader.entries()
    assert first.document is repeat.document is None
    assert second.document is not None
    assert document_of(second) == {"id": "S1", "state": "Chatting", "comment": "kept"}


async def test_misfits(intake: Intake, reader: Reader) -> None:
    """A message that doesn't validate goes to the quarantine word for word, and the rest of its batch goes on."""
    stateless = open_envelope(b'{"channel":"/v2/me/facebooksession","data":{"facebooksession":{"state":7,"id":"S1"}}}')
    with capture_logs() as logged:
        await intake.take(batch(message("S1", "Invited"), BROKEN, stateless, message("S1", "Chatting")))
    assert changes(reader) == [("transition", None, "Invited"), ("transition", "Invited", "Chatting")]
    one, two = reader.quarantined()
    assert (one.raw, two.raw) == (BROKEN.raw, stateless.raw)
    assert (one.agent, one.channel, one.received_at, one.origin) == ("agent1", CHANNEL, EPOCH, Origin.LIVE)
    assert [(line["event"], line["error"]) for line in logged] == [
        ("message.quarantined", each.error) for each in (one, two)
    ]


async def test_misfit_in_a_list(intake: Intake, reader: Reader) -> None:
    """One session that doesn't validate takes the whole message with it, and nothing of it counts."""
    data = b'{"facebooksessions":[{"id":"S1","state":"Invited"},{"id":"a/b","state":"Invited"}]}'
    raw = b'{"channel":"/v2/me/facebooksession","data":' + data + b"}"
    await intake.take(batch(open_envelope(raw), message("S1", "Chatting")))
    assert changes(reader) == [("transition", None, "Chatting")]
    assert [quarantined.raw for quarantined in reader.quarantined()] == [raw]


async def test_no_customer_data_in_the_log(intake: Intake) -> None:
    """What is wrong with a message is logged without what the customer wrote."""
    written = "my number is 555-1234"
    known: dict[str, Any] = {"comment": {"text": written}, "userData": [written], "participants": written}
    with capture_logs() as logged:
        await intake.take(batch(message("S1", "Chatting", **known), message(written, written)))
    assert [line["event"] for line in logged] == ["message.quarantined"] * 2
    assert written not in repr(logged)


async def test_after_a_restart(tmp_path: Path) -> None:
    """What was last known of a session is still known after a restart."""
    path = tmp_path / "journal.db"
    for state in ("Invited", "Chatting", "LeftChat"):
        journal = SqliteJournal(path, EPOCH)
        await intake_of(journal).take(
            batch(message("S1", state, **({"comment": "kept"} if state == "Invited" else {})))
        )
        document = document_of(last(journal.reader()))
        journal.close()
    assert document == {"id": "S1", "state": "LeftChat", "comment": "kept"}
    reader = SqliteReader(path)
    assert [before for _, before, _ in changes(reader)] == [None, "Invited", "Chatting"]
    reader.close()


async def test_forgotten_in_memory(
    journal: Watched, intake: Intake, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions beyond the limit leave the memory, the longest unused first, and are known from the journal."""
    monkeypatch.setattr(limits, "KNOWN_SESSIONS", 3)
    for number in range(1, 10):
        await intake.take(batch(message(f"S{number}", "Invited"), message("S0", "Invited", number=number)))
    assert journal.asked.count("S0") == 1
    journal.asked.clear()
    await intake.take(batch(*[message(f"S{number}", "Chatting") for number in range(10)]))
    assert journal.asked == ["S1", "S2", "S3", "S4", "S5", "S6", "S7"]
    assert [entry.before for entry in reader.entries() if entry.after == "Chatting"] == ["Invited"] * 10
    assert findings(journal) == []


async def test_failed_append(journal: Watched, intake: Intake, reader: Reader) -> None:
    """What couldn't be written isn't known either, and the caller hears of it, so that nothing is acknowledged."""
    await intake.take(batch(message("S1", "Invited")))
    journal.refuses = True
    with pytest.raises(JournalError, match="the disk is full"):
        await intake.take(batch(message("S1", "Chatting"), message("S1", "LeftChat"), message("S2", "Invited")))
    journal.refuses = False
    await intake.take(batch(message("S1", "Chatting"), message("S2", "Chatting")))
    assert [(entry.before, entry.after) for entry in reader.entries()] == [
        (None, "Invited"),
        ("Invited", "Chatting"),
        (None, "Chatting"),
    ]


async def test_failed_disk(journal: Watched, intake: Intake) -> None:
    """After a write that failed nothing is taken any more."""
    journal.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalError):
        await intake.take(batch(message("S1", "Invited")))
    journal.connection.execute("PRAGMA query_only = OFF")
    with pytest.raises(JournalError):
        await intake.take(batch(message("S1", "Invited")))


async def test_failed_append_says_nothing_of_quarantine(journal: Watched, intake: Intake) -> None:
    """The log tells of a quarantined message only once it is on disk."""
    journal.refuses = True
    with capture_logs() as logged, pytest.raises(JournalError):
        await intake.take(batch(BROKEN))
    assert logged == []


async def test_two_agents(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """Agents are taken side by side, share commits, and keep sessions of the same id apart."""
    seen = commits(journal)
    for state in ("Invited", "Chatting"):
        await asyncio.gather(
            intake.take(batch(message("S1", state), agent="agent1")),
            intake.take(batch(message("S1", state), agent="agent2")),
        )
    assert len(seen) == 2
    for agent in ("agent1", "agent2"):
        assert [entry.before for entry in reader.entries(agent=agent)] == [None, "Invited"]
    assert findings(journal) == []


async def test_one_agent_at_a_time(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """Batches of one agent that are given together are taken one after the other."""
    states = ("Invited", "Chatting", "LeftChat", "Completed")
    await asyncio.gather(*[intake.take(batch(message("S1", state))) for state in states])
    assert [entry.before for entry in reader.entries()] == [None, "Invited", "Chatting", "LeftChat"]
    assert findings(journal) == []


async def test_what_it_changes(intake: Intake) -> None:
    """Who gives a batch hears what it changes, entry by entry; a misfit changes nothing."""
    assert await intake.take(batch()) == []
    changes = await intake.take(batch(message("S1", "Invited"), BROKEN, message("S1", "Invited"), message("S2", "X")))
    assert [(change.kind, change.session, change.before, change.after) for change in changes] == [
        (Kind.TRANSITION, "S1", None, "Invited"),
        (Kind.REPEAT, "S1", None, None),
        (Kind.TRANSITION, "S2", None, "X"),
    ]


def snapshot(*messages: Message, agent: str = "agent1") -> Batch:
    """Return what a snapshot shows."""
    return batch(*messages, agent=agent, origin=Origin.SNAPSHOT)


async def test_snapshot(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """What a snapshot shows anew are entries like any other, but for their origin; what was known is left out."""
    await intake.take(batch(message("S1", "Invited", comment="kept"), message("S2", "Chatting")))
    shown = snapshot(message("S1", "LeftChat"), message("S2", "Chatting"), message("S3", "Chatting"), BROKEN)
    changes = await intake.take(shown, journal.last_place())
    assert [(change.session, change.before, change.after) for change in changes] == [
        ("S1", "Invited", "LeftChat"),
        ("S3", None, "Chatting"),
    ]
    *_, third, fourth = reader.entries()
    assert (third.seq, third.session, third.origin, fourth.session) == (3, "S1", Origin.SNAPSHOT, "S3")
    assert document_of(third) == {"id": "S1", "state": "LeftChat", "comment": "kept"}
    assert wanted(reader)[3] == {"all", "left"}
    assert [quarantined.origin for quarantined in reader.quarantined()] == [Origin.SNAPSHOT]
    assert findings(journal) == []


async def test_snapshot_of_nothing_new(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """A snapshot that shows what is known leaves no trace, however often it is taken."""
    await intake.take(batch(message("S1", "Chatting", userData={"A": 1})))
    for _ in range(2):
        assert await intake.take(snapshot(message("S1", "Chatting")), journal.last_place()) == []
    assert reader.statistics().entries == 1
    await intake.take(batch(message("S1", "Chatting")))
    assert last(reader).kind is Kind.REPEAT


async def test_notifications_win(journal: SqliteJournal, intake: Intake) -> None:
    """Of a session of which anything arrived after the snapshot was read, the snapshot says nothing."""
    await intake.take(batch(message("S1", "Invited"), message("S2", "Invited"), message("S3", "Invited")))
    place = journal.last_place()
    await intake.take(batch(message("S1", "Chatting")))
    await intake.take(batch(message("S2", "Invited")))
    await intake.take(batch(message("S3", "Chatting")), None)
    await intake.take(batch(message("S3", "Chatting"), agent="agent2"))
    shown = snapshot(*[message(session, "LeftChat") for session in ("S1", "S2", "S3", "S4")])
    assert [change.session for change in await intake.take(shown, place)] == ["S4"]
    assert [change.session for change in await intake.take(shown, journal.last_place())] == ["S1", "S2", "S3"]
    assert findings(journal) == []


async def test_notification_beside_a_snapshot(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """A notification that is taken when a snapshot comes in wins, too; after the snapshot it builds on that."""
    await intake.take(batch(message("S1", "Invited"), message("S2", "Invited")))
    place = journal.last_place()
    await asyncio.gather(
        intake.take(batch(message("S1", "Chatting"))),
        intake.take(snapshot(message("S1", "LeftChat"), message("S2", "LeftChat")), place),
        intake.take(batch(message("S2", "Completed"))),
    )
    assert changes(reader, "S1")[1:] == [("transition", "Invited", "Chatting")]
    assert changes(reader, "S2")[1:] == [("transition", "Invited", "LeftChat"), ("transition", "LeftChat", "Completed")]
    assert findings(journal) == []


async def test_snapshot_after_the_end(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """A session at its end that a snapshot shows in another state lives again: a snapshot isn't late."""
    await intake.take(batch(message("S1", "Completed", comment="old")))
    await intake.take(snapshot(message("S1", "Chatting")), journal.last_place())
    assert changes(reader)[-1] == ("transition", "Completed", "Chatting")
    assert document_of(last(reader)) == {"id": "S1", "state": "Chatting"}


async def test_late_snapshot(
    journal: SqliteJournal, intake: Intake, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a snapshot showed, tried again from the quarantine, is late: what has ended since stays so."""
    with monkeypatch.context() as strict:
        strict.setattr(limits, "NOTIFICATION_BYTES", 10)
        await intake.take(snapshot(message("S1", "Chatting"), message("S2", "Chatting")), 0)
    for quarantined in reader.quarantined():
        assert retry_quarantined(journal.reader(), quarantined.seq)
    await intake.take(batch(message("S1", "Completed")))
    await intake.retry_quarantined()
    assert changes(reader) == [("transition", None, "Completed"), ("transition", None, "Chatting")]
    assert list(reader.quarantined()) == []


async def test_several_of_a_snapshot(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """Of a list in one message only those sessions are left out that are known so, or that notifications won."""
    await intake.take(batch(message("S1", "Chatting")))
    place = journal.last_place()
    await intake.take(batch(message("S2", "Chatting")))
    listed = [{"id": session, "state": state} for session, state in [("S1", "Chatting"), ("S2", "X"), ("S3", "X")]]
    one = open_envelope(json.dumps({"channel": CHANNEL, "data": {"facebooksessions": listed}}).encode())
    other_media = open_envelope(b'{"channel":"/v2/me/calls","data":{"messageType":"CallStateChanged"}}')
    taken = await intake.take(snapshot(one, other_media), place)
    assert [(change.kind, change.session) for change in taken] == [(Kind.TRANSITION, "S3"), (Kind.OTHER, None)]
    assert document_of(next(reader.entries(session="S3"))) == {"id": "S3", "state": "X"}


async def quarantine(intake: Intake, journal: SqliteJournal, *messages: Message) -> None:
    """Put messages into the quarantine, and ask for them to be tried again."""
    await intake.take(batch(*messages))
    for quarantined in journal.reader().quarantined():
        assert retry_quarantined(journal.reader(), quarantined.seq)


async def test_dropped_meanwhile(
    journal: Watched, intake: Intake, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a message that a person drops while it is read again nothing is written, or remembered."""
    with monkeypatch.context() as strict:
        strict.setattr(limits, "NOTIFICATION_BYTES", 10)
        await quarantine(intake, journal, message("S1", "Invited"))
    journal.is_dropped_meanwhile = True
    await intake.retry_quarantined()
    assert changes(reader) == []
    await intake.take(batch(message("S1", "Chatting")))
    assert changes(reader) == [("transition", None, "Chatting")]


async def test_retry(journal: SqliteJournal, intake: Intake, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarantined message that validates when it is tried again becomes an entry like any other."""
    with monkeypatch.context() as strict:
        strict.setattr(limits, "NOTIFICATION_BYTES", 10)
        await quarantine(intake, journal, message("S1", "Invited"))
    seen = commits(journal)
    await intake.retry_quarantined()
    assert seen == ["COMMIT"]
    assert changes(reader) == [("transition", None, "Invited")]
    assert wanted(reader) == {1: {"all", "either"}}
    assert list(reader.quarantined()) == []
    await intake.take(batch(message("S1", "Chatting")))
    assert changes(reader)[-1] == ("transition", "Invited", "Chatting")
    await intake.retry_quarantined()
    assert reader.statistics().entries == 2


async def test_after_a_retry(
    journal: SqliteJournal, intake: Intake, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned by trying again counts for what comes then, also of a session that was known before."""
    await intake.take(batch(message("S1", "Invited")))
    with monkeypatch.context() as strict:
        strict.setattr(limits, "NOTIFICATION_BYTES", 10)
        await quarantine(intake, journal, message("S1", "Chatting"))
    await intake.retry_quarantined()
    await intake.take(batch(message("S1", "LeftChat")))
    assert changes(reader)[1:] == [("transition", "Invited", "Chatting"), ("transition", "Chatting", "LeftChat")]


async def test_retry_in_vain(journal: SqliteJournal, intake: Intake, reader: Reader) -> None:
    """A quarantined message that still doesn't validate stays, and isn't tried again until it is asked for again."""
    await quarantine(intake, journal, BROKEN)
    await intake.retry_quarantined()
    assert [quarantined.raw for quarantined in reader.quarantined()] == [BROKEN.raw]
    assert await journal.take_retries() == []
    assert reader.statistics().entries == 0


async def test_retry_beside_a_batch(
    journal: SqliteJournal, intake: Intake, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message tried again while a batch of its session is taken comes before or after it, never beside it."""
    with monkeypatch.context() as strict:
        strict.setattr(limits, "NOTIFICATION_BYTES", 10)
        await quarantine(intake, journal, message("S1", "LeftChat"))
    await asyncio.gather(intake.take(batch(message("S1", "Invited"))), intake.retry_quarantined())
    assert changes(reader) == [("transition", None, "Invited"), ("transition", "Invited", "LeftChat")]
    assert findings(journal) == []


async def test_failed_retry(journal: Watched, intake: Intake, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a message tried again can't be written, nothing is known of it."""
    with monkeypatch.context() as strict:
        strict.setattr(limits, "NOTIFICATION_BYTES", 10)
        await quarantine(intake, journal, message("S1", "Invited"))
    journal.refuses = True
    with pytest.raises(JournalError):
        await intake.retry_quarantined()
    journal.refuses = False
    await intake.retry_quarantined()
    assert changes(reader) == [("transition", None, "Invited")]


def enveloped(data: object) -> bytes:
    """Return a message's text."""
    return json.dumps({"channel": CHANNEL, "data": data}).encode()


def nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and objects of what is given."""
    return st.lists(children) | st.dictionaries(st.text(), children)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), nested, max_leaves=20)
DOCUMENTS = st.fixed_dictionaries(
    {"id": JSON | st.sampled_from(["S1", "S2"])},
    optional={
        "state": st.sampled_from(["Invited", "Chatting", "LeftChat", "Completed", " Chatting "]) | JSON,
        "capabilities": JSON,
        "participants": JSON | st.lists(st.fixed_dictionaries({"participantId": st.text()})),
        "userData": st.dictionaries(st.text(), JSON) | JSON,
        "comment": JSON,
        "path": JSON,
    },
)
NOTIFICATIONS = st.fixed_dictionaries(
    {},
    optional={
        "facebooksession": DOCUMENTS | JSON,
        "facebooksessions": st.lists(DOCUMENTS | JSON),
        "messageType": st.sampled_from(["FacebooksessionStateChangeMessage", "MessageLogUpdated"]) | JSON,
        "notificationType": st.sampled_from(["StatusChange", "Error"]) | JSON,
        "messages": JSON,
    },
)
ANYTHING = st.one_of(
    st.binary(),
    st.builds(enveloped, NOTIFICATIONS | JSON),
)


@given(st.lists(st.lists(ANYTHING, max_size=4), max_size=3))
def test_whatever_arrives(batches: list[list[bytes]]) -> None:
    """Whatever arrives is an entry or in the quarantine, word for word; the journal is flawless, and intake goes on."""

    async def main() -> None:
        journal = SqliteJournal(MEMORY, EPOCH)
        intake = Intake(journal, ROUTES, VirtualClock())
        for raws in batches:
            await intake.take(batch(*map(open_envelope, raws)))
        kept = {entry.notification for entry in journal.reader().entries()}
        quarantined = {one.raw for one in journal.reader().quarantined()}
        for raw in (raw for raws in batches for raw in raws):
            assert raw in quarantined or open_envelope(raw).data in kept
        assert findings(journal) == []
        for entry in journal.reader().entries():
            assert entry.kind is not Kind.TRANSITION or document_of(entry)
        journal.close()

    with capture_logs():
        run_virtual(main())


# Room.


def test_room() -> None:
    """Whoever wants to take more in waits until there is room; without a reserve nobody does."""
    room = [0]

    async def wait() -> None:
        with closing(SqliteJournal(MEMORY, EPOCH)) as journal:
            await Intake(journal, (), VirtualClock()).wait_for_room()
            reserve = Reserve(lambda: DiskSpace(room[0], 10), VirtualClock(), 1)
            waiting = asyncio.create_task(Intake(journal, (), VirtualClock(), reserve).wait_for_room())
            await asyncio.sleep(10)
            assert not waiting.done()
            room[0] = 2
            await waiting

    run_virtual(wait())


async def test_told(journal: Watched) -> None:
    """Each batch is told once it is on disk: what it holds, the number of its first entry, and what was quarantined."""
    told: list[Event] = []
    seen: list[int] = []

    def observe(event: Event) -> None:
        told.append(event)
        seen.append(journal.last_place())

    intake = Intake(journal, ROUTES, HandClock(seconds=600), observe=observe)
    first, second = batch(message(state="Invited"), BROKEN), batch(message("S2"), message(state="Chatting"))
    await intake.take(first)
    await intake.take(second)
    taken = [event for event in told if isinstance(event, BatchTaken)]
    assert [(each.batch, each.first_seq, len(each.drafts), each.quarantined) for each in taken] == [
        (first, 1, 1, 1),
        (second, 2, 2, 0),
    ]
    assert seen == [1, 3]
    assert {each.seconds for each in taken} == {0}
    journal.refuses = True
    with pytest.raises(JournalError):
        await intake.take(first)
    assert len(told) == 2


async def test_undecided(journal: SqliteJournal, reader: Reader) -> None:
    """A condition that can't be evaluated is counted, and logged now and then without what stood in it."""
    routes = (
        route("undecided", when='user_data.KEY == "x"'),
        route("false", when="false"),
        route("true", when='user_data.OTHER == "secret"'),
    )
    intake = Intake(journal, routes, SystemClock())
    with capture_logs() as logged:
        for number in range(5):
            await intake.take(batch(message(f"S{number}", "Chatting", userData={"OTHER": "secret"})))
    await intake.take(batch(message("S0", "Chatting", userData={"OTHER": "else"})))  # no transition: nobody is asked
    assert intake.undecided == {"undecided": 5}
    assert wanted(reader) == {seq: {"true"} for seq in range(1, 6)}
    assert [(line["event"], line["handler"], line["times"]) for line in logged] == [
        ("condition.undecided", "undecided", times) for times in (1, 2, 4)
    ]
    reasons = {record.because for record in reader.deliveries() if record.state is DeliveryState.NOT_WANTED}
    assert reasons == {
        'when: user_data.KEY == "x" can\'t be evaluated: Key not found in map : "KEY"; user_data.KEY is not there',
        "when: false is false",
    }

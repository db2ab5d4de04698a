"""fbsessiond.reconciling: gaps that are repaired, and sessions that are compared, on the simulated GWS."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fbsessiond.chance import SeededChance
from fbsessiond.dates import iso
from fbsessiond.errors import RefusedError
from fbsessiond.gap import SNAPSHOT, Gap, GapCause, Watched
from fbsessiond.journal.engines import IN_MEMORY, open_journal
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.message import Batch, Origin
from fbsessiond.reconciling import MOST_LOOKS, REMARK, SnapshotSettings
from fbsessiond.simulator.faults import FaultTable
from fbsessiond.simulator.happening import Happening, What
from fbsessiond.simulator.scenario import Scenario
from fbsessiond.simulator.simulator import simulating
from fbsessiond.testing import EPOCH, VirtualClock
from floor import AGENT, Floor, watching
from journal_parts import message
from snapshot_parts import (
    AWAY,
    EVERY,
    SNAPSHOTS,
    Json,
    Listing,
    changes,
    chat,
    counted,
    desk,
    entries,
    forget,
    gap,
    ledger,
    nothing,
    operate,
    repaired,
    switch,
    watched,
)
from virtual_network import networked

# What differs after a gap.


@networked
async def test_start() -> None:
    """At the first start the sessions that there are become entries, which say where they come from."""
    clock, chance = VirtualClock(), SeededChance(1)
    scenario = Scenario.model_validate({"customers": {"per_minute": 0}})
    journal = open_journal(IN_MEMORY, Path(), clock.now())
    async with simulating(scenario, clock=clock, chance=chance) as simulator:
        session = simulator.platform.arrive()
        simulator.platform.invite(AGENT, session)
        async with watching(simulator, journal, chance=chance, snapshots=SNAPSHOTS) as daemon:
            here = Floor(simulator, daemon)
            await repaired(here)
            (entry,), (found,) = entries(here), here.journal.reader().gaps()
            told = json.loads(entry.notification)
            read_at = datetime.fromisoformat(told["snapshot"].pop("read_at"))
            assert (entry.session, entry.before, entry.after) == (session, None, "Invited")
            assert told == {
                "facebooksession": simulator.platform.sessions(AGENT)[0],
                "snapshot": {"gap": found.written(), "remark": REMARK},
            }
            assert (found.cause, found.closed_by) == (GapCause.START, SNAPSHOT)
            assert found.end is not None
            assert found.end <= read_at <= entry.received_at
            assert watched(here).compared_at == read_at


@networked
async def test_gap() -> None:
    """What changed in a gap becomes a transition with the gap's bounds and cause; all of it is logged and counted."""
    with capture_logs() as logged:
        async with desk() as (here, session):
            async with gap(here):
                operate(here, session, "Leave")
            (entry,), (found,) = [each for each in entries(here) if each.kind == "transition"], ledger(here)
            assert (entry.session, entry.before, entry.after) == (session, "Chatting", "LeftChat")
            assert json.loads(entry.notification)["snapshot"]["gap"] == found.written()
            assert (found.cause, found.closed_by) == (GapCause.SESSION_LOST, SNAPSHOT)
            assert found.end is not None
            assert counted(here) == {
                "gaps_total start": 1,
                "gaps_total session lost": 1,
                "gap_seconds_total session lost": (found.end - found.begin).total_seconds(),
                "snapshots_total agreed": 1,
                "snapshots_total differed": 1,
                "snapshot_differences_total transition": 1,
            }
    told = found.written() | {"agent": AGENT}
    (line,) = [line for line in logged if line["event"] == "gap.found" and line["cause"] == "session lost"]
    assert line == {**told, "event": "gap.found", "log_level": "warning"}
    (line,) = [line for line in logged if line["event"] == "gap.repaired" and line["cause"] == "session lost"]
    assert line == {**told, "event": "gap.repaired", "log_level": "info", "changes": 1}


@networked
async def test_vanished() -> None:
    """A session that the list doesn't have any more has vanished; how it ended isn't known. It is told once."""
    async with desk() as (here, session):
        for _ in range(2):
            async with gap(here):
                operate(here, session, "Leave")
                operate(here, session, "Complete")
            assert changes(here) == [(session, "Chatting", "Vanished")]
        (entry,) = entries(here)
        assert json.loads(entry.notification)["facebooksession"] == {"id": session, "state": "Vanished"}
        assert [each["id"] for each in here.simulator.platform.sessions(AGENT)] == []


@networked
async def test_ended() -> None:
    """A session that the list shows as ended has ended, where it was known; one that nobody knew is past."""
    async with desk() as (here, session):
        old = {"id": "0002OLD", "state": "Completed"}
        listing = Listing(here, lambda documents: [*(each | {"state": "Completed"} for each in documents), old])
        async with gap(here):
            pass
        assert len(listing.asked) == 2
        assert changes(here) == [(session, "Chatting", "Completed")]
        assert [each.session for each in entries(here)] == [session]


@networked
async def test_back_again() -> None:
    """A session that vanished is back when the list shows it again, with what was known of it."""
    async with desk() as (here, session):
        listing = Listing(here, nothing)
        async with gap(here):
            pass
        listing.shown = list
        async with gap(here):
            pass
        assert changes(here) == [(session, "Chatting", "Vanished"), (session, "Vanished", "Chatting")]
        assert await here.journal.open_sessions(AGENT) == {session: "Chatting"}


@networked
async def test_active_again() -> None:
    """A finished session that the list shows in any other state begins again."""
    async with desk() as (here, session):
        operate(here, session, "Complete", queueName="later")
        await asyncio.sleep(2)
        async with gap(here):
            here.simulator.platform.invite(AGENT, session)
            operate(here, session, "Accept", nickname="Marat")
        assert changes(here) == [(session, "Completed", "Chatting")]


@networked
async def test_other_differences() -> None:
    """What else differs is written down too, as what it is; a session that is as it is known isn't."""
    async with desk() as (here, session):
        same = await chat(here)
        async with gap(here):
            operate(here, session, "AddComment", comment="seen")
        assert session in {each.session for each in entries(here)}
        assert {each.kind.value for each in entries(here)} <= {"properties", "participants"}
        before = len(entries(here))
        async with gap(here):
            pass
        assert len(entries(here)) == before
        assert same in await here.journal.open_sessions(AGENT)


@pytest.mark.parametrize("faults", [{"no-list": {}}, {"5xx": {}}, {"hang": {}}], ids=["no-list", "5xx", "hang"])
@networked
async def test_no_list(faults: Json) -> None:
    """An answer without the list, or none, says nothing: it is asked for again, ever later, and the gap stays open."""
    reads = faults if "no-list" in faults else {name: {"on": ["reads"]} for name in faults}
    async with desk() as (here, session):
        struck: list[float] = []

        def note(happening: Happening) -> None:
            if happening.what is What.SUBSCRIBED:  # what comes before it reads, too
                switch(here, **reads)
            if happening.what is What.FAULT:
                struck.append(asyncio.get_running_loop().time())

        here.simulator.chronicle.listen(note)
        operate(here, session, "Leave")
        forget(here)
        await asyncio.sleep(900)
        (found,) = watched(here).gaps
        assert (found.cause, found.closed_by, changes(here)) == (GapCause.SESSION_LOST, None, [])
        waited = 20 if "hang" in faults else 0
        pauses = [later - earlier - waited for earlier, later in pairwise(struck)]
        assert all(pause <= 2**number + 1 for number, pause in enumerate(pauses))
        assert 10 < max(pauses) < 62
        counts = counted(here)
        assert counts["snapshots_total unavailable"] == pytest.approx(len(struck), abs=1)
        assert counts["gaps_total session lost"] == 1
        switch(here, **dict.fromkeys(reads))
        await repaired(here)
        assert ledger(here) == [Gap(AGENT, found.begin, found.end, found.cause, SNAPSHOT)]


@networked
async def test_refused() -> None:
    """Where GWS refuses the credentials for good it ends, with the reason."""
    async with desk() as (here, _):
        forget(here)
        switch(here, **{"403": {"on": ["reads"]}})
        running = here.daemon.tasks[2]
        await asyncio.wait([running], timeout=1800)
        assert isinstance(running.exception(), RefusedError)


# Looks that don't count.


@networked
async def test_seen_once() -> None:
    """A difference that only one look shows is none; what both show is one, and no third is needed."""
    async with desk() as (here, _):
        gone = await chat(here)

        def shown(documents: list[Json]) -> list[Json]:
            return [] if len(listing.asked) == 1 else [each for each in documents if each["id"] != gone]

        listing = Listing(here, shown)
        async with gap(here):
            pass
        assert len(listing.asked) == 2
        assert changes(here) == [(gone, "Chatting", "Vanished")]


@networked
async def test_seen_twice() -> None:
    """A state that is another one in the second look is looked for again."""
    async with desk() as (here, session):
        states = ["LeftChat", "Odd", "Odd"]

        def shown(documents: list[Json]) -> list[Json]:
            return [each | {"state": states[len(listing.asked) - 1]} for each in documents]

        listing = Listing(here, shown)
        async with gap(here):
            pass
        assert len(listing.asked) == 3
        assert changes(here) == [(session, "Chatting", "Odd")]


@networked
async def test_what_comes_up_meanwhile() -> None:
    """What only the second look shows is of a later time: it keeps no gap open, and isn't counted yet."""
    async with desk() as (here, session):
        gone, later = await chat(here), await chat(here)
        hidden = [{gone}, {gone, later}]

        def shown(documents: list[Json]) -> list[Json]:
            return [each for each in documents if each["id"] not in hidden[len(listing.asked) - 1]]

        listing = Listing(here, shown)
        async with gap(here):
            pass
        assert len(listing.asked) == 2
        assert changes(here) == [(gone, "Chatting", "Vanished")]
        assert watched(here).compared_at == EPOCH + timedelta(seconds=listing.asked[0])
        assert await here.journal.open_sessions(AGENT) == {session: "Chatting", later: "Chatting"}


@networked
async def test_never_settled() -> None:
    """A list that is another one each time is left for later, and the gap stays open until then."""
    async with desk() as (here, _):

        def shown(documents: list[Json]) -> list[Json]:
            return [each | {"state": f"State {len(listing.asked)}"} for each in documents]

        listing = Listing(here, shown)
        forget(here)
        await here.until(lambda: counted(here).get("snapshots_total unavailable"))
        pauses = [later - earlier for earlier, later in pairwise(listing.asked)]
        assert pauses[:MOST_LOOKS] == pytest.approx([5] * MOST_LOOKS)
        assert all(pause <= 1 for pause in pauses[MOST_LOOKS:])
        assert changes(here) == []
        assert len(watched(here).gaps) == 1
        listing.shown = list
        await repaired(here)
        assert changes(here) == []


async def show(here: Floor, session: str, is_shown: bool) -> None:
    """Let a notification of a session arrive: one that shows it, or one that has only its new messages."""
    if is_shown:
        await here.daemon.intake.take(
            Batch(AGENT, Origin.LIVE, VirtualClock().now(), (message({"id": session, "state": "Chatting"}),))
        )
    else:
        here.simulator.back_end.tell(here.simulator.platform.customer_writes(session, "Are you there?"))


@pytest.mark.parametrize("is_shown", [True, False])
@networked
async def test_notified_meanwhile(is_shown: bool) -> None:
    """A notification that shows the session while the list is read wins: what an answer shows may be older."""
    async with desk() as (here, session):
        listing = Listing(here, nothing)
        forget(here)
        await here.until(lambda: len(listing.asked) == 1)
        switch(here, slow={"on": ["reads"], "pause": "4s"})
        await asyncio.sleep(SNAPSHOTS.settling.total_seconds() + 1)
        await show(here, session, is_shown)
        await here.until(lambda: len(listing.asked) == 2)
        await repaired(here)
        assert changes(here) == ([] if is_shown else [(session, "Chatting", "Vanished")])


@networked
async def test_notified_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one that arrives after the answer, and before what that shows is written down."""
    looked_up = SqliteJournal.watched
    async with desk() as (here, session):
        listing, gone = Listing(here, nothing), await chat(here)

        async def looked_up_late(journal: SqliteJournal, agent: str) -> Watched:
            if len(listing.asked) == 2:
                late = Batch(AGENT, Origin.LIVE, VirtualClock().now(), (message({"id": session, "state": "LeftChat"}),))
                await here.daemon.intake.take(late)
            return await looked_up(journal, agent)

        monkeypatch.setattr(SqliteJournal, "watched", looked_up_late)
        async with gap(here):
            pass
        assert changes(here) == [(gone, "Chatting", "Vanished")]
        assert await here.journal.open_sessions(AGENT) == {session: "LeftChat"}
        assert counted(here)["snapshot_differences_total transition"] == 1


@networked
async def test_unreadable() -> None:
    """A session that can't be understood goes to the quarantine; as it may be any, none is taken for vanished."""
    strange = {"id": 17, "state": "Chatting"}
    async with desk() as (here, session):
        Listing(here, lambda _: [strange])
        async with gap(here):
            pass
        assert changes(here) == []
        assert await here.journal.open_sessions(AGENT) == {session: "Chatting"}
        (quarantined,) = here.journal.reader().quarantined()
        assert quarantined.origin is Origin.SNAPSHOT
        assert json.loads(quarantined.raw)["facebooksession"] == strange
        assert json.loads(quarantined.raw)["snapshot"]["remark"] == REMARK
        assert "id" in quarantined.error


# Gaps that go on, and that end meanwhile.


@networked
async def test_gap_that_goes_on() -> None:
    """In a gap that goes on the list is read all the same now and then; what it shows has the gap without an end."""
    async with desk() as (here, session):
        listing = Listing(here)
        switch(here, **AWAY)
        forget(here)
        operate(here, session, "Leave")
        await here.until(lambda: changes(here))
        assert listing.asked[-1] < 2 * EVERY
        found = watched(here).open_gap
        assert found is not None
        assert found.cause is GapCause.SESSION_LOST
        assert json.loads(entries(here)[-1].notification)["snapshot"]["gap"] == found.written()
        await asyncio.sleep(10 * EVERY)
        assert watched(here).open_gap == found
        assert "gaps_total session lost" not in counted(here)
        assert len(listing.asked) >= 9
        switch(here, **dict.fromkeys(AWAY))
        await repaired(here)
        assert [one.closed_by for one in ledger(here)] == [SNAPSHOT]
        assert changes(here) == [(session, "Chatting", "LeftChat")]


@networked
async def test_gap_that_ends_meanwhile() -> None:
    """A gap that ends between two looks is told with its end, counted, and closed by looks that begin after it."""
    async with desk() as (here, session):
        listing = Listing(here)
        switch(here, **AWAY)
        forget(here)
        operate(here, session, "Leave")
        await here.until(lambda: listing.asked)
        switch(here, **dict.fromkeys(AWAY))
        await repaired(here)
        (found,) = ledger(here)
        assert len(listing.asked) == 3
        assert [json.loads(each.notification)["snapshot"]["gap"] for each in entries(here)] == [found.written()]
        assert counted(here)["gaps_total session lost"] == 1


@pytest.mark.parametrize("is_proved", [False, True])
@networked
async def test_gap_after_the_look(is_proved: bool) -> None:
    """A gap that ends after the list was asked for isn't closed by it; one that begins later explains nothing."""
    async with desk() as (here, session):
        other = await chat(here)
        listing = Listing(here, lambda documents: [each for each in documents if each["id"] != session])
        forget(here)
        await here.until(lambda: listing.asked)
        await asyncio.sleep(SNAPSHOTS.settling.total_seconds() - 1)
        switch(here, slow={"on": ["reads"], "pause": "15s", "count": 1})
        await asyncio.sleep(2)
        for _ in range(2 if is_proved else 0):
            here.simulator.back_end.tell(here.simulator.platform.customer_writes(other, "Are you there?"))
            await asyncio.sleep(1)
        forget(here)
        await here.until(lambda: changes(here))
        await repaired(here)
        (first, second), (entry,) = ledger(here), entries(here)
        assert len(listing.asked) == 3
        expected = first if is_proved else replace(first, end=second.end)
        assert json.loads(entry.notification)["snapshot"]["gap"] == expected.written()
        assert changes(here) == [(session, "Chatting", "Vanished")]
        assert counted(here)["gaps_total session lost"] == 2


@networked
async def test_short_break() -> None:
    """While the session may go on, the list isn't read: what it kept comes by itself."""
    async with desk(snapshots=SnapshotSettings(timedelta(seconds=2), timedelta(seconds=5))) as (here, _):
        switch(here, **AWAY)
        await here.until(lambda: watched(here).broken)
        listing = Listing(here, nothing)
        await asyncio.sleep(20)
        assert listing.asked == []


@networked
async def test_break_that_was_none() -> None:
    """Where the chain turns out to hold, what was found meanwhile is dropped: the session brings what it kept."""
    often = SnapshotSettings(timedelta(seconds=2), timedelta(seconds=5))
    async with desk(snapshots=often, gws={"hold": "100s", "max_interval": "5m"}) as (here, _):
        switch(here, drop={"on": ["notifications"]})
        await here.until(lambda: watched(here).broken)
        listing = Listing(here, nothing)
        await here.until(lambda: listing.asked)
        switch(here, drop=None)
        await here.until(lambda: watched(here).broken is None)
        await here.until(lambda: len(listing.asked) > 1)
        listing.shown = list
        compared_at = watched(here).compared_at
        await asyncio.sleep(60)
        assert (ledger(here), changes(here)) == ([], [])
        assert watched(here).compared_at != compared_at


# Comparisons where there was no gap.


@pytest.mark.parametrize("hold", ["30s", "100s"])
@networked
async def test_comparison(hold: str) -> None:
    """A comparison that finds no difference notes its time; the first comes soon, the others about every so often.

    However long it was since the last proof: a connect that is held for long is no break.
    """
    async with desk(gws={"hold": hold}) as (here, session):
        listing = Listing(here)
        noted: set[datetime | None] = {None}
        began = VirtualClock().now()
        while VirtualClock().now() < began + timedelta(hours=1):
            await asyncio.sleep(1)
            noted.add(watched(here).compared_at)
        pauses = [later - earlier for earlier, later in pairwise(listing.asked)]
        assert len(listing.asked) > 20
        assert all(0.75 * EVERY <= pause <= 1.25 * EVERY for pause in pauses)
        assert max(pauses) - min(pauses) > 0.3 * EVERY
        assert len(noted) == len(listing.asked) + 2
        assert counted(here)["snapshots_total agreed"] == len(listing.asked) + 1
        assert (ledger(here), entries(here)) == ([], [])
        assert await here.journal.open_sessions(AGENT) == {session: "Chatting"}


@networked
async def test_silence() -> None:
    """A change that wasn't notified though all looked well is an alarm, a gap, and the end of this CometD session."""
    with capture_logs() as logged:
        async with desk() as (here, session):
            (before,) = here.simulator.bayeux.clients
            switch(here, unsubscribe={"count": 1})
            await asyncio.sleep(60)
            compared_at = watched(here).compared_at
            operate(here, session, "Leave")
            await here.until(lambda: counted(here).get("silences_total"))
            await here.until(lambda: watched(here).gaps)
            await repaired(here)
            (found,), (client,) = ledger(here), here.simulator.bayeux.clients.values()
            assert client.id != before
            assert (found.begin, found.end) == (compared_at, client.subscribed_at)
            assert (found.cause, found.closed_by) == (GapCause.SILENT, SNAPSHOT)
            assert changes(here) == [(session, "Chatting", "LeftChat")]
            assert json.loads(entries(here)[-1].notification)["snapshot"]["gap"] == found.written()
            counts = counted(here)
            assert (counts["silences_total"], counts["gaps_total silent"]) == (1, 1)
            assert (counts["snapshots_total differed"], counts["snapshot_differences_total transition"]) == (2, 1)
            await asyncio.sleep(10 * EVERY)
            assert counted(here)["silences_total"] == 1
    (line,) = [line for line in logged if line["event"] == "gap.silent"]
    assert (line["log_level"], line["sessions"], line["since"]) == ("error", 1, iso(compared_at))
    assert session not in repr([line for line in logged if line["event"].startswith(("gap.", "snapshot."))])


@pytest.mark.parametrize(("change", "looks"), [("other", 1), ("late", 2), ("two", 2), ("another", 3)])
@networked
async def test_no_silence(change: str, looks: int) -> None:
    """Other differences than of states, and what only one look shows, are no silence."""
    async with desk() as (here, session):
        other, clients = await chat(here), list(here.simulator.bayeux.clients)
        hidden = iter([session, other])

        def shown(documents: list[Json]) -> list[Json]:
            match change:
                case "other":
                    return [document | {"participants": [], "comment": "?"} for document in documents]
                case "late" if len(listing.asked) == 1:
                    return []
                case "another" if len(listing.asked) <= 2:
                    return [documents[0] | {"state": f"State {len(listing.asked)}"}, *documents[1:]]
                case "two":
                    gone = next(hidden, None)
                    return [document for document in documents if document["id"] != gone]
                case _:
                    return documents

        listing, compared_at = Listing(here, shown), watched(here).compared_at
        await here.until(lambda: watched(here).compared_at != compared_at)
        assert len(listing.asked) == looks
        await asyncio.sleep(EVERY)
        assert (ledger(here), entries(here)) == ([], [])
        assert list(here.simulator.bayeux.clients) == clients
        assert "snapshots_total differed" not in counted(here)


@networked
async def test_notified_during_a_comparison() -> None:
    """A notification that arrives while the sessions are compared explains what differs."""
    async with desk() as (here, session):
        listing, compared_at = Listing(here, nothing), watched(here).compared_at
        switch(here, slow={"on": ["reads"], "pause": "4s"})
        await here.until(lambda: here.simulator.faults.struck)
        await asyncio.sleep(1)
        await show(here, session, True)
        await here.until(lambda: watched(here).compared_at != compared_at)
        assert len(listing.asked) == 1
        assert "silences_total" not in counted(here)


@networked
async def test_on_its_way() -> None:
    """A notification that arrives late is no silence: the next connect that succeeds would have brought it."""
    async with desk() as (here, session):
        publish = here.simulator.bayeux.publish

        late: list[Any] = []

        def hold_back(*notification: Any) -> int:
            late.append(notification)
            return 1

        here.simulator.bayeux.publish = hold_back  # type: ignore[method-assign]
        listing = Listing(here)
        operate(here, session, "Leave")
        await here.until(lambda: len(listing.asked) == 2)
        await asyncio.sleep(1)
        for notification in late:
            publish(*notification)
        await here.until(lambda: len(listing.asked) == 3)
        await asyncio.sleep(EVERY)
        assert "silences_total" not in counted(here)
        assert (ledger(here), changes(here)) == ([], [])


@networked
async def test_break_during_a_comparison() -> None:
    """A chain that breaks before that connect explains the difference."""
    async with desk(gws={"hold": "100s"}) as (here, session):
        switch(here, lose={})
        operate(here, session, "Leave")
        listing = Listing(here)
        await here.until(lambda: len(listing.asked) >= 2)
        await asyncio.sleep(1)
        switch(here, lose=None, **AWAY)
        forget(here)
        await asyncio.sleep(30)
        switch(here, **dict.fromkeys(AWAY))
        await repaired(here)
        assert "silences_total" not in counted(here)
        assert changes(here) == [(session, "Chatting", "LeftChat")]


@pytest.mark.parametrize("is_over", [True, False])
@networked
async def test_gap_during_a_comparison(is_over: bool) -> None:
    """A difference that a gap explains, which came while the sessions were compared, is no silence."""
    async with desk() as (here, session):
        listing = Listing(here, nothing)
        await here.until(lambda: listing.asked)
        if not is_over:
            switch(here, **AWAY)
        forget(here)
        await here.until(lambda: len(listing.asked) >= 2)
        await asyncio.sleep(1)
        assert "silences_total" not in counted(here)
        switch(here, **dict.fromkeys(AWAY))
        await repaired(here)
        assert [one.cause for one in ledger(here)] == [GapCause.SESSION_LOST]
        assert changes(here) == [(session, "Chatting", "Vanished")]


@networked
async def test_comparison_without_a_list() -> None:
    """Where the list can't be had at a comparison it is asked for again, soon at first; nothing is concluded."""
    async with desk() as (here, session):
        struck: list[float] = []

        def differs(before: datetime | None) -> bool:
            return watched(here).compared_at != before

        here.simulator.chronicle.listen(lambda _: struck.append(asyncio.get_running_loop().time()))
        for _ in range(3):
            struck.clear()
            compared_at = watched(here).compared_at
            switch(here, **{"no-list": {"count": 6}})
            with capture_logs() as logged:
                await here.until(partial(differs, compared_at))
            assert len(struck) == 6
            assert struck[1] - struck[0] <= 1
            told = [each for each in logged if each["event"] == "snapshot.unavailable"]
            assert [(each["log_level"], each["agent"]) for each in told] == [("warning", AGENT)] * 6
            assert "without a list of sessions" in told[0]["because"]
            pauses = [later - earlier for earlier, later in pairwise(struck)]
            assert pauses == pytest.approx([float(each["again_in"].split()[0]) for each in told[:-1]], abs=0.06)
        assert counted(here)["snapshots_total unavailable"] == 18
        assert await here.journal.open_sessions(AGENT) == {session: "Chatting"}
        assert ledger(here) == []


@networked
async def test_taken_up(tmp_path: Path) -> None:
    """A daemon that takes up the last one's session compares soon, and repairs what that left behind."""
    scenario = Scenario.model_validate({"customers": {"per_minute": 0}})
    async with simulating(scenario, clock=VirtualClock(), chance=SeededChance(1)) as simulator:
        simulator.faults.switch(FaultTable.model_validate({"no-list": {"count": 1}}))

        async def run(attempt: int) -> None:
            journal = open_journal("sqlite:journal.db", tmp_path, VirtualClock().now())
            async with watching(simulator, journal, chance=SeededChance(1), snapshots=SNAPSHOTS) as daemon:
                here, began, reader = Floor(simulator, daemon), VirtualClock().now(), journal.reader()
                await here.until(lambda: next(reader.watched()).broken is None)
                before = next(reader.watched())
                assert len(before.gaps) == (attempt < 2)
                if attempt > 0:
                    await here.until(lambda: next(reader.watched()).compared_at != before.compared_at)
                    assert VirtualClock().now() - began < SNAPSHOTS.settling + timedelta(seconds=1)
                    assert [one.closed_by for one in reader.gaps()] == [SNAPSHOT]

        for attempt in range(3):
            await run(attempt)


@networked
async def test_no_room() -> None:
    """While the disk is nearly full nothing is read: what differs couldn't be written down."""
    async with desk() as (here, _):
        listing = Listing(here)
        room = asyncio.Event()
        here.daemon.intake.wait_for_room = room.wait  # type: ignore[method-assign, assignment]
        await asyncio.sleep(4 * EVERY)
        assert len(listing.asked) <= 1
        room.set()
        await asyncio.sleep(2 * EVERY)
        assert len(listing.asked) > 1

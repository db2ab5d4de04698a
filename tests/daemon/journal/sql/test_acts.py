import sqlite3
from dataclasses import replace

import pytest

from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.journal.records import Act, ActKind, DeliveryRecord, DeliveryState, FollowUpRecord, GivenUp
from fbsessiond.journal.sql import acts, quarantine
from fbsessiond.journal.sql.rows import to_microseconds
from fbsessiond.message import Batch, Origin
from fbsessiond.operations import Operation
from journal_parts import NOW, after, misfit, quarantined

DELIVERY = DeliveryRecord(1, "log", "agent1", "S1", "Invited", DeliveryState.DEAD, 3, "broke", NOW)
PARKED = Progress(FollowUpState.PARKED, 1)
FOLLOW_UP = FollowUpRecord(2, "wrap-up", 1, "agent1", Operation.complete("S2"), PARKED, is_running=False, at=NOW)
SETTLED = "INSERT INTO settled VALUES (1, 'log', 'dead', 3, 'broke', 0)"
STUCK = """INSERT INTO follow_ups (seq, handler, step, agent, session, operation, parameters, state, at)
VALUES (2, 'wrap-up', 1, 'agent1', 'S2', 'Complete', '{}', 'parked', 0)"""


@pytest.fixture
def connection(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a journal in which a delivery is dead, a follow-up parked, and a message in the quarantine."""
    connection.execute(SETTLED)
    connection.execute(STUCK)
    unfit = misfit()
    quarantine.append(connection, Batch("agent1", Origin.LIVE, NOW, (unfit.message,)), [unfit], 1)
    return connection


@pytest.mark.parametrize("kind", list(ActKind))
@pytest.mark.parametrize("on", [DELIVERY, FOLLOW_UP, quarantined(1)], ids=lambda on: on.id)
def test_carried_out(connection: sqlite3.Connection, on: GivenUp, kind: ActKind) -> None:
    """What is done is written down with it; what is given up no more leaves no trace."""
    act = Act(on.id, kind, after(3), "alice", "no use")
    assert acts.carry_out(connection, on, act)
    later = replace(act, kind=ActKind.DROP, at=after(4))
    assert acts.carry_out(connection, on, later) == (kind is ActKind.RETRY and on.id == "quarantine/1")
    assert next(acts.read(connection)) == act
    assert list(acts.read(connection, subject=on.id)) == list(acts.read(connection))
    assert list(acts.read(connection, subject="9/log")) == []


@pytest.mark.parametrize("on", [DELIVERY, FOLLOW_UP], ids=lambda on: on.id)
def test_because(connection: sqlite3.Connection, on: GivenUp) -> None:
    """What is dropped has the reason with it."""
    assert acts.carry_out(connection, on, Act(on.id, ActKind.DROP, after(3), "alice", "no use"))
    query = "SELECT because FROM settled UNION SELECT because FROM follow_ups"
    assert ("dropped: no use",) in connection.execute(query).fetchall()


def test_forgotten(connection: sqlite3.Connection) -> None:
    """The oldest are forgotten by age, so many at a time."""
    for seconds in range(4):
        assert acts.carry_out(connection, quarantined(1), Act("quarantine/1", ActKind.RETRY, after(seconds), "alice"))
    acts.forget(connection, to_microseconds(after(3)), 2)
    assert [act.at for act in acts.read(connection)] == [after(2), after(3)]
    acts.forget(connection, to_microseconds(after(3)), 2)
    assert [act.at for act in acts.read(connection)] == [after(3)]


def test_by_index(connection: sqlite3.Connection) -> None:
    """What was done with one is found by an index."""
    plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN SELECT at FROM acts WHERE subject = '1/log'")]
    assert plan == ["SEARCH acts USING COVERING INDEX acts_in_full (subject=?)"]

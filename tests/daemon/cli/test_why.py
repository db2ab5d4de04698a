import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli_parts import CANARY, SESSION, Command
from daemon.journal.suite.follow_ups import PARKED, ask, comment, end
from fbsessiond import Operation
from fbsessiond.conditions import Candidate, Condition
from fbsessiond.environment import user
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.gap import GapCause
from fbsessiond.gws.answers import STATUS_CODES
from fbsessiond.handler import Delivery, Done, Handler, Outcome
from fbsessiond.journal.engines import open_journal
from fbsessiond.journal.interface import Journal
from fbsessiond.journal.records import DeliveryState, NotWanted, Settlement, Wait
from fbsessiond.message import Origin
from fbsessiond.route import DeliverySettings, Route
from journal_parts import NOW, after, append, break_chain, draft, lease, prove, repeat
from reasons import reasons

URL = "sqlite:j.db"


def written(write: Callable[[Journal], Awaitable[object]]) -> None:
    """Write a journal."""

    async def run() -> None:
        journal = open_journal(URL, Path(), NOW)
        await write(journal)
        journal.close()

    asyncio.run(run())


class Idle(Handler):
    """Do nothing."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do nothing."""
        del delivery
        return Done()


def test_json(fbsessiond: Command, journal: str) -> None:
    """Each entry of the session is a line as `export` has it, with its deliveries as the contract names them."""
    ran = fbsessiond("why", SESSION, "--json", "--journal", journal)
    assert ran.status == 0
    exported = fbsessiond("export", "--session", SESSION, "--json", "--journal", journal).records
    assert [{key: record[key] for key in exported[0]} for record in ran.records] == exported
    (_, failed, *_) = ran.records
    (audit, fragile, log) = failed["deliveries"]
    assert (audit["handler"], log["state"]) == ("audit", "delivered")
    assert {key: fragile[key] for key in ("delivery", "handler", "state", "attempts", "follow_ups")} == {
        "delivery": "2/fragile",
        "handler": "fragile",
        "state": "dead",
        "attempts": 1,
        "follow_ups": [],
    }
    assert fragile["because"].startswith("LookupError at fragile.py:8\nnobody is called")
    assert CANARY not in ran.out
    assert CANARY in fbsessiond("why", SESSION, "--json", "--reveal", "--journal", journal).out


def test_lines(fbsessiond: Command, journal: str) -> None:
    """For a person it is one screen: transitions, what became of each, and why."""
    ran = fbsessiond("why", SESSION, "--journal", journal)
    lines = [line for line in ran.lines if line.startswith("20") or "fragile" in line]
    assert ran.lines[0] == f"{SESSION} of replay: LeftChat"
    assert [line.split("Z", 1)[1] for line in lines if line.startswith("20")] == [
        "  1  replay  (first sight) -> Invited",
        "  2  replay  Invited -> Chatting",
        "  3  replay  1 properties",
        "  4  replay  Chatting -> LeftChat",
    ]
    assert CANARY not in ran.out
    assert CANARY in fbsessiond("why", SESSION, "--reveal", "--journal", journal).out


def test_configuration(fbsessiond: Command, configuration: Path) -> None:
    """With a configuration it is told which handlers are gone, and which weren't there then."""
    text = configuration.read_text().replace("[handlers.fragile]", "[handlers.later]\nuse = 'log'")
    configuration.write_text(text)
    ran = fbsessiond("why", SESSION, "--config", configuration)
    assert "    later: wasn't in the configuration when this was received" in ran.lines
    assert any(line.endswith("(the configuration has no such handler any more)") for line in ran.lines)
    first = fbsessiond("why", SESSION, "--json", "--config", configuration).records[0]
    assert first["not_asked"] == ["later"]
    assert {one["handler"]: one["is_configured"] for one in first["deliveries"]} == {
        "audit": True,
        "fragile": False,
        "log": True,
    }


def test_unknown(fbsessiond: Command, journal: str) -> None:
    """A session that the journal hasn't is told on standard error, with similar ones, and is a finding."""
    ran = fbsessiond("why", SESSION[:-1] + "6", "--json", "--journal", journal)
    assert (ran.status, ran.out) == (1, "")
    assert f"has no session {SESSION[:-1]}6; did you mean {SESSION}?" in ran.err
    ran = fbsessiond("why", SESSION, "--agent", "x", "--journal", journal)
    assert ran.status == 1
    assert ran.err.rstrip().endswith(f"has no session {SESSION} of x")


def test_empty(fbsessiond: Command) -> None:
    """A journal without entries says so."""

    async def nothing(journal: Journal) -> None:
        del journal

    written(nothing)
    assert fbsessiond("why", "S1", "--journal", URL).err == "fbsessiond: the journal has no session S1: it is empty\n"


def test_everything(fbsessiond: Command) -> None:
    """Gaps, what isn't a transition, other agents, forgotten beginnings, and what others asked for have their lines."""

    async def write(journal: Journal) -> None:
        await prove(journal, "one", 0, 10)
        await prove(journal, "two", 20, 30)
        await append(journal, draft("S1", "LeftChat", "log", before="Chatting"), draft("S2", "LeftChat", "log"))
        await append(journal, repeat(), repeat(), at=after(25))
        await append(journal, repeat(), agent="agent2")
        await break_chain(journal, GapCause.NETWORK)
        for one in await lease(journal, "log"):
            asked = (Operation.leave("S1"), Operation.leave("S2"))
            await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=asked)], NOW)
        (first, *_) = await journal.lease_follow_ups(1, NOW, after(60))
        await journal.record_follow_up(first, Progress(FollowUpState.FAILED, 1, because="a\nb"), NOW)

    written(write)
    ran = fbsessiond("why", "S1", "--journal", URL)
    at = "2026-01-01T00:00"
    assert ran.lines == [
        "S1 of agent1: LeftChat",
        "    what came before is forgotten, or wasn't seen",
        f"{at}:00.000000Z  1  live  Chatting -> LeftChat",
        f"    log: delivered at {at}:00.000000Z",
        f"        1. Leave failed, {at}:00.000000Z; when the cause is gone, `fbsessiond dead retry 1/log/1`",
        "            a",
        "            b",
        f"        2. Leave withdrawn, {at}:00.000000Z on S2",
        "            step 1, Leave, ended as failed: a retry takes this up again",
        f"    gap: session lost since {at}:10.000000Z, until {at}:20.000000Z; not compared yet",
        f"{at}:25.000000Z  3  live  2 repeat until {at}:25.000000Z",
        f"    gap: network since {at}:30.000000Z, goes on; not compared yet",
        "    2/log, of another session, asked for this:",
        f"        1. Leave intended: not sent yet, {at}:00.000000Z",
        "",
        "S1 of agent2: no state is known",
        "    what came before is forgotten, or wasn't seen",
        f"{at}:00.000000Z  5  live  1 repeat",
    ]
    records = fbsessiond("why", "S1", "--json", "--agent", "agent1", "--journal", URL).records
    assert [gap["cause"] for gap in records[1]["gaps"]] == ["session lost"]
    assert [gap["cause"] for gap in records[-1]["gaps_since"]] == ["network"]
    assert [one["follow_up"] for one in records[-1]["asked_by_others"]] == ["2/log/1"]


CONDITIONS: list[tuple[dict[str, Any], str]] = [
    ({"from": "Invited"}, "from: was Chatting"),
    ({"not_from": "Chatting"}, "not_from: was Chatting"),
    ({"to": "Completed"}, "to: was LeftChat"),
    ({"not_to": "LeftChat"}, "not_to: was LeftChat"),
    ({"origin": "snapshot"}, "origin: was live"),
    ({"when": 'after == "x"'}, 'when: after == "x" is false; after is "LeftChat"'),
    ({"when": "user_data.K == 1"}, "when: user_data.K == 1 can't be evaluated: "),
    ({"for": "5m"}, "waits: its clock runs until "),
    ({"once_within": "1h", "once_per": "session"}, "once_within: entry 1 counted, and for 1 h 0 min more none does"),
    ({"once_after": "1h"}, "once_after: entry 2 takes its place"),
]


@pytest.mark.parametrize(("table", "line"), CONDITIONS)
def test_conditions(fbsessiond: Command, table: dict[str, Any], line: str) -> None:
    """Each key of a condition has its line, with the value."""
    route = Route("log", Idle(), [Condition.model_validate(table)])
    wish = route.wish(Candidate("agent1", "S1", "Chatting", "LeftChat", Origin.LIVE, lambda: {"id": "S1"}))

    async def write(journal: Journal) -> None:
        for before in ("Chatting", "LeftChat"):
            if isinstance(wish, str):
                await append(journal, draft("S1", "LeftChat", not_wanted=[NotWanted("log", wish)], before=before))
            elif wish.lasts is not None:
                due_at = after(10**9)
                await append(journal, draft("S1", "LeftChat", "log", due_at=due_at, wait=Wait.FOR, before=before))
            else:
                await append(journal, draft("S1", "LeftChat", "log", throttle=wish.throttle, before=before))

    written(write)
    assert line in fbsessiond("why", "S1", "--journal", URL).out


def test_each_condition_is_there() -> None:
    """No key of a condition is missing above."""
    keys = {field.alias or name for name, field in Condition.model_fields.items()}
    assert {key for table, _ in CONDITIONS for key in table} == keys


def test_skipped_snapshot(fbsessiond: Command) -> None:
    """That a handler wants nothing that a snapshot found has its line."""
    route = Route("log", Idle(), delivery=DeliverySettings(snapshot="skip"))
    wish = route.wish(Candidate("agent1", "S1", None, "LeftChat", Origin.SNAPSHOT, dict[str, Any]))
    assert isinstance(wish, str)
    refused = [NotWanted("log", wish)]
    written(lambda journal: append(journal, draft("S1", not_wanted=refused)))
    ran = fbsessiond("why", "S1", "--journal", URL)
    assert 'delivery.snapshot is "skip", and a snapshot found it' in ran.out


REASONS: dict[str, tuple[DeliveryState | FollowUpState, ...]] = {
    # A handler doesn't want it.
    "{}: was {}": (DeliveryState.NOT_WANTED,),
    "when: {} {}{}{}": (DeliveryState.NOT_WANTED,),
    'delivery.snapshot is "skip", and a snapshot found it': (DeliveryState.NOT_WANTED,),
    "once_within: entry {} counted, and for {} more none does": (DeliveryState.NOT_WANTED,),
    # It isn't wanted any more.
    "once_after: entry {} takes its place": (DeliveryState.WITHDRAWN,),
    "{} {} before the clock's end, {}": (DeliveryState.WITHDRAWN,),
    "{} when it was seen again: whether it stayed long enough isn't known": (DeliveryState.WITHDRAWN,),
    "the configuration has no such clock any more": (DeliveryState.WITHDRAWN,),
    "late by {}, more than delivery.max_late, {}": (DeliveryState.WITHDRAWN,),
    "found by a snapshot, and no longer true: the session is {}, not {}": (DeliveryState.WITHDRAWN,),
    "dropped: {}": (DeliveryState.WITHDRAWN, FollowUpState.WITHDRAWN),
    # It is tried later, or was given up.
    "waits for the agent's sessions to be compared: there is a gap in which this one may have changed": (
        DeliveryState.DUE,
    ),
    "deferred by the handler": (DeliveryState.DUE, FollowUpState.INTENDED),
    "rejected by the handler\n{}": (DeliveryState.DEAD, FollowUpState.FAILED),
    "took longer than delivery.timeout, {} s": (DeliveryState.DUE, DeliveryState.DEAD),
    "the handler cancelled itself": (DeliveryState.DUE, DeliveryState.DEAD),
    "handle() returned {}; it returns Done(…), Defer(…) or Reject(…)": (DeliveryState.DUE, DeliveryState.DEAD),
    "asked for follow-ups, though its class says only_observes = True": (DeliveryState.DUE, DeliveryState.DEAD),
    "post() returned {}": (FollowUpState.INTENDED, FollowUpState.FAILED),
    # A follow-up ended, with GWS or without.
    "the session shows it already": (FollowUpState.OBSERVED,),
    "{}, and the session shows it already": (FollowUpState.OBSERVED,),
    "in doubt, and the session shows it": (FollowUpState.OBSERVED,),
    "no notification, but the session shows it": (FollowUpState.OBSERVED,),
    "GWS took it; nothing more shows of it": (FollowUpState.CONFIRMED,),
    "GWS took it, and nothing tells what became of it": (FollowUpState.UNCONFIRMED,),
    "{}; nothing tells whether it was done": (FollowUpState.PARKED,),
    "not sent by this version: {}": (FollowUpState.PARKED,),
    "GWS notified an error for it": (FollowUpState.FAILED,),
    "not sent: in {} the session doesn't allow {}": (FollowUpState.FAILED,),
    "not sent: the agent has no such session": (FollowUpState.FAILED,),
    "the configuration has no agent {} any more: without it nothing is sent": (FollowUpState.FAILED,),
    "the configuration has no handler {}: without it nothing is posted": (FollowUpState.FAILED,),
    "step {}, {}, ended as {}: a retry takes this up again": (FollowUpState.WITHDRAWN,),
    # It is looked after again, or sent again.
    "in doubt, and can't be read back: {}": (FollowUpState.SENT,),
    "not confirmed, and can't be read back: {}": (FollowUpState.ACCEPTED,),
    "in doubt, and the session shows that it didn't happen": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "GWS took it, and the session shows that it didn't happen": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "GWS refuses the agent's credentials, or they can't be had": tuple(
        state for state in FollowUpState if state.is_open
    ),
    # GWS refused, or couldn't be asked: it is known that nothing changed.
    "status code {}: {}": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "status code{}: a status code that isn't in the table": (FollowUpState.FAILED,),
    "HTTP {}, without a status code": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "no connection: {}": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "no connection within {} s": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "not signed in, and GWS refused the credentials just now": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "not signed in, and the fresh sign-in failed: {}": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "GWS refuses the credentials, which were good before": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "GWS refuses the credentials: correct them": (FollowUpState.INTENDED,),
    "GWS let the agent sign in, and says 'not signed in' all the same": (FollowUpState.INTENDED, FollowUpState.FAILED),
    "GWS refuses the CSRF token that it just gave": (FollowUpState.FAILED,),
    # Nothing tells: they are part of the reason for which it is in doubt.
    "no answer within {} s": (FollowUpState.PARKED,),
    "the connection broke before the answer was complete: {}": (FollowUpState.PARKED,),
    "an answer of more than {} bytes": (FollowUpState.PARKED,),
    "HTTP {}, and a body that isn't GWS's": (FollowUpState.PARKED,),
    "GET {}: {}": (FollowUpState.SENT, FollowUpState.ACCEPTED),
    "GWS answers without a list of sessions, which isn't the same as an empty one": (FollowUpState.SENT,),
}
"""Each reason, with the states that it is told of. A new one says what is to be done, where the state doesn't."""

PUT_TOGETHER = {
    "<str(error)>": "an error of GWS, which is above",
    "<type(error).__name__>": "what a webhook raised",
    "<_describe(error)>": "what a handler raised: `test_json`",
    "<str(misfit(returned))>": "what a handler returned, which is above",
    "<wish>": "why a handler doesn't want it, which is above",
    "<'\\n'.join(reasons)>": "the same, of several tables",
    "<_why_false(condition.when, candidate.variables)>": "the same, of an expression",
    "<NOW>": "it is wanted",
    "<Wish(condition.lasts, throttle_of(condition, number, candidate))>": "it is wanted",
}
"""What the code doesn't tell as a text, and what it is."""


def test_each_reason_is_there() -> None:
    """No reason is missing above, and none is there that the code doesn't have any more."""
    assert reasons() == REASONS.keys() | PUT_TOGETHER.keys()


def test_reasons(fbsessiond: Command) -> None:
    """Each reason has its line below what is told of the state, of deliveries and of follow-ups."""
    rows = [(because.replace("{}", "X7"), state) for because, states in REASONS.items() for state in states]
    rows += [(f"status code {each.code}: {each.means}", FollowUpState.FAILED) for each in STATUS_CODES.values()]

    async def write(journal: Journal) -> None:
        for number, (because, state) in enumerate(rows):
            if isinstance(state, DeliveryState):
                await deliver(journal, number, because, state)
            else:
                await follow_up(journal, number, because, state)

    written(write)
    _, *told = re.split(r"-> State\d+\n", fbsessiond("why", "S1", "--journal", URL).out)
    for text, (because, state) in zip(told, rows, strict=True):
        said = TOLD_AS[state] if isinstance(state, DeliveryState) else f"Leave {state}"
        _, found, rest = text.partition(said)
        assert found, text
        below = [line.strip() for line in rest.splitlines()[1:]]
        assert below[: len(because.splitlines())] == because.splitlines()


TOLD_AS = {
    DeliveryState.NOT_WANTED: "h: not wanted",
    DeliveryState.WITHDRAWN: "h: withdrawn at",
    DeliveryState.DUE: "h: due",
    DeliveryState.DEAD: "h: dead since",
}


async def deliver(journal: Journal, number: int, because: str, state: DeliveryState) -> None:
    """Have a delivery end in a state, for a reason."""
    name, at = f"{number}h", after(number)
    refused = [NotWanted(name, because)] if state is DeliveryState.NOT_WANTED else []
    wanted = [] if refused else [name]
    await append(journal, draft("S1", f"State{number}", *wanted, not_wanted=refused), at=at)
    due_at = after(10**6) if state is DeliveryState.DUE else None
    for one in await lease(journal, name, now=at):
        await journal.settle([Settlement(one, state, 1, because, due_at)], at)


async def follow_up(journal: Journal, number: int, because: str, state: FollowUpState) -> None:
    """Have a follow-up come to a state, for a reason."""
    name, at = f"{number}h", after(number)
    await append(journal, draft("S1", f"State{number}", name), at=at)
    (one,) = await lease(journal, name, now=at)
    asked = (Operation.leave(f"Other{number}"),)
    await journal.settle([Settlement(one, DeliveryState.DELIVERED, 1, follow_ups=asked)], at)
    (asked_for,) = await journal.lease_follow_ups(1, at, at + timedelta(minutes=1))
    again_at = after(10**6) if state.is_open else None
    await journal.record_follow_up(asked_for, Progress(state, 1, because=because, again_at=again_at), at)


def test_acts(fbsessiond: Command, journal: str) -> None:
    """Who retried or dropped a delivery stands with it, with a token for what the customer said."""
    fbsessiond("dead", "retry", "2/fragile", "--because", f"{CANARY} is known", "--journal", journal)
    fbsessiond("dead", "drop", "4/fragile", "--because", "a test", "--journal", journal)
    ran = fbsessiond("why", SESSION, "--journal", journal)
    retried, dropped = (line.strip() for line in ran.lines if f" by {user()} at " in line)
    assert re.fullmatch(rf"retried by {re.escape(user())} at 20\S+Z: \[[a-z-]+:[0-9a-f]{{8}}\] is known", retried)
    assert dropped.startswith("dropped by ")
    assert dropped.endswith("Z")
    assert "        dropped: a test" in ran.lines
    records = fbsessiond("why", SESSION, "--json", "--reveal", "--journal", journal).records
    acts = [act for record in records for delivery in record["deliveries"] for act in delivery["acts"]]
    assert [(act["subject"], act["act"], act["by"]) for act in acts] == [
        ("2/fragile", "retry", user()),
        ("4/fragile", "drop", user()),
    ]
    assert acts[0]["because"] == f"{CANARY} is known"


def test_acts_on_follow_ups(fbsessiond: Command) -> None:
    """And so it is with a follow-up."""
    written(parked)
    fbsessiond("dead", "retry", "1/wrap-up/1", "--because", "seen at the desktop", "--journal", URL)
    ran = fbsessiond("why", "S1", "--journal", URL)
    (told,) = (line for line in ran.lines if "retried by" in line)
    assert told.startswith(f"            retried by {user()} at 20")
    (record,) = fbsessiond("why", "S1", "--json", "--journal", URL).records
    ((act,),) = (one["acts"] for one in record["deliveries"][0]["follow_ups"])
    assert (act["subject"], act["because"]) == ("1/wrap-up/1", "seen at the desktop")


async def parked(journal: Journal) -> None:
    """Write a session whose follow-up is parked."""
    await ask(journal, comment(1))
    await end(journal, PARKED)

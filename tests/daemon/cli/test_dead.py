import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli_parts import CANARY, HOSTILE, SESSION, Command, notification, write_lines
from fbsessiond.clock import SystemClock
from fbsessiond.dead_letters import find_dead
from fbsessiond.environment import user
from fbsessiond.journal.engines import open_journal, open_reader
from fbsessiond.journal.records import ActKind, DeliveryState, Settlement

FIELDS = ["delivery", "handler", "session", "after", "attempts", "reason", "at"]


def states(journal: str) -> list[tuple[int, str, int, str | None]]:
    """Return what became of the handler's deliveries."""
    reader = open_reader(journal, Path())
    found = [one for one in reader.deliveries() if one.handler == "fragile"]
    reader.close()
    return [(one.seq, one.state.value, one.attempts, one.because) for one in found]


def test_json(fbsessiond: Command, journal: str) -> None:
    """Each dead letter is a line with the fields of the contract, its reason without customer data."""
    ran = fbsessiond("dead", "list", "--json", "--journal", journal)
    assert ran.status == 0
    assert [list(record) for record in ran.records] == [FIELDS] * 2
    first, second = ran.records
    assert (first["delivery"], first["handler"], first["session"]) == ("2/fragile", "fragile", SESSION)
    assert (first["after"], first["attempts"]) == ("Chatting", 1)
    assert first["at"].endswith("Z")
    assert first["reason"].startswith("LookupError at fragile.py:8: nobody is called: [free-text:")
    assert second["reason"].startswith("rejected by the handler: don't know [free-text:")
    assert CANARY not in ran.out


def test_reveal(fbsessiond: Command, journal: str) -> None:
    """With --reveal a reason is as the handler gave it."""
    ran = fbsessiond("dead", "list", "--json", "--reveal", "--journal", journal)
    assert ran.records[0]["reason"].endswith(f"nobody is called: {CANARY}, '{CANARY}'")
    assert ran.records[1]["reason"] == f"rejected by the handler: don't know {CANARY}, too"


def test_list(fbsessiond: Command, journal: str) -> None:
    """For a person the dead letters are a table, a line each."""
    ran = fbsessiond("dead", "list", "--journal", journal)
    assert ran.lines[0].split() == ["DELIVERY", "SESSION", "AFTER", "ATTEMPTS", "AT", "REASON"]
    assert [line.split()[:4] for line in ran.lines[1:]] == [
        ["2/fragile", SESSION, "Chatting", "1"],
        ["4/fragile", SESSION, "LeftChat", "1"],
    ]
    assert CANARY not in ran.out


def test_none(fbsessiond: Command) -> None:
    """Where there are none, that is said; for programs, by nothing."""
    Path("empty.json").touch()
    fbsessiond("replay", "empty.json", "--journal", "sqlite:j.db")
    assert fbsessiond("dead", "list", "--journal", "sqlite:j.db").lines == ["There are no dead letters."]
    assert fbsessiond("dead", "list", "--json", "--journal", "sqlite:j.db").lines == []


def test_show(fbsessiond: Command, journal: str) -> None:
    """One dead letter is shown a line a field, or as its line of JSON."""
    ran = fbsessiond("dead", "show", "2/fragile", "--journal", journal)
    assert [line.split()[0] for line in ran.lines] == FIELDS
    assert ran.lines[3] == "after     Chatting"
    assert CANARY not in ran.out
    assert CANARY in fbsessiond("dead", "show", "2/fragile", "--journal", journal, "--reveal").out
    (listed, _) = fbsessiond("dead", "list", "--json", "--journal", journal).records
    (shown,) = fbsessiond("dead", "show", "2/fragile", "--json", "--journal", journal).records
    assert shown == {**listed, "acts": []}


def test_retry(fbsessiond: Command, journal: str, configuration: Path) -> None:
    """A dead letter that is to be tried again is due at once, with all its attempts, and is no dead letter any more."""
    ran = fbsessiond("dead", "retry", "2/fragile", "--journal", journal)
    assert (ran.status, ran.lines) == (
        0,
        ["2/fragile is tried again within a second if the daemon runs, else when it starts."],
    )
    assert [one[:3] for one in states(journal)] == [(1, "delivered", 1), (2, "due", 0), (4, "dead", 1)]
    assert fbsessiond("dead", "retry", "2/fragile", "--journal", journal).status == 2
    assert fbsessiond("dead", "list", "--json", "--config", configuration).records[0]["delivery"] == "4/fragile"


def test_drop(fbsessiond: Command, journal: str) -> None:
    """A dead letter that is dropped is withdrawn for good, and why is kept with it."""
    ran = fbsessiond("dead", "drop", "2/fragile", "--because", "a test session", "--journal", journal)
    assert (ran.status, ran.lines) == (0, ["2/fragile is withdrawn."])
    assert states(journal)[1][1:] == ("withdrawn", 1, "dropped: a test session")
    assert fbsessiond("dead", "drop", "2/fragile", "--because", "again", "--journal", journal).status == 2


def test_drop_without_reason(fbsessiond: Command, journal: str) -> None:
    """Nothing is dropped without a reason."""
    ran = fbsessiond("dead", "drop", "2/fragile", "--journal", journal)
    assert ran.status == 2
    assert "Missing option '--because'" in ran.err


@pytest.mark.parametrize(
    "delivery",
    ["1/fragile", "2/log", "9/fragile", "2", "2/", "/fragile", "x/fragile", "-1/fragile", f"{2**63}/fragile"],
)
@pytest.mark.parametrize("verb", ["show", "retry", "drop"])
def test_unknown(fbsessiond: Command, journal: str, verb: str, delivery: str) -> None:
    """A delivery that is no dead letter is told, with where those that are can be seen."""
    reason = ["--because", "x"] if verb == "drop" else []
    ran = fbsessiond("dead", verb, "--journal", journal, *reason, "--", delivery)
    assert ran.status == 2
    assert f"there is no dead letter '{delivery}'" in " ".join(ran.err.split())
    assert "fbsessiond dead list" in " ".join(ran.err.split())
    assert ran.out == ""


def test_record(fbsessiond: Command, journal: str) -> None:
    """Who dropped it, when and why is written down with it."""
    began = SystemClock().now()
    fbsessiond("dead", "drop", "2/fragile", "--because", "a test session", "--journal", journal)
    with closing(open_reader(journal, Path())) as reader:
        (act,) = reader.acts()
    assert (act.subject, act.kind, act.by, act.because) == ("2/fragile", "drop", user(), "a test session")
    assert began <= act.at <= SystemClock().now()


def test_show_acts(fbsessiond: Command, journal: str) -> None:
    """What was done with it before is shown with it, with tokens for what the customer said."""
    with closing(open_reader(journal, Path())) as reader:
        (dead, _) = reader.dead()
        asyncio.run(killed_again(journal, dead.id))
    ran = fbsessiond("dead", "show", "2/fragile", "--journal", journal)
    (told,) = (line for line in ran.lines if line.startswith("act "))
    assert told.startswith(f"act       retried by {user()} at 20")
    assert re.search(r"Z: \[[a-z-]+:[0-9a-f]{8}\] is known$", told)
    ran = fbsessiond("dead", "show", "2/fragile", "--json", "--reveal", "--journal", journal)
    (act,) = ran.records[0]["acts"]
    assert list(act) == ["subject", "act", "at", "by", "because"]
    assert (act["subject"], act["act"], act["by"]) == ("2/fragile", "retry", user())
    assert act["because"] == f"{CANARY} is known"


async def killed_again(url: str, delivery: str) -> None:
    """Have a dead letter tried again by a person, and in vain."""
    with closing(open_journal(url, Path(), SystemClock().now())) as journal:
        now = SystemClock().now()
        found = find_dead(journal.reader(), delivery)
        assert found is not None
        journal.reader().act(found, ActKind.RETRY, by=user(), at=now, because=f"{CANARY} is known")
        (lease,) = await journal.lease(found.handler, 1, now, now)
        await journal.settle([Settlement(lease, DeliveryState.DEAD, 1, "again")], now)


BOTH = ["2/fragile", "4/fragile"]


@pytest.mark.parametrize(
    ("options", "deliveries"),
    [
        (["--all"], BOTH),
        (["--all", "--limit", "1"], BOTH[:1]),
        (["--handler", "fragile"], BOTH),
        (["--session", SESSION, "--limit", "5"], BOTH),
        (["--since", "2h"], BOTH),
        (["--since", "2020-01-01"], BOTH),
        (["--reason", "LOOKUPERROR"], BOTH[:1]),
        (["--reason", "rejected by the handler: don't know"], BOTH[1:]),
        (["--handler", "fragile", "--reason", "rejected", "--since", "1h"], BOTH[1:]),
        (["--handler", "log"], []),
        (["--session", "S2"], []),
        (["--since", "2999-01-01T00:00Z"], []),
        (["--reason", CANARY], []),
        (["--handler", "fragile", "--reason", "broken pipe"], []),
    ],
)
def test_filters(fbsessiond: Command, journal: str, options: list[str], deliveries: list[str]) -> None:
    """Those that fit all options are listed, tried again or dropped; what a customer said finds none."""
    if "--all" not in options:
        ran = fbsessiond("dead", "list", "--json", *options, "--journal", journal)
        assert [one["delivery"] for one in ran.records] == deliveries
    ran = fbsessiond("dead", "retry", *options, "--yes", "--json", "--journal", journal)
    assert [one["subject"] for one in ran.records] == deliveries
    if not deliveries:
        assert (ran.status, ran.err) == (1, "fbsessiond: there is no such dead letter\n")
        return
    assert {(one["act"], one["by"], one["because"]) for one in ran.records} == {("retry", user(), None)}
    left = [one["delivery"] for one in fbsessiond("dead", "list", "--json", "--journal", journal).records]
    assert left == [one for one in BOTH if one not in deliveries]


def test_drop_many(fbsessiond: Command, journal: str) -> None:
    """Many are dropped with one reason."""
    ran = fbsessiond("dead", "drop", "--all", "--because", "a test", "--yes", "--journal", journal)
    assert (ran.status, ran.lines) == (0, ["2 dead letters are withdrawn."])
    assert [one[1:] for one in states(journal)[1:]] == [("withdrawn", 1, "dropped: a test")] * 2


def test_several_named(fbsessiond: Command, journal: str) -> None:
    """Several can be named, once or twice; where one isn't there, nothing is done with any."""
    ran = fbsessiond("dead", "retry", "2/fragile", "9/fragile", "--journal", journal)
    assert (ran.status, ran.out) == (2, "")
    assert [one[1] for one in states(journal)] == ["delivered", "dead", "dead"]
    ran = fbsessiond("dead", "retry", "4/fragile", "2/fragile", "4/fragile", "--journal", journal)
    (line,) = ran.lines
    assert line.startswith("2 dead letters are tried again within a second")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "which ones? Name them, choose them by options, or say --all"),
        (["--limit", "3", "--yes"], "which ones?"),
        (["2/fragile", "--all"], "not both"),
        (["2/fragile", "--handler", "fragile"], "not both"),
        (["--since", "yesterday"], "how long ago, as '2h', or when, as '2026-11-30T09:14Z'"),
        (["--all", "--limit", "0"], "should be greater than or equal to 1"),
        (["--all"], "nobody can be asked here whether to retry 2 dead letters; --yes says so"),
    ],
)
def test_usage(fbsessiond: Command, journal: str, arguments: list[str], told: str) -> None:
    """What doesn't say which ones, or that they are meant, is a mistake of usage; nothing is done."""
    ran = fbsessiond("dead", "retry", *arguments, "--journal", journal)
    assert (ran.status, ran.out) == (2, "")
    assert told in " ".join(ran.err.split())
    assert [one[1] for one in states(journal)] == ["delivered", "dead", "dead"]


@pytest.fixture
def parked(fbsessiond: Command, tmp_path: Path) -> str:
    """The address of a journal in which two sessions' follow-ups are parked, with a customer's name in the reason."""
    steps = '[{ operation = "AddComment", comment = "one" }, { operation = "Complete" }]'
    (tmp_path / "c.toml").write_text(f'[handlers.wrap-up]\nuse = "operations"\nsteps = {steps}\n')
    write_lines(
        tmp_path / "two.jsonl", *(notification("LeftChat", session, comment=CANARY) for session in ("S1", "S2"))
    )
    fbsessiond("replay", "two.jsonl", "--config", "c.toml", "--journal", "sqlite:parked.db")
    with sqlite3.connect(tmp_path / "parked.db") as connection:
        connection.execute(
            "UPDATE follow_ups SET attempts = 1, because = ?,"
            " state = CASE step WHEN 1 THEN 'parked' ELSE 'withdrawn' END",
            (f"in doubt: {CANARY}",),
        )
    connection.close()
    return "sqlite:parked.db"


def progresses(journal: str) -> list[tuple[str, str]]:
    """Return what became of the follow-ups."""
    reader = open_reader(journal, Path())
    found = [(one.id, one.progress.state.value) for one in reader.follow_ups()]
    reader.close()
    return found


def test_follow_ups(fbsessiond: Command, parked: str) -> None:
    """A follow-up that is parked or failed is a dead letter, too, with the fields of any other."""
    ran = fbsessiond("dead", "list", "--json", "--reveal", "--journal", parked)
    assert [list(one) for one in ran.records] == [FIELDS] * 2
    first, second = ran.records
    assert (first["delivery"], second["delivery"]) == ("1/wrap-up/1", "2/wrap-up/1")
    assert (first["handler"], first["session"], first["after"], first["attempts"]) == ("wrap-up", "S1", "LeftChat", 1)
    assert first["reason"] == f"AddComment parked: in doubt: {CANARY}"
    ran = fbsessiond("dead", "show", "1/wrap-up/1", "--journal", parked)
    assert ran.lines[0] == "delivery  1/wrap-up/1"
    assert ran.lines[5].startswith("reason    AddComment parked: in doubt: [free-text:")
    assert CANARY not in ran.out


def test_retry_follow_up(fbsessiond: Command, parked: str) -> None:
    """One that is to be tried again is intended anew, with the steps after it."""
    ran = fbsessiond("dead", "retry", "1/wrap-up/1", "--journal", parked)
    assert (ran.status, ran.lines[0].partition(" ")[0]) == (0, "1/wrap-up/1")
    assert progresses(parked)[:2] == [("1/wrap-up/1", "intended"), ("1/wrap-up/2", "intended")]
    assert fbsessiond("dead", "retry", "1/wrap-up/1", "--journal", parked).status == 2


def test_drop_follow_up(fbsessiond: Command, parked: str) -> None:
    """One that is dropped is withdrawn for good."""
    ran = fbsessiond("dead", "drop", "1/wrap-up/1", "--because", "no use", "--journal", parked)
    assert (ran.status, ran.lines) == (0, ["1/wrap-up/1 is withdrawn."])
    assert progresses(parked)[:2] == [("1/wrap-up/1", "withdrawn"), ("1/wrap-up/2", "withdrawn")]
    assert fbsessiond("dead", "drop", "1/wrap-up/1", "--because", "again", "--journal", parked).status == 2


def test_hostile(fbsessiond: Command, configuration: Path, tmp_path: Path) -> None:
    """Nothing in a reason or a session breaks a line, forges one or moves a terminal's cursor."""
    path = write_lines(tmp_path / "hostile.jsonl", notification("Chatting", comment=HOSTILE, unknownKey=HOSTILE))
    ran = fbsessiond("replay", path, "--config", configuration, "--journal", "sqlite:j.db")
    assert all(line.isprintable() for line in ran.lines)
    for arguments, lines in ((["list"], 2), (["list", "--json"], 1), (["show", "1/fragile"], 7)):
        ran = fbsessiond("dead", *arguments, "--reveal", "--journal", "sqlite:j.db")
        assert len(ran.lines) == lines
        assert all(line.isprintable() for line in ran.lines)


@pytest.mark.parametrize("column", ["notification", "document"])
def test_damaged_entry(fbsessiond: Command, journal: str, tmp_path: Path, column: str) -> None:
    """So it is where the entry is damaged: what it held of a customer's can't be known."""
    with sqlite3.connect(tmp_path / journal.removeprefix("sqlite:")) as connection:
        connection.execute(f"UPDATE entries SET {column} = x'7b'")  # noqa: S608  the test's own
    connection.close()
    ran = fbsessiond("dead", "list", "--json", "--journal", journal)
    assert (ran.status, CANARY in ran.out) == (0, False)
    assert all(one["reason"] and "\n" not in one["reason"] for one in ran.records)

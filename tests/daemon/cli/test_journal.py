import sqlite3
from dataclasses import fields
from pathlib import Path

from cli_parts import CANARY, Command
from fbsessiond.environment import user
from fbsessiond.journal.records import Statistics

FIELDS = [field.name for field in fields(Statistics)]


def change(journal: str, statement: str) -> None:
    """Change a journal behind its back."""
    connection = sqlite3.connect(journal.removeprefix("sqlite:"))
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_verify(fbsessiond: Command, journal: str) -> None:
    """A journal that is whole is said to be so; for programs, by nothing and the exit status."""
    ran = fbsessiond("journal", "verify", "--journal", journal)
    assert (ran.status, ran.err) == (0, "")
    assert ran.lines == ["5 entries: every one is whole, and follows from the one before."]
    ran = fbsessiond("journal", "verify", "--json", "--journal", journal)
    assert (ran.status, ran.lines) == (0, [])


def test_verify_a_changed_journal(fbsessiond: Command, journal: str) -> None:
    """What was changed is told with its place, and is exit status 1."""
    change(journal, "UPDATE entries SET notification = CAST('{}' AS BLOB) WHERE seq = 5")
    change(journal, "UPDATE quarantine SET raw = CAST('{}' AS BLOB) WHERE seq = 2")
    told = "its checksum doesn't fit: it was changed after it was written"
    ran = fbsessiond("journal", "verify", "--journal", journal)
    assert (ran.status, ran.lines) == (1, [f"entry 5: {told}", f"quarantine 2: {told}"])
    ran = fbsessiond("journal", "verify", "--json", "--journal", journal)
    assert (ran.status, ran.records) == (
        1,
        [{"where": "entry 5", "what": told}, {"where": "quarantine 2", "what": told}],
    )


def test_verify_a_hostile_journal(fbsessiond: Command, journal: str) -> None:
    """What somebody wrote into the file can't break a line or move the cursor, either."""
    change(journal, "UPDATE entries SET before = char(27) || '[2J' || char(10) || 'forged' WHERE seq = 4")
    ran = fbsessiond("journal", "verify", "--journal", journal)
    assert ran.status == 1
    assert all(line.isprintable() and not line.startswith("forged") for line in ran.lines)


def test_stats(fbsessiond: Command, journal: str) -> None:
    """What a journal holds is counted, for a person and for programs."""
    (counted,) = fbsessiond("journal", "stats", "--json", "--journal", journal).records
    assert list(counted) == FIELDS
    assert (counted["entries"], counted["first_seq"], counted["last_seq"]) == (5, 1, 5)
    assert counted["kinds"] == {"transition": 3, "properties": 1, "other": 1}
    assert counted["deliveries"] == {"delivered": 7, "dead": 2}
    assert (counted["sessions"], counted["quarantined"]) == (1, 2)
    assert counted["first_received_at"].endswith("Z")
    lines = fbsessiond("journal", "stats", "--journal", journal).lines
    assert [line[:18].strip() for line in lines] == [name.replace("_", " ") for name in FIELDS]
    assert lines[0] == "entries            5"
    assert sorted(lines[5][19:].split(", ")) == ["1 other", "1 properties", "3 transition"]


def test_stats_of_an_empty_journal(fbsessiond: Command) -> None:
    """Where there is nothing, a dash or a nought says so."""
    Path("empty.json").touch()
    fbsessiond("replay", "empty.json", "--journal", "sqlite:j.db")
    lines = fbsessiond("journal", "stats", "--journal", "sqlite:j.db").lines
    counted = dict(zip(FIELDS, (line[19:] for line in lines), strict=True))
    assert {counted[name] for name in ("entries", "sessions", "quarantined")} == {"0"}
    assert {counted[name] for name in ("first_seq", "last_received_at", "kinds", "deliveries")} == {"-"}
    ran = fbsessiond("journal", "verify", "--journal", "sqlite:j.db")
    assert (ran.status, ran.lines) == (0, ["0 entries: every one is whole, and follows from the one before."])


def test_reveals(fbsessiond: Command, journal: str) -> None:
    """Who had customer data shown, and how, is listed with when; nothing of the data itself."""
    ran = fbsessiond("journal", "reveals", "--journal", journal)
    assert (ran.status, ran.lines) == (0, ["No customer data was ever revealed."])
    assert fbsessiond("journal", "reveals", "--json", "--journal", journal).lines == []
    fbsessiond("export", "--reveal", "--journal", journal)
    fbsessiond("dead", "show", "2/fragile", "--reveal", "--journal", journal)
    ran = fbsessiond("journal", "reveals", "--json", "--journal", journal)
    assert [list(record) for record in ran.records] == [["at", "by", "command", "key"]] * 2
    assert [record["command"] for record in ran.records] == [
        f"export --reveal --journal {journal}",
        f"dead show 2/fragile --reveal --journal {journal}",
    ]
    assert {record["by"] for record in ran.records} == {user()}
    shown = fbsessiond("journal", "reveals", "--journal", journal)
    assert shown.lines[0].split() == ["AT", "BY", "COMMAND"]
    assert shown.lines[1].endswith(f"export --reveal --journal {journal}")


def test_acts(fbsessiond: Command, journal: str) -> None:
    """Who retried or dropped what, and why, can be listed."""
    assert fbsessiond("journal", "acts", "--journal", journal).lines == ["Nothing was retried or dropped."]
    assert fbsessiond("journal", "acts", "--json", "--journal", journal).lines == []
    fbsessiond("dead", "retry", "2/fragile", "--journal", journal)
    fbsessiond("dead", "drop", "4/fragile", "--because", f"{CANARY}, too, is gone", "--journal", journal)
    ran = fbsessiond("journal", "acts", "--journal", journal)
    assert ran.lines[0].split() == ["AT", "BY", "ACT", "SUBJECT", "BECAUSE"]
    assert [user() in line for line in ran.lines[1:]] == [True, True]
    assert ran.lines[1].endswith("retry  2/fragile")
    assert CANARY not in ran.out
    first, second = fbsessiond("journal", "acts", "--json", "--reveal", "--journal", journal).records
    assert (first["subject"], first["act"], first["because"]) == ("2/fragile", "retry", None)
    assert (second["by"], second["because"]) == (user(), f"{CANARY}, too, is gone")

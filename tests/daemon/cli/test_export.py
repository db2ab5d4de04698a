import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli_parts import CANARY, FIXTURES, HOSTILE, SESSION, Command, notification, write_lines
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.message import Origin
from journal_parts import NOW, append, draft

FIELDS = ["seq", "received_at", "origin", "agent", "channel", "session", "kind", "before", "after", "notification"]


def test_json(fbsessiond: Command, journal: str) -> None:
    """Each entry is a line with the fields of the contract in their order, in the journal's order."""
    ran = fbsessiond("export", "--json", "--journal", journal)
    assert ran.status == 0
    assert [list(record) for record in ran.records] == [FIELDS] * 5
    assert [(one["seq"], one["kind"], one["before"], one["after"]) for one in ran.records] == [
        (1, "transition", None, "Invited"),
        (2, "transition", "Invited", "Chatting"),
        (3, "properties", None, None),
        (4, "transition", "Chatting", "LeftChat"),
        (5, "other", None, None),
    ]
    assert {(one["origin"], one["agent"]) for one in ran.records} == {("replay", "replay")}
    assert [one["session"] for one in ran.records] == [SESSION] * 4 + [None]
    assert [one["channel"] for one in ran.records] == ["/v2/me/facebooksession"] * 4 + ["/v2/me/calls"]
    assert all(one["received_at"].endswith("Z") and len(one["received_at"]) == 27 for one in ran.records)


def test_redacted(fbsessiond: Command, journal: str) -> None:
    """Tokens stand for customer data unless it is asked for; one value has one token throughout a journal."""
    ran = fbsessiond("export", "--json", "--journal", journal)
    assert CANARY not in ran.out
    assert "4711471147" not in ran.out
    first, second = (one["notification"]["facebooksession"] for one in ran.records[:2])
    assert first["userData"]["FirstName"].startswith("[identity:")
    assert first["userData"]["FirstName"][-9:] == second["comment"][-9:]
    assert (first["id"], first["state"]) == (SESSION, "Invited")


def test_reveal(fbsessiond: Command, tmp_path: Path) -> None:
    """With --reveal a notification stands there word for word: numbers, escapes and keys that come twice included."""
    words = '{"messageType": "Any", "n":1.0e1, "big":123456789012345678901234567890,\n "a":"caf\\u00e9 é", "a":-0.0}'
    path = tmp_path / "one.json"
    path.write_text(words, encoding="utf-8")
    fbsessiond("replay", path, "--journal", "sqlite:j.db")
    ran = fbsessiond("export", "--json", "--reveal", "--journal", "sqlite:j.db")
    notification_ = words.replace(": ", ":").replace(",\n ", ",").replace(", ", ",")
    assert ran.lines[0].endswith(f'"notification":{notification_}}}')


@pytest.mark.parametrize("reveal", [[], ["--reveal"]])
def test_text(fbsessiond: Command, journal: str, reveal: list[str]) -> None:
    """For a person an entry is a line that says when, whose, what; never customer data."""
    ran = fbsessiond("export", "--journal", journal, *reveal)
    assert ran.status == 0
    assert CANARY not in ran.out
    assert [line.split("  ", 2)[2] for line in ran.lines] == [
        f"replay  replay  {SESSION}  transition  - -> Invited",
        f"replay  replay  {SESSION}  transition  Invited -> Chatting",
        f"replay  replay  {SESSION}  properties",
        f"replay  replay  {SESSION}  transition  Chatting -> LeftChat",
        "replay  replay  /v2/me/calls  other",
    ]
    assert [line.split("  ")[0] for line in ran.lines] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("arguments", "seqs"),
    [
        (["--session", SESSION], [1, 2, 3, 4]),
        (["--session", "nobody"], []),
        (["--agent", "replay"], [1, 2, 3, 4, 5]),
        (["--agent", "nobody"], []),
        (["--session", SESSION, "--agent", "nobody"], []),
    ],
)
def test_choice(fbsessiond: Command, journal: str, arguments: list[str], seqs: list[int]) -> None:
    """One session's entries can be asked for, and one agent's."""
    ran = fbsessiond("export", "--json", "--journal", journal, *arguments)
    assert [one["seq"] for one in ran.records] == seqs


def outline(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what must be the same again after a replay."""
    keys = ("seq", "received_at", "agent", "channel", "session", "kind", "before", "after")
    return [tuple(record[key] for key in keys) for record in records]


@pytest.mark.parametrize("reveal", [[], ["--reveal"]])
@pytest.mark.parametrize("folder", ["documented", "captured", "siblings", "synthetic"])
def test_round_trip(fbsessiond: Command, tmp_path: Path, folder: str, reveal: list[str]) -> None:
    """What was exported, redacted or not, gives the same entries when it is replayed: kinds, states, times, agents."""
    fbsessiond("replay", FIXTURES / folder, "--journal", "sqlite:one.db")
    exported = fbsessiond("export", "--json", *reveal, "--journal", "sqlite:one.db")
    assert len(exported.records) == len(list((FIXTURES / folder).glob("*.json")))
    (tmp_path / "exported.jsonl").write_text(exported.out)
    assert fbsessiond("replay", "exported.jsonl", "--journal", "sqlite:two.db").status == 0
    again = fbsessiond("export", "--json", "--reveal", "--journal", "sqlite:two.db")
    assert outline(again.records) == outline(exported.records)
    assert [one["notification"] for one in again.records] == [one["notification"] for one in exported.records]


def test_round_trip_of_a_life(fbsessiond: Command, journal: str, tmp_path: Path) -> None:
    """A session's whole life comes through a redacted export."""
    exported = fbsessiond("export", "--json", "--journal", journal)
    (tmp_path / "exported.jsonl").write_text(exported.out)
    again = fbsessiond("replay", "exported.jsonl", "--json")
    assert outline(again.records) == outline(exported.records)


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--json", "--reveal"]])
def test_hostile(fbsessiond: Command, tmp_path: Path, arguments: list[str]) -> None:
    """Nothing in an entry breaks its line, forges another or moves a terminal's cursor; in JSON nothing is lost."""
    line = {"received_at": "2026-01-01T00:00:00Z", "agent": HOSTILE, "channel": f"/{HOSTILE}"}
    data = notification(HOSTILE, comment=HOSTILE, **{HOSTILE: HOSTILE})["data"]
    path = write_lines(tmp_path / "hostile.jsonl", {**line, "notification": data}, {**line, "notification": {"a": 1}})
    fbsessiond("replay", path, "--journal", "sqlite:j.db")
    ran = fbsessiond("export", "--journal", "sqlite:j.db", *arguments)
    assert len(ran.lines) == 2
    assert all(line.isprintable() for line in ran.lines)
    if arguments:
        assert (ran.records[0]["agent"], ran.records[0]["after"]) == (HOSTILE, HOSTILE)
        assert list(ran.records[0]["notification"]["facebooksession"]) == ["id", "state", "comment", HOSTILE]


def test_empty(fbsessiond: Command) -> None:
    """An empty journal has no entries, which is no mistake."""
    Path("empty.json").touch()
    fbsessiond("replay", "empty.json", "--journal", "sqlite:j.db")
    assert fbsessiond("export", "--journal", "sqlite:j.db").lines == []
    assert fbsessiond("export", "--json", "--journal", "sqlite:j.db").lines == []


def test_utf8(fbsessiond: Command, tmp_path: Path) -> None:
    """What can be seen is printed as it is, not escaped."""
    (tmp_path / "one.jsonl").write_text('{"messageType": "Any", "name": "Zoë 漢字 🙂"}', encoding="utf-8")
    fbsessiond("replay", "one.jsonl", "--journal", "sqlite:j.db")
    assert "Zoë 漢字 🙂" in fbsessiond("export", "--json", "--reveal", "--journal", "sqlite:j.db").out


@pytest.mark.parametrize("reveal", [[], ["--reveal"]])
@pytest.mark.parametrize("damaged", [b"{", b"\xff", b"", b'{"snapshot":1}{'])
def test_damaged(fbsessiond: Command, tmp_path: Path, damaged: bytes, reveal: list[str]) -> None:
    """An entry whose notification isn't JSON any more ends the export with the error of a journal that is damaged."""
    ran = fbsessiond("export", "--json", *reveal, "--journal", written(tmp_path, damaged, Origin.LIVE))
    assert ran.status == 74
    assert "entry 1: can't be shown: its notification is damaged; see `fbsessiond journal verify`" in ran.err


@pytest.mark.parametrize("damaged", [b"1", b"[]", b"{}", b'"snapshot"'])
def test_damaged_snapshot(fbsessiond: Command, tmp_path: Path, damaged: bytes) -> None:
    """So does an entry of a snapshot that doesn't say any more what it is."""
    ran = fbsessiond("export", "--json", "--journal", written(tmp_path, damaged, Origin.SNAPSHOT))
    assert ran.status == 74
    assert "entry 1: can't be shown" in ran.err


def written(folder: Path, data: bytes, origin: Origin) -> str:
    """Return the address of a journal with one entry, of this notification."""

    async def write() -> None:
        journal = SqliteJournal(folder / "j.db", NOW)
        found = draft("S1")
        await append(journal, replace(found, message=replace(found.message, data=data)), origin=origin)
        journal.close()

    asyncio.run(write())
    return "sqlite:j.db"


def test_snapshot(fbsessiond: Command, tmp_path: Path) -> None:
    """What a snapshot says of itself is shown, and nothing else that a notification has under that key."""
    said = {"read_at": "2026-01-01T00:00:00.000000Z", "gap": {"from": "a", "to": None, "cause": "network"}}

    async def write() -> None:
        journal = SqliteJournal(tmp_path / "j.db", NOW)
        for origin in (Origin.SNAPSHOT, Origin.LIVE):
            found = draft("S1", "Vanished")
            data = json.dumps({"facebooksession": {"id": "S1", "comment": CANARY}, "snapshot": said}).encode()
            await append(journal, replace(found, message=replace(found.message, data=data)), origin=origin)
        journal.close()

    asyncio.run(write())
    ran = fbsessiond("export", "--json", "--journal", "sqlite:j.db")
    ours, theirs = (record["notification"] for record in ran.records)
    assert ours["snapshot"] == said
    assert theirs["snapshot"] != said
    assert CANARY not in ran.out


def test_bundle(fbsessiond: Command, journal: str) -> None:
    """The bundle of one session has no customer data, and replayed it makes the same entries again."""
    bundle = fbsessiond("export", SESSION, "--journal", journal)
    assert bundle.status == 0
    assert CANARY not in bundle.out
    assert {record["session"] for record in bundle.records} == {SESSION}
    Path("bundle.jsonl").write_text(bundle.out)
    assert fbsessiond("replay", "bundle.jsonl", "--journal", "sqlite:again.db").status == 0
    again = fbsessiond("export", SESSION, "--journal", "sqlite:again.db").records
    same = ("received_at", "agent", "session", "kind", "before", "after")
    assert [[record[key] for key in same] for record in again] == [
        [record[key] for key in same] for record in bundle.records
    ]
    assert {record["origin"] for record in again} == {"replay"}

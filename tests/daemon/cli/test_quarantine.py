import json
import re
from pathlib import Path

import pytest

from cli_parts import CANARY, HOSTILE, Command, misfit, write_lines
from fbsessiond.cli.quarantine import to_record
from fbsessiond.environment import user
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.records import Quarantined
from fbsessiond.message import Origin
from fbsessiond.privacy import token
from fbsessiond.testing import EPOCH

FIELDS = ["seq", "received_at", "agent", "channel", "error", "raw"]


def test_json(fbsessiond: Command, journal: str) -> None:
    """Each message is a line with the fields of the contract; with --reveal the message itself word for word."""
    ran = fbsessiond("quarantine", "list", "--json", "--reveal", "--journal", journal)
    assert ran.status == 0
    assert [list(record) for record in ran.records] == [FIELDS] * 2
    first, second = ran.records
    assert (first["seq"], first["agent"], first["channel"]) == (1, "replay", "/v2/me/facebooksession")
    assert first["error"] == "facebooksession.id: is missing"
    assert (
        first["raw"]
        == f'{{"channel": "/v2/me/facebooksession", "data": {{"facebooksession": {{"comment": "{CANARY}"}}}}}}'
    )
    assert (second["channel"], second["raw"]) == (None, f"no JSON {CANARY}")
    assert second["error"].startswith("the message isn't JSON")
    assert first["received_at"].endswith("Z")


def test_redacted(fbsessiond: Command, journal: str) -> None:
    """Unless it is asked for, tokens stand for customer data; and one for all of a message that isn't JSON."""
    ran = fbsessiond("quarantine", "list", "--json", "--journal", journal)
    assert [list(record) for record in ran.records] == [FIELDS] * 2
    first, second = ran.records
    comment = json.loads(first["raw"])["data"]["facebooksession"]["comment"]
    assert json.loads(first["raw"])["channel"] == "/v2/me/facebooksession"
    assert re.fullmatch(r"\[free-text:[0-9a-f]{8}\]", comment)
    assert re.fullmatch(r"\[opaque:[0-9a-f]{8}\]", second["raw"])
    assert CANARY not in ran.out
    (exported, *_) = (one for one in fbsessiond("export", "--json", "--journal", journal).records if one["seq"] == 2)
    assert exported["notification"]["facebooksession"]["comment"] == comment


def test_list(fbsessiond: Command, journal: str) -> None:
    """For a person the messages are a table, a line each, without the messages themselves."""
    ran = fbsessiond("quarantine", "list", "--journal", journal)
    assert ran.lines[0].split() == ["SEQ", "RECEIVED", "AGENT", "CHANNEL", "ERROR"]
    assert [line.split()[0] for line in ran.lines[1:]] == ["1", "2"]
    assert ran.lines[1].endswith("/v2/me/facebooksession  facebooksession.id: is missing")
    assert CANARY not in ran.out


def test_none(fbsessiond: Command) -> None:
    """Where there are none, that is said; for programs, by nothing."""
    Path("empty.json").touch()
    fbsessiond("replay", "empty.json", "--journal", "sqlite:j.db")
    assert fbsessiond("quarantine", "list", "--journal", "sqlite:j.db").lines == ["The quarantine is empty."]
    assert fbsessiond("quarantine", "list", "--json", "--journal", "sqlite:j.db").lines == []


def test_show(fbsessiond: Command, journal: str) -> None:
    """One message is shown, with when and whose it is, and what is wrong with it; word for word if that is asked."""
    (_, hidden) = fbsessiond("quarantine", "list", "--json", "--journal", journal).records
    ran = fbsessiond("quarantine", "show", "2", "--journal", journal)
    assert ran.lines[2:] == [f"    {hidden['raw']}"]
    shown = {**hidden, "acts": []}
    assert fbsessiond("quarantine", "show", "2", "--json", "--journal", journal).records == [shown]
    ran = fbsessiond("quarantine", "show", "2", "--reveal", "--journal", journal)
    assert ran.status == 0
    assert ran.lines[0].startswith("received 20")
    assert ran.lines[0].endswith("Z by replay on -")
    assert ran.lines[1].startswith("error    the message isn't JSON")
    assert ran.lines[2:] == [f"    no JSON {CANARY}"]
    (_, listed) = fbsessiond("quarantine", "list", "--json", "--reveal", "--journal", journal).records
    shown = {**listed, "acts": []}
    assert fbsessiond("quarantine", "show", "2", "--json", "--reveal", "--journal", journal).records == [shown]


def test_show_lines(fbsessiond: Command, tmp_path: Path) -> None:
    """A message of several lines is shown so, each line set in: none can pass for one of ours."""
    (tmp_path / "one.json").write_bytes(b'{"data":\n{"facebooksession":\n\t{"comment": "error    forged"}}}')
    fbsessiond("replay", "one.json", "--journal", "sqlite:j.db")
    ran = fbsessiond("quarantine", "show", "1", "--reveal", "--journal", "sqlite:j.db")
    assert ran.lines[2:] == [
        '    {"data":',
        '    {"facebooksession":',
        r'    \t{"comment": "error    forged"}}}',
    ]


def test_retry(fbsessiond: Command, journal: str) -> None:
    """A message that is to be read again stays in the quarantine until the daemon has done so."""
    ran = fbsessiond("quarantine", "retry", "1", "--journal", journal)
    assert (ran.status, ran.lines) == (
        0,
        ["1 is read again within a second if the daemon runs, else when it starts."],
    )
    assert len(fbsessiond("quarantine", "list", "--json", "--journal", journal).records) == 2
    reader = open_reader(journal, Path())
    assert next(reader.quarantined(seq=1)).seq == 1
    reader.close()


def test_drop(fbsessiond: Command, journal: str) -> None:
    """A message that is dropped is in the quarantine no more; who did it and why is written down."""
    ran = fbsessiond("quarantine", "drop", "1", "--because", "a test", "--journal", journal)
    assert (ran.status, ran.lines) == (0, ["1 is dropped."])
    assert [one["seq"] for one in fbsessiond("quarantine", "list", "--json", "--journal", journal).records] == [2]
    (act,) = fbsessiond("journal", "acts", "--json", "--journal", journal).records
    assert (act["subject"], act["act"], act["by"], act["because"]) == ("quarantine/1", "drop", user(), "a test")
    assert fbsessiond("quarantine", "retry", "1", "--journal", journal).status == 2


def test_drop_without_reason(fbsessiond: Command, journal: str) -> None:
    """Nothing is dropped without a reason."""
    ran = fbsessiond("quarantine", "drop", "1", "--journal", journal)
    assert ran.status == 2
    assert "Missing option '--because'" in ran.err


def test_show_acts(fbsessiond: Command, journal: str) -> None:
    """What was done with a message before is shown with it."""
    fbsessiond("quarantine", "retry", "1", "--because", "an update", "--journal", journal)
    ran = fbsessiond("quarantine", "show", "1", "--journal", journal)
    assert ran.lines[2].startswith(f"act      retried by {user()} at 20")
    assert ran.lines[2].endswith("Z: an update")
    (shown,) = fbsessiond("quarantine", "show", "1", "--json", "--journal", journal).records
    assert [(act["subject"], act["because"]) for act in shown["acts"]] == [("quarantine/1", "an update")]


@pytest.mark.parametrize(
    ("options", "seqs"),
    [
        (["--all"], [1, 2]),
        (["--all", "--limit", "1"], [1]),
        (["--agent", "replay"], [1, 2]),
        (["--since", "2h"], [1, 2]),
        (["--reason", "isn't json"], [2]),
        (["--agent", "replay", "--reason", "is missing"], [1]),
        (["--agent", "agent1"], []),
        (["--since", "2999-01-01"], []),
        (["--reason", CANARY], []),
    ],
)
@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_filters(fbsessiond: Command, journal: str, verb: str, options: list[str], seqs: list[int]) -> None:
    """Those that fit all options are listed, read again, or dropped."""
    if "--all" not in options:
        ran = fbsessiond("quarantine", "list", "--json", *options, "--journal", journal)
        assert [one["seq"] for one in ran.records] == seqs
    because = ["--because", "x"] if verb == "drop" else []
    ran = fbsessiond("quarantine", verb, *options, *because, "--yes", "--json", "--journal", journal)
    assert [one["subject"] for one in ran.records] == [f"quarantine/{seq}" for seq in seqs]
    if not seqs:
        assert (ran.status, ran.err) == (1, "fbsessiond: there is no such message\n")


def test_many(fbsessiond: Command, journal: str) -> None:
    """How many there were is told; several can be named, too."""
    ran = fbsessiond("quarantine", "retry", "--all", "--yes", "--journal", journal)
    assert ran.lines == ["2 messages are read again within a second if the daemon runs, else when it starts."]
    ran = fbsessiond("quarantine", "drop", "2", "1", "--because", "x", "--journal", journal)
    assert ran.lines == ["2 messages are dropped."]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "which ones?"),
        (["1", "--all"], "not both"),
        (["--all"], "nobody can be asked here whether to retry 2 messages; --yes says so"),
    ],
)
def test_usage(fbsessiond: Command, journal: str, arguments: list[str], told: str) -> None:
    """What doesn't say which ones, or that they are meant, is a mistake of usage."""
    ran = fbsessiond("quarantine", "retry", *arguments, "--journal", journal)
    assert (ran.status, ran.out) == (2, "")
    assert told in " ".join(ran.err.split())


@pytest.mark.parametrize("verb", ["show", "retry", "drop"])
def test_unknown(fbsessiond: Command, journal: str, verb: str) -> None:
    """A number that isn't in the quarantine is told, with where those that are can be seen."""
    because = ["--because", "x"] if verb == "drop" else []
    ran = fbsessiond("quarantine", verb, "99", *because, "--journal", journal)
    assert ran.status == 2
    assert "99 isn't in the quarantine; see `fbsessiond quarantine list`" in " ".join(ran.err.split())
    assert ran.out == ""


@pytest.mark.parametrize("seq", ["0", "-1", "x", "1.5", str(2**63), ""])
@pytest.mark.parametrize("verb", ["show", "retry"])
def test_no_number(fbsessiond: Command, journal: str, verb: str, seq: str) -> None:
    """What can't be a number in the quarantine is a mistake of usage."""
    ran = fbsessiond("quarantine", verb, "--journal", journal, "--", seq)
    assert ran.status == 2
    assert "Invalid value for '" in ran.err
    assert "SEQ" in ran.err


def test_hostile(fbsessiond: Command, tmp_path: Path) -> None:
    """Nothing in a message breaks a line, forges one or moves a terminal's cursor; in JSON nothing of it is lost."""
    line = {**misfit(comment=HOSTILE), "channel": f"/v2/me/{HOSTILE}/facebooksession"}
    path = write_lines(tmp_path / "hostile.jsonl", line)
    path.write_bytes(path.read_bytes() + b'{"data": "\xc2\x9b2J\xe2\x80\xae\x1b[31m\r\n')
    ran = fbsessiond("replay", path, "--journal", "sqlite:j.db")
    assert ran.status == 1
    assert all(line.isprintable() for line in (*ran.lines, *ran.err.splitlines()))
    for arguments in (
        ["list"],
        ["list", "--json"],
        ["show", "1"],
        ["show", "1", "--reveal"],
        ["show", "2", "--json", "--reveal"],
    ):
        ran = fbsessiond("quarantine", *arguments, "--journal", "sqlite:j.db")
        assert all(line.isprintable() for line in ran.lines)
    assert ran.records[0]["raw"] == '{"data": "\x9b2J\u202e\x1b[31m'


def test_not_utf8() -> None:
    """Bytes that are no text are shown as Python writes them."""
    quarantined = Quarantined(1, EPOCH, Origin.LIVE, "agent1", None, "isn't UTF-8", b'"caf\xe9"')
    assert to_record(quarantined, None)["raw"] == r'"caf\xe9"'
    assert to_record(quarantined, b"key")["raw"] == token("", r'"caf\xe9"', b"key")

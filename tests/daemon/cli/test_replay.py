import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_parts import (
    CANARY,
    FAILING_HANDLER,
    FIXTURES,
    HOSTILE,
    Command,
    Ran,
    misfit,
    notification,
    write_lines,
)

PRINTED = FIXTURES / "broken" / "leave-as-printed.txt"

LIFE = [notification(state) for state in ("Invited", "Chatting", "LeftChat", "Completed")]

TABLE = [
    "SEQ  SESSION           BEFORE    AFTER      LOG",
    "1    0002DaAVKJ0V0095            Invited    delivered",
    "2    0002DaAVKJ0V0095  Invited   Chatting   delivered",
    "3    0002DaAVKJ0V0095  Chatting  LeftChat   delivered",
    "4    0002DaAVKJ0V0095  LeftChat  Completed  delivered",
    "4 notifications: 4 transition",
]


def life(name: str) -> Path:
    """Write a file with a session's life, in the form that its name says."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    messages = LIFE if "bare" not in name else [message["data"] for message in LIFE]
    text = json.dumps(messages) if "array" in name else "\n".join(json.dumps(message) for message in messages)
    if "crlf" in name:
        text = text.replace("\n", "\r\n")
    content = text.encode("utf-8-sig" if "bom" in name else "utf-8")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "texts.json",
        "array.json",
        "lines.jsonl",
        "lines.ndjson",
        "bare.json",
        "bare-array.json",
        "bare.jsonl",
        "texts.json.gz",
        "lines.jsonl.gz",
        "bom.json",
        "bom-crlf.jsonl",
        "crlf.jsonl.gz",
        "texts.txt",
    ],
)
def test_forms(fbsessiond: Command, name: str) -> None:
    """Each form of a file gives the same table: plain text on a pipe, a line a transition."""
    ran = fbsessiond("replay", life(name))
    assert (ran.status, ran.lines) == (0, TABLE)


def test_folder(fbsessiond: Command) -> None:
    """A folder's files are replayed by name, those in folders inside it included."""
    for number, message in enumerate(LIFE):
        write_lines(life(f"folder/{number}/x.jsonl"), message)
    assert fbsessiond("replay", "folder").lines == TABLE


def test_samples(fbsessiond: Command) -> None:
    """Every sample is understood, those of other media too."""
    ran = fbsessiond("replay", FIXTURES)
    assert ran.status == 0
    assert ran.lines[-1].startswith(f"{len(list(FIXTURES.glob('*/*.json')))} notifications: ")


def test_json(fbsessiond: Command) -> None:
    """For programs each entry is the line that `export` prints, with what became of its deliveries."""
    ran = fbsessiond("replay", life("life.jsonl"), "--json", "--journal", "sqlite:j.db")
    assert ran.status == 0
    exported = fbsessiond("export", "--json", "--journal", "sqlite:j.db").records
    deliveries = [{"handler": "log", "state": "delivered", "follow_ups": []}]
    assert ran.records == [{**record, "deliveries": deliveries} for record in exported]


def test_logs(fbsessiond: Command) -> None:
    """What handlers log goes to standard error, in JSON on a pipe."""
    ran = fbsessiond("replay", life("life.jsonl"))
    logged = [json.loads(line) for line in ran.err.splitlines()]
    assert [(line["event"], line["after"]) for line in logged] == [
        ("session.transition", after) for after in ("Invited", "Chatting", "LeftChat", "Completed")
    ]


def test_bad_line(fbsessiond: Command, tmp_path: Path) -> None:
    """A line that isn't JSON goes to the quarantine, word for word, and the lines after it are replayed."""
    path = write_lines(tmp_path / "some.jsonl", *LIFE[:2], f'{{"broken": "{CANARY}', *LIFE[2:])
    ran = fbsessiond("replay", path, "--journal", "sqlite:j.db")
    assert ran.status == 1
    assert ran.lines[:-1] == TABLE
    assert ran.lines[-1].startswith("quarantined: no channel: the message isn't JSON: ")
    assert CANARY not in ran.out + ran.err
    (quarantined,) = fbsessiond("quarantine", "list", "--json", "--reveal", "--journal", "sqlite:j.db").records
    assert quarantined["raw"] == f'{{"broken": "{CANARY}'
    ran = fbsessiond("replay", path, "--json")
    assert (ran.status, ran.records[-1]["error"]) == (1, quarantined["error"])
    assert ran.records[-1]["raw"].startswith("[opaque:")


def test_documentation_as_printed(fbsessiond: Command) -> None:
    """The documentation's own sample isn't JSON: that is told with the place, and the next file is replayed."""
    ran = fbsessiond("replay", PRINTED, life("life.jsonl"))
    assert ran.status == 1
    problem = r"the line ends inside a text; JSON writes a line break there as '\n'"
    assert ran.lines == [*TABLE, f"unreadable: {PRINTED}: line 53, column 71: {problem}"]
    ran = fbsessiond("replay", PRINTED, "life.jsonl", "--json")
    assert ran.status == 1
    assert len(ran.records) == 5
    assert ran.records[-1] == {"path": str(PRINTED), "problem": ran.records[-1]["problem"]}


def make_unreadable(name: str) -> None:
    """Make something that can't be read, or only in part; or nothing."""
    contents = {
        "truncated.json.gz": gzip.compress(json.dumps(LIFE).encode())[:-9],
        "latin.json": '{"a": "é"}'.encode("latin-1"),
        "python.json": b"{'a': None}",
        "half.json": b'{"a": [1,',
    }
    if name in contents:
        Path(name).write_bytes(contents[name])
    elif name == "folder":
        Path(name).mkdir()
    elif name == "loop.json":
        Path(name).symlink_to(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.json", "can't be read: No such file or directory"),
        ("folder", "has no files of notifications: their names end in .json, .jsonl, .ndjson, .json.gz, "),
        ("loop.json", "can't be read: Too many levels of symbolic links"),
        ("truncated.json.gz", "can't be read: Compressed file ended before the end-of-stream marker was reached"),
        ("latin.json", "line 1: isn't UTF-8: byte 7 is 0xe9"),
        ("python.json", "line 1, column 2: \"'\" isn't JSON; it is written '\"' there"),
        ("half.json", "line 1, column 10: the file ends too early"),
    ],
)
def test_unreadable(fbsessiond: Command, name: str, words: str) -> None:
    """A file that can't be read is told, the next is replayed, and the exit status is 1."""
    make_unreadable(name)
    ran = fbsessiond("replay", name, life("life.jsonl"))
    assert (ran.status, ran.lines[:-1]) == (1, TABLE)
    assert ran.lines[-1].startswith(f"unreadable: {name}: {words}")


@pytest.mark.parametrize("name", ["empty.json", "empty.jsonl"])
def test_empty(fbsessiond: Command, name: str) -> None:
    """An empty file has nothing to replay, and is no mistake."""
    Path(name).touch()
    assert fbsessiond("replay", name) == Ran(0, "0 notifications: none\n", "")
    assert fbsessiond("replay", name, "--json") == Ran(0, "", "")


def test_handlers(fbsessiond: Command, configuration: Path, tmp_path: Path) -> None:
    """The configuration's handlers run, each with its column; what one of them doesn't want is empty there."""
    configuration.write_text(
        'state_directory = "own"\n[handlers.log]\n[handlers.chats]\nuse = "audit"\non = { to = "Chatting" }\n'
    )
    ran = fbsessiond("replay", life("life.jsonl"), "--config", configuration)
    assert ran.status == 0
    assert ran.lines[0].split() == ["SEQ", "SESSION", "BEFORE", "AFTER", "LOG", "CHATS"]
    assert [line.split()[-2:] for line in ran.lines[1:5]] == [
        ["Invited", "delivered"],
        ["delivered", "delivered"],
        ["LeftChat", "delivered"],
        ["Completed", "delivered"],
    ]
    assert (tmp_path / "own" / "audit.jsonl").read_bytes().count(b"\n") == 1


def test_failing_handler(fbsessiond: Command, configuration: Path, tmp_path: Path) -> None:
    """A delivery that fails is tried once, told without customer data, and makes the exit status 1."""
    path = write_lines(
        tmp_path / "some.jsonl", notification("Chatting", comment=CANARY), notification("LeftChat"), *LIFE[3:]
    )
    ran = fbsessiond("replay", path, "--config", configuration)
    assert ran.status == 1
    assert [line.split()[-2] for line in ran.lines[1:4]] == ["dead", "dead", "delivered"]
    first, second = ran.lines[-2:]
    assert re.fullmatch(
        r"failed: 1/fragile: LookupError at fragile.py:8: nobody is called: None, '\[free-text:[0-9a-f]{8}\]'", first
    )
    assert second.startswith("failed: 2/fragile: rejected by the handler: don't know [free-text:")
    assert CANARY not in ran.out + ran.err
    ran = fbsessiond("replay", path, "--config", configuration, "--json")
    assert ran.status == 1
    assert {"handler": "fragile", "state": "dead", "follow_ups": []} in ran.records[0]["deliveries"]


def test_follow_ups(fbsessiond: Command, tmp_path: Path) -> None:
    """What a handler asks for is captured, and never sent; nothing needs to be known of the platform for it."""
    (tmp_path / "c.toml").write_text(
        '[handlers.wrap-up]\nuse = "operations"\non = { to = "LeftChat" }\n'
        'steps = [{ operation = "SetDisposition", disposition = "resolved" }, { operation = "Complete" }]\n'
    )
    ran = fbsessiond("replay", life("life.jsonl"), "--config", "c.toml")
    assert (ran.status, ran.lines[-1]) == (0, "2 follow-ups captured: 1 SetDisposition, 1 Complete")
    ran = fbsessiond("replay", "life.jsonl", "--config", "c.toml", "--json")
    asked = [{"operation": name, "state": "captured"} for name in ("SetDisposition", "Complete")]
    expected = [{"handler": "wrap-up", "state": "delivered", "follow_ups": asked}]
    assert [one["deliveries"] for one in ran.records] == [[], [], expected, []]


def test_handlers_that_act_outside(fbsessiond: Command, tmp_path: Path) -> None:
    """A handler that acts outside this machine runs only where that is asked for; that it doesn't is said."""
    outside = FAILING_HANDLER.replace("(Handler):", "(Handler):\n    acts_outside = True\n")
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "fragile.py").write_text(outside)
    (tmp_path / "c.toml").write_text('[handlers.log]\n[handlers."to\\u001b[2J"]\nuse = "fragile"\n')
    ran = fbsessiond("replay", life("life.jsonl"), "--config", "c.toml")
    assert (ran.status, ran.lines) == (0, TABLE)
    assert ran.err.startswith(r"fbsessiond: to\x1b[2J is left out: it acts outside this machine; --act runs it")
    ran = fbsessiond("replay", "life.jsonl", "--config", "c.toml", "--act")
    assert ran.status == 1
    assert [line.split()[-1] for line in ran.lines[1:5]] == ["delivered", "dead", "dead", "delivered"]
    assert "left out" not in ran.err


def test_configuration_here(fbsessiond: Command, configuration: Path) -> None:
    """Only a configuration that is named is used: one that lies about could write to what isn't meant for replays."""
    assert configuration == Path.cwd() / "fbsessiond.toml"
    assert fbsessiond("replay", life("life.jsonl")).lines == TABLE


def test_configuration_of_the_variable(
    fbsessiond: Command, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable names one, too."""
    monkeypatch.setenv("FBSESSIOND_CONFIG", str(configuration))
    assert "FRAGILE" in fbsessiond("replay", life("life.jsonl")).lines[0]


def test_without_variables(fbsessiond: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configuration nothing of the daemon's matters, the variables included."""
    monkeypatch.setenv("FBSESSIOND_GWS__URL", "http://gws.example")
    assert fbsessiond("replay", life("life.jsonl")).lines == TABLE


def test_wrong_configuration(fbsessiond: Command, tmp_path: Path) -> None:
    """A wrong configuration is told before anything is replayed."""
    (tmp_path / "c.toml").write_text("[handlers.audit]\npth = 1\n")
    ran = fbsessiond("replay", life("life.jsonl"), "--config", "c.toml", "--journal", "sqlite:j.db")
    assert (ran.status, ran.out) == (os.EX_CONFIG, "")
    assert ran.err.startswith("fbsessiond: c.toml: line 2: handlers.audit.pth: there is no such key")
    assert not Path("j.db").exists()


def test_journal(fbsessiond: Command) -> None:
    """A journal that is kept goes on where it ended; what was there before isn't shown again."""
    write_lines(Path("one.jsonl"), *LIFE[:2], misfit())
    write_lines(Path("two.jsonl"), *LIFE[2:])
    assert fbsessiond("replay", "one.jsonl", "--journal", "sqlite:j.db").status == 1
    ran = fbsessiond("replay", "two.jsonl", "--journal", "sqlite:j.db")
    assert (ran.status, ran.lines) == (0, [TABLE[0], *TABLE[3:5], "2 notifications: 2 transition"])
    assert len(fbsessiond("export", "--journal", "sqlite:j.db").lines) == 4
    ran = fbsessiond("replay", "two.jsonl", "--journal", "sqlite:j.db", "--json")
    assert [(one["seq"], one["kind"], one["deliveries"]) for one in ran.records] == [
        (5, "repeat", []),
        (6, "repeat", []),
    ]


def test_no_journal(fbsessiond: Command) -> None:
    """Unless it is asked for, nothing is left behind."""
    path = life("folder/life.jsonl")
    fbsessiond("replay", path)
    assert [file.name for file in Path.cwd().iterdir()] == ["folder"]


def test_speed(fbsessiond: Command) -> None:
    """A replay at a speed gives the same as one at once."""
    assert fbsessiond("replay", life("life.jsonl"), "--speed", "1000").lines == TABLE


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "fast"])
def test_wrong_speed(fbsessiond: Command, speed: str) -> None:
    """A speed is a number above nought."""
    ran = fbsessiond("replay", life("life.jsonl"), "--speed", speed)
    assert (ran.status, ran.out) == (2, "")
    assert "Invalid value for '--speed'" in ran.err


def test_hostile(fbsessiond: Command, configuration: Path) -> None:
    """Nothing in a notification breaks a line, forges one or moves a terminal's cursor, in any of the output."""
    hostile = notification(f"Chatting{HOSTILE}", comment=HOSTILE)
    path = write_lines(
        Path("[red]hostile.jsonl"),
        {**hostile, "channel": f"/{HOSTILE}/facebooksession"},
        {**misfit(), "channel": f"/{HOSTILE}/facebooksession"},
        notification("Chatting", comment=HOSTILE),
    )
    for arguments in ([], ["--json"]):
        ran = fbsessiond("replay", path, "no\x1b[2J\nsuch.json", "--config", configuration, *arguments)
        assert ran.status == 1
        assert all(line.isprintable() for line in (*ran.lines, *ran.err.split("\n")))
        assert len(ran.lines) == (7 if not arguments else 4)


def test_name_in_no_encoding(fbsessiond: Command) -> None:
    """A file's name that is no text can be told, too."""
    name = os.fsdecode(b"caf\xe9.json")
    assert fbsessiond("replay", name).lines[-1].startswith(r"unreadable: caf\xe9.json: can't be read: No such file")
    assert fbsessiond("replay", name, "--json").records[0]["path"] == r"caf\xe9.json"


def test_pipe(tmp_path: Path) -> None:
    """What a shell gives as a pipe is read as a file is."""
    command = [sys.executable, "-m", "fbsessiond", "replay", "/dev/stdin"]
    ran = subprocess.run(command, input=json.dumps(LIFE), capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout.splitlines() == TABLE

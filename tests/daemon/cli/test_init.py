import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import structlog

from cli_parts import CANARY, SESSION, Command, Ran, write_lines
from fbsessiond.cli import main

PROGRAM = [sys.executable, "-m", "fbsessiond"]


def test_error(fbsessiond: Command) -> None:
    """An error that a person can do something about is told on standard error, and sets the exit status."""
    ran = fbsessiond("export", "--journal", "sqlite:nowhere.db")
    assert (ran.status, ran.out) == (os.EX_IOERR, "")
    assert ran.err == "fbsessiond: nowhere.db: there is no journal here; name another with --journal or --config\n"


def test_error_of_several_lines(fbsessiond: Command, tmp_path: Path) -> None:
    """Each line of an error has the program's name before it, and nothing in it moves a terminal's cursor."""
    (tmp_path / "c.toml").write_text('"a\\u001b[2J\\nforged" = 1\nb = 2\n')
    ran = fbsessiond("check", "--config", "c.toml")
    assert ran.status == os.EX_CONFIG
    assert [line.split(": ")[:3] for line in ran.err.splitlines()] == [
        ["fbsessiond", "c.toml", "line 1"],
        ["fbsessiond", "c.toml", "line 2"],
    ]
    ran = fbsessiond("export", "--journal", "sqlite:\x1b[2Jnowhere\u202e.db")
    assert ran.err.startswith(r"fbsessiond: \x1b[2Jnowhere\u202e.db: there is no journal here")


def test_no_error(fbsessiond: Command) -> None:
    """A command that ends well has status 0, and leaves standard error alone."""
    assert fbsessiond("check", "--no-environment") == Ran(0, "configuration: fine, with the handlers (none)\n", "")


def test_logs(fbsessiond: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """What is logged while a command runs goes to standard error, never between the lines that it prints."""
    fbsessiond("check", "--no-environment")
    structlog.get_logger("fbsessiond.test").error("seen", at="fault")
    structlog.get_logger("fbsessiond.test").warning("not.seen")
    assert capsys.readouterr().out == ""


def test_other_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be something else than a file or a pipe."""
    shown = StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "argv", ["fbsessiond", "check", "--no-environment"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert shown.getvalue().startswith("configuration: fine")


def test_reader_that_has_seen_enough(fbsessiond: Command, tmp_path: Path) -> None:
    """A reader such as `head` ends a command without a word of complaint, and without a status of failure."""
    line = {"received_at": "2026-01-01T00:00:00Z", "notification": {"messageType": "Any", "text": "x" * 1_000}}
    fbsessiond("replay", write_lines(tmp_path / "long.jsonl", *[line] * 200), "--journal", "sqlite:long.db")
    command = [*PROGRAM, "export", "--json", "--reveal", "--journal", "sqlite:long.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        assert export.stdout.readline().startswith('{"seq":1,')
        export.stdout.close()
        assert export.stderr.read() == ""
    assert export.returncode == 0


@pytest.mark.parametrize("verb", [["export", "--json"], ["journal", "stats"]])
def test_full_disk(configuration: Path, verb: list[str]) -> None:
    """Output that can't be written, long or short, is exit status 74: a backup by export can't fail unseen."""
    with Path("/dev/full").open("w") as full:
        command = [*PROGRAM, *verb, "--config", configuration]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == os.EX_IOERR
    assert ran.stderr == "fbsessiond: can't write to standard output: No space left on device\n"


def test_any_locale(fbsessiond: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is UTF-8 whatever the locale: a letter that it can't write doesn't stop a command."""
    (tmp_path / "one.jsonl").write_text('{"messageType": "Any", "name": "Zoë"}', encoding="utf-8")
    fbsessiond("replay", "one.jsonl", "--journal", "sqlite:one.db")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = [*PROGRAM, "export", "--json", "--reveal", "--journal", "sqlite:one.db"]
    ran = subprocess.run(command, capture_output=True, check=True)
    assert '"name":"Zoë"' in ran.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["replay", "messages.jsonl"], 1),
        (["dead", "show", "1/log"], 2),
        (["export", "--journal", "sqlite:nowhere.db"], os.EX_IOERR),
    ],
)
def test_exit_statuses(configuration: Path, arguments: list[str], status: int) -> None:
    """The process itself ends with these statuses: findings, usage, I/O."""
    ran = subprocess.run([*PROGRAM, *arguments], cwd=configuration.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == status
    assert "Traceback" not in ran.stderr
    assert (SESSION in ran.stdout) is (status < 2)


CUSTOMER_DATA = (CANARY, "Vitaliy", "Onv-4711", "4711471147")

QUIET = [
    ["export"],
    ["export", "--json"],
    ["export", "--reveal"],
    ["dead", "list"],
    ["dead", "list", "--json"],
    ["dead", "show", "2/fragile"],
    ["dead", "show", "4/fragile", "--json"],
    ["dead", "retry", "2/fragile"],
    ["dead", "drop", "4/fragile", "--because", "x"],
    ["quarantine", "list"],
    ["quarantine", "list", "--json"],
    ["quarantine", "show", "1"],
    ["quarantine", "show", "2", "--json"],
    ["quarantine", "retry", "1"],
    ["journal", "reveals"],
    ["journal", "verify"],
    ["journal", "stats"],
    ["journal", "stats", "--json"],
    ["replay", "messages.jsonl"],
    ["replay", "messages.jsonl", "--config", "fbsessiond.toml"],
    ["audit", "verify", "audit.jsonl"],
]
"""What shows no customer data."""

LOUD = [
    ["export", "--json", "--reveal"],
    ["dead", "list", "--reveal"],
    ["dead", "show", "2/fragile", "--reveal"],
    ["quarantine", "list", "--json", "--reveal"],
    ["quarantine", "show", "1", "--reveal"],
]
"""What does, since it is asked for."""


@pytest.mark.parametrize("command", QUIET, ids=" ".join)
def test_customer_data(fbsessiond: Command, journal: str, command: list[str]) -> None:
    """No command shows a customer's value, in print or in the log, unless it is asked for by name."""
    assert journal.endswith("/journal.db")
    ran = fbsessiond(*command)
    assert ran.status in {0, 1}
    assert ran.out
    assert not [value for value in CUSTOMER_DATA if value in ran.out + ran.err]


@pytest.mark.parametrize("command", LOUD, ids=" ".join)
def test_customer_data_that_is_asked_for(fbsessiond: Command, journal: str, command: list[str]) -> None:
    """Asked for by name, it is shown as it is."""
    assert journal.endswith("/journal.db")
    assert CANARY in fbsessiond(*command).out


CRASHING = """
from fbsessiond import Delivery, Done, Handler, Outcome

class Crashing(Handler):
    name: str

    def running(self):
        raise LookupError(self.name)

    async def handle(self, delivery: Delivery) -> Outcome:
        return Done()
"""


def test_crash(fbsessiond: Command, tmp_path: Path) -> None:
    """A mistake that nobody expected is one event, with its traceback and without its text; the exit status is 1."""
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "crashing.py").write_text(CRASHING)
    (tmp_path / "c.toml").write_text(f'[handlers.crashing]\nname = "{CANARY}"\n')
    (tmp_path / "empty.json").touch()
    ran = fbsessiond("replay", "empty.json", "--config", "c.toml")
    assert (ran.status, ran.out) == (1, "")
    event = json.loads(ran.err)
    assert (event["level"], event["event"]) == ("critical", "crashed")
    assert event["exception"].endswith("\nLookupError")
    assert "in running" in event["exception"]
    assert CANARY not in ran.err

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli_parts import CANARY, Command, Ran, notification, write_lines
from fbsessiond.cli import rehearse

JOURNAL = ("--journal", "sqlite:journal.db")

OLD = """
[handlers.wrap-up]
use = "operations"
on = { to = "LeftChat" }
steps = [ { operation = "SetDisposition", disposition = "resolved" }, { operation = "Complete" } ]
"""


@pytest.fixture(autouse=True)
def _free(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process can't be confined: no other test could do anything after that."""
    monkeypatch.setattr(sys, "addaudithook", list[Any]().append)
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)


@pytest.fixture
def recorded(fbsessiond: Command, tmp_path: Path) -> Path:
    """Record two sessions' lives under the old configuration; return the file of the new one."""
    write_lines(
        tmp_path / "life.jsonl",
        *[
            {
                "received_at": f"2026-01-01T00:{minute:02}:00Z",
                "notification": notification(state, name, **known)["data"],
            }
            for minute, state, name, known in [
                (0, "Chatting", "S1", {"userData": {"FirstName": CANARY}}),
                (1, "Chatting", "S2", {}),
                (2, "LeftChat", "S1", {}),
                (3, "LeftChat", "S2", {}),
                (9, "Completed", "S2", {}),
                (30, "Completed", "S1", {}),
            ]
        ],
    )
    (tmp_path / "old.toml").write_text(OLD)
    ran = fbsessiond("replay", "life.jsonl", "--config", "old.toml", *JOURNAL)
    assert ran.lines[-1] == "4 follow-ups captured: 2 SetDisposition, 2 Complete"
    return tmp_path / "new.toml"


def rehearsed(fbsessiond: Command, new: Path, text: str, *options: str) -> Ran:
    """Rehearse a configuration."""
    new.write_text(text)
    return fbsessiond("rehearse", "--config", new, *JOURNAL, *options)


def test_same(fbsessiond: Command, recorded: Path) -> None:
    """Where the same would have been asked for, that is said, with status 0."""
    ran = rehearsed(fbsessiond, recorded, OLD)
    assert (ran.status, ran.err) == (0, "")
    assert [line.split() for line in ran.lines] == [
        ["6", "entries", "rehearsed"],
        ["FOLLOW-UPS", "COUNT", "FOR", "EXAMPLE"],
        ["same", "4", "3/wrap-up/1", "S1", "SetDisposition", "disposition=resolved"],
        ["added", "0"],
        ["removed", "0"],
        ["changed", "0"],
    ]


def test_different(fbsessiond: Command, recorded: Path) -> None:
    """What differs is counted, with an example of each kind, and status 3."""
    new = OLD.replace('"LeftChat" }', '"LeftChat", for = "10m" }').replace("resolved", "closed")
    ran = rehearsed(fbsessiond, recorded, new + '[handlers.seen]\nuse = "operations"\non.from = "Chatting"\n' + COMMENT)
    assert ran.status == 3
    assert [line.split(maxsplit=2) for line in ran.lines[2:]] == [
        ["same", "1", "3/wrap-up/2 S1 Complete"],
        ["added", "2", "3/seen/1 S1 AddComment comment=seen"],
        ["removed", "2", "4/wrap-up/1 S2 SetDisposition disposition=resolved"],
        ["changed", "1", "3/wrap-up/1 S1 SetDisposition disposition=resolved -> SetDisposition disposition=closed"],
    ]


COMMENT = 'steps = [ { operation = "AddComment", comment = "seen" } ]\n'


def test_json(fbsessiond: Command, recorded: Path) -> None:
    """For programs each difference is a line, and the last one has the counts."""
    ran = rehearsed(
        fbsessiond, recorded, OLD.replace('"LeftChat" }', '"LeftChat", when = \'session.id == "S2"\' }'), "--json"
    )
    assert ran.status == 3
    *differences, counts = ran.records
    assert differences == [
        {"kind": "removed", "session": "S1", "before": before, "after": None}
        for before in (
            {"follow_up": "3/wrap-up/1", "operation": "SetDisposition", "parameters": {"disposition": "resolved"}},
            {"follow_up": "3/wrap-up/2", "operation": "Complete", "parameters": {}},
        )
    ]
    assert counts == {
        "entries": 6,
        "same": 2,
        "added": 0,
        "removed": 2,
        "changed": 0,
        "left_out": {},
        "failed": 0,
        "clocks": 0,
    }


@pytest.mark.parametrize(("since", "removed"), [("2026-01-01T00:03:00Z", 2), ("9000d", 4), ("1s", 0)])
def test_since(fbsessiond: Command, recorded: Path, since: str, removed: int) -> None:
    """Only what arrived since a time is rehearsed, and compared."""
    ran = rehearsed(fbsessiond, recorded, "", "--json", "--since", since)
    assert ran.records[-1]["removed"] == removed
    assert ran.status == (3 if removed else 0)


def test_since_when(fbsessiond: Command, recorded: Path) -> None:
    """A time that is none is refused, in words."""
    ran = rehearsed(fbsessiond, recorded, OLD, "--since", "yesterday")
    assert ran.status == 2
    assert "should be a duration, as '90s', '5m', '2h' or '30d', or a time" in " ".join(ran.err.split())


def test_left_out(fbsessiond: Command, recorded: Path) -> None:
    """Who acts outside is left out by name, and what it asked for once isn't compared."""
    (recorded.parent / "handlers.d").mkdir()
    (recorded.parent / "handlers.d" / "outside.py").write_text(OUTSIDE)
    ran = rehearsed(fbsessiond, recorded, '[handlers.wrap-up]\nuse = "outside"\n')
    assert ran.status == 0
    assert ran.lines[-1] == "left out: wrap-up: acts outside this machine"
    assert [line.split()[1] for line in ran.lines[2:6]] == ["0"] * 4


OUTSIDE = """
from fbsessiond import Delivery, Done, Handler, Outcome

class Outside(Handler):
    acts_outside = True
    async def handle(self, delivery: Delivery) -> Outcome:
        raise AssertionError
"""


def test_observers(fbsessiond: Command, recorded: Path) -> None:
    """Who only observes makes no difference, and isn't run: it is no trouble that `audit` would write."""
    ran = rehearsed(fbsessiond, recorded, f"{OLD}[handlers.log]\n[handlers.audit]\n", "--json")
    assert ran.records == [
        {
            "entries": 6,
            "same": 4,
            "added": 0,
            "removed": 0,
            "changed": 0,
            "left_out": {},
            "failed": 0,
            "clocks": 0,
        }
    ]
    ran = rehearsed(fbsessiond, recorded, '[handlers.wrap-up]\nuse = "log"\n')
    assert ran.lines[4].split()[:2] == ["removed", "4"]


def test_failures_and_clocks(fbsessiond: Command, recorded: Path) -> None:
    """What fails is told without customer data, and how many clocks still ran at the end."""
    (recorded.parent / "handlers.d").mkdir()
    (recorded.parent / "handlers.d" / "fails.py").write_text(
        OUTSIDE.replace("acts_outside = True", "").replace(
            "raise AssertionError", "raise LookupError(delivery.transition.session.user_data)"
        )
    )
    ran = rehearsed(
        fbsessiond, recorded, '[handlers.fails]\non.to = "LeftChat"\n[handlers.late]\nuse = "fails"\non.for = "1d"\n'
    )
    assert ran.status == 3
    failed, clocks = ran.lines[-2:]
    assert re.fullmatch(
        r"failed: 2 deliveries, for example fails: LookupError at fails.py:\d+: .*\[identity:\w{8}\].*", failed
    )
    assert clocks == "2 clocks still ran at the end"
    assert CANARY not in ran.out + ran.err


def test_changed_templates(fbsessiond: Command, recorded: Path) -> None:
    """What a handler took from the customer's data isn't shown."""
    steps = 'steps = [ { operation = "AddComment", comment = "for {user_data[FirstName]}" } ]\n'
    ran = rehearsed(fbsessiond, recorded, f'[handlers.note]\nuse = "operations"\non.to = "LeftChat"\n{steps}')
    assert CANARY not in ran.out + ran.err


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_from_outside(recorded: Path, tmp_path: Path) -> None:
    """Seen from outside, a rehearsal opens no socket, starts no program and writes no file; who tries is named."""
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "acting.py").write_text(
        OUTSIDE.replace("acts_outside = True", "how: str")
        .replace("raise AssertionError", "exec(self.how)")
        .replace("Outside", "Acting")
    )
    acts = {"writes": "open('x', 'w')", "connects": "__import__('socket').create_connection(('127.0.0.1', 9))"}
    handlers = [f'[handlers.{name}]\nuse = "acting"\nhow = "{how}"\n' for name, how in acts.items()]
    recorded.write_text(f"{OLD}[handlers.audit]\n{''.join(handlers)}")
    traced = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-o",
        "trace",
        "-e",
        "trace=network,process,%file,write,pwrite64,writev,ftruncate",
    ]
    command = [sys.executable, "-m", "fbsessiond", "rehearse", "--config", "new.toml", *JOURNAL]
    ran = subprocess.run([*traced, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert sorted(line.split(":")[1].strip() for line in ran.stdout.splitlines()[6:]) == ["connects", "writes"]
    assert suspicious((tmp_path / "trace").read_text()) == []
    assert not (tmp_path / "x").exists()


def suspicious(trace: str) -> list[str]:
    """Return the calls that act outside: not those on standard output, on the journal's index in memory, on itself."""
    acting = r"(socket|connect|bind|sendto|sendmsg|clone3?|fork|vfork|mkdir|unlink|rename|ftruncate|pwrite64|write)\("
    opening = r"open(at)?\(.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)"
    harmless = r"write\([12]<|open.*journal\.db\"|journal\.db-(shm|wal)|/dev/(null|tty)|socketpair|CLONE_THREAD|execve"
    calls = [line for line in trace.splitlines() if re.search(rf"^\d+ +({acting}|{opening})", line)]
    return [line for line in calls if not re.search(harmless, line)]


def test_left_out_late(fbsessiond: Command, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler had asked for before it tried what isn't allowed isn't compared either."""
    refusing: list[Any] = []
    monkeypatch.setattr(sys, "addaudithook", refusing.append)
    (recorded.parent / "handlers.d").mkdir()
    (recorded.parent / "handlers.d" / "late.py").write_text(
        OUTSIDE.replace("acts_outside = True", "").replace(
            "raise AssertionError",
            "session = delivery.transition.session\n"
            "        if session.state == 'Completed':\n"
            "            __import__('sys').audit('socket.connect')\n"
            "        return Done(__import__('fbsessiond').Operation.complete(session))",
        )
    )

    def audit(event: str, *given: Any) -> None:
        for hook in refusing:
            hook(event, given)

    monkeypatch.setattr(sys, "audit", audit)
    ran = rehearsed(fbsessiond, recorded, '[handlers.wrap-up]\nuse = "late"\n')
    assert ran.status == 0
    assert ran.lines[-1] == "left out: wrap-up: tried what isn't allowed in a rehearsal: socket.connect"
    assert [line.split()[1] for line in ran.lines[2:6]] == ["0"] * 4


def test_help() -> None:
    """The command says what its exit statuses mean."""
    assert "3 where there is a difference" in rehearse.EPILOG

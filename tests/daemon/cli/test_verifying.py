import os
from pathlib import Path

import pytest

from cli_parts import CANARY, Command


@pytest.fixture
def trail(configuration: Path) -> Path:
    """An audit file of three lines."""
    path = configuration.with_name("audit.jsonl")
    assert path.read_bytes().count(b"\n") == 3
    return path


def test_whole(fbsessiond: Command, configuration: Path, trail: Path) -> None:
    """A chain that is whole is said to be so, whether the file is named or the configuration."""
    for arguments, name in (([trail], trail), (["--config", configuration], "audit")):
        ran = fbsessiond("audit", "verify", *arguments)
        assert (ran.status, ran.lines) == (0, [f"{name}: the chain is whole."])
        ran = fbsessiond("audit", "verify", "--json", *arguments)
        assert (ran.status, ran.lines) == (0, [])


@pytest.mark.parametrize(("lines", "line"), [([0, 2], 2), ([1, 0, 2], 1), ([0, 0, 1, 2], 2), ([0, -1, 2], 2)], ids=str)
def test_changed(fbsessiond: Command, trail: Path, lines: list[int], line: int) -> None:
    """A line that was removed, swapped, inserted or changed is told with its place, and is exit status 1."""
    originals = trail.read_bytes().splitlines(keepends=True)
    changed = [*originals, originals[1].replace(b"Chatting", b"Revoked")]
    trail.write_bytes(b"".join(changed[number] for number in lines))
    ran = fbsessiond("audit", "verify", trail)
    assert ran.status == 1
    assert any(told.startswith(f"{trail}: line {line}: ") for told in ran.lines)
    assert "the chain is whole" not in ran.out
    assert CANARY not in ran.out
    as_json = fbsessiond("audit", "verify", trail, "--json")
    assert as_json.status == 1
    assert [f"{one['where']}: {one['what']}" for one in as_json.records] == ran.lines
    assert all(list(one) == ["where", "what"] for one in as_json.records)


def test_several(fbsessiond: Command, configuration: Path, trail: Path) -> None:
    """Each audit file of a configuration is checked, and one that is whole is said to be so beside one that isn't."""
    whole = trail.with_name("whole.jsonl")
    whole.write_bytes(trail.read_bytes())
    trail.write_bytes(trail.read_bytes().replace(b"Chatting", b"Revoked"))
    configuration.write_text(configuration.read_text() + '[handlers.second]\nuse = "audit"\npath = "whole.jsonl"\n')
    ran = fbsessiond("audit", "verify", "--config", configuration)
    assert ran.status == 1
    assert ran.lines[0].startswith("audit.jsonl: line 2: ")
    assert ran.lines[-1] == "second: the chain is whole."


def test_missing_file(fbsessiond: Command) -> None:
    """A file that isn't there is a mistake of usage."""
    ran = fbsessiond("audit", "verify", "nowhere.jsonl")
    assert ran.status == 2
    assert "nowhere.jsonl: there is no such file" in ran.err


def test_unreadable_file(fbsessiond: Command, trail: Path) -> None:
    """A file that can't be read is exit status 74: nothing is known of it."""
    trail.with_name("audit.jsonl.000001").symlink_to("audit.jsonl.000001")
    ran = fbsessiond("audit", "verify", trail)
    assert ran.status == os.EX_IOERR
    assert ran.err.startswith("fbsessiond: can't read the audit file: ")


def test_no_audit(fbsessiond: Command, tmp_path: Path) -> None:
    """A configuration without the handler is told, with what to do."""
    (tmp_path / "bare.toml").write_text("[handlers.log]\n")
    ran = fbsessiond("audit", "verify", "--config", "bare.toml")
    assert ran.status == os.EX_CONFIG
    assert ran.err == "fbsessiond: the configuration has no handler 'audit'; name the file to check\n"


def test_file_of_that_name(fbsessiond: Command, trail: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that lies in the current folder isn't run for its name."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "audit.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert fbsessiond("audit", "verify", trail).status == 0

import io
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from cli_parts import Command
from fbsessiond.cli.acting import Wish, ask, carry_out, check_choice
from fbsessiond.journal.engines import open_reader
from fbsessiond.journal.records import ActKind
from journal_parts import quarantined

WISH = Wish(ActKind.DROP, "no use", "message", "dropped", is_sure=False, as_json=False)

MANY = [quarantined(seq) for seq in (1, 2, 3)]


class Terminal(io.StringIO):
    """Somebody at a terminal, who answers."""

    def isatty(self) -> bool:
        """Somebody is there."""
        return True


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return how to have somebody answer at a terminal."""
    return lambda text: monkeypatch.setattr("sys.stdin", Terminal(text))


@pytest.mark.parametrize(
    ("groups", "question"),
    [
        ("AAb", "Drop 3 messages (2 of A, 1 of b)? [y/N] "),
        ("aaa", "Drop 3 messages?"),
        (["\x1b", "b"], r"(1 of \x1b, 1 of b)?"),
    ],
)
def test_asked(
    answers: Callable[[str], None], capsys: pytest.CaptureFixture[str], groups: Sequence[str], question: str
) -> None:
    """On a terminal it is asked, with how many there are of each group, on standard error."""
    answers("y\n")
    ask(MANY, groups, WISH)
    captured = capsys.readouterr()
    assert question in captured.err
    assert captured.out == ""


def test_one(answers: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """One is one."""
    answers("y\n")
    ask(MANY[:1], "a", WISH)
    assert "Drop 1 message?" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yesterday\n"])
def test_refused(answers: Callable[[str], None], answer: str) -> None:
    """Whoever doesn't say yes has nothing done."""
    answers(answer)
    with pytest.raises(typer.Abort):
        ask(MANY, "abc", WISH)


def test_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked, it has to be said before."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(typer.BadParameter, match=r"whether to drop 3 messages \(1 of a, .*\); --yes says so"):
        ask(MANY, "abc", WISH)


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is none, that is told, with a status of its own."""
    with pytest.raises(typer.Exit) as ended:
        ask([], (), WISH)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "fbsessiond: there is no such message\n"


@pytest.mark.parametrize(
    ("named", "filters", "is_all", "is_clear"),
    [
        (["1"], (None, None), False, True),
        ([], ("log", None), False, True),
        ([], (None, None), True, True),
        ([], ("log", None), True, True),
        ([], (None, None), False, False),
        (["1"], ("log", None), False, False),
        (["1"], (None, None), True, False),
    ],
)
def test_choice(named: list[str], filters: tuple[str | None, ...], is_all: bool, is_clear: bool) -> None:
    """Some are named, or chosen by options, or all are meant."""
    if is_clear:
        check_choice(named, filters, is_all=is_all)
    else:
        with pytest.raises(typer.BadParameter):
            check_choice(named, filters, is_all=is_all)


def test_too_late(fbsessiond: Command, journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What somebody else was quicker with is told; where that is all, it is no success."""
    del fbsessiond
    reader = open_reader(journal, Path())
    carry_out(reader, MANY, WISH)
    captured = capsys.readouterr()
    assert captured.out == "2 messages are dropped.\n"
    assert captured.err == "fbsessiond: 1 message of 3: there no more, somebody was quicker\n"
    with pytest.raises(typer.Exit) as ended:
        carry_out(reader, MANY, WISH)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out == ""
    assert [act.subject for act in reader.acts()] == ["quarantine/1", "quarantine/2"]
    reader.close()


def test_sure(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever is sure isn't asked."""
    ask(MANY, "abc", replace(WISH, is_sure=True))
    assert capsys.readouterr().err == ""


def test_json(fbsessiond: Command, journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs each act is a line."""
    del fbsessiond
    with closing(open_reader(journal, Path())) as reader:
        carry_out(reader, MANY[:2], replace(WISH, as_json=True))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["subject"], line["act"], line["because"]) for line in lines] == [
        ("quarantine/1", "drop", "no use"),
        ("quarantine/2", "drop", "no use"),
    ]


def test_one_done(fbsessiond: Command, journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One is told by its name."""
    del fbsessiond
    with closing(open_reader(journal, Path())) as reader:
        carry_out(reader, MANY[:1], WISH)
    assert capsys.readouterr().out == "1 is dropped.\n"

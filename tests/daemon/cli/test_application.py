import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli_parts import Command
from fbsessiond.cli.application import app
from fbsessiond.environment import variables


def commands(group: Any, above: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Yield the commands of a group, and of those inside it."""
    for name, command in getattr(group, "commands", {}).items():
        yield [*above, name]
        yield from commands(command, (*above, name))


COMMANDS = list(commands(get_command(app)))


def test_commands() -> None:
    """The commands of the contract are there, each group's own included."""
    words = ("run", "replay", "check", "export", "dead list", "dead show", "dead retry", "dead drop", "audit verify")
    more = ("quarantine list", "quarantine show", "quarantine retry", "journal verify", "journal stats")
    assert {*words, *more} <= {" ".join(command) for command in COMMANDS}


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_help(fbsessiond: Command, command: list[str]) -> None:
    """The help of each command has an example of it, and no summary in a list of commands is cut off."""
    ran = fbsessiond(*command, "--help")
    assert (ran.status, ran.err) == (0, "")
    example = re.search(r"Examples?:\s+fbsessiond ([a-z -]+)", ran.out)
    assert example is not None
    assert example[1].split()[: len(command)] == command
    summaries = ran.out.partition("Commands:")[2].partition("\n\n")[0].splitlines()
    assert not [summary for summary in summaries if summary.endswith(("...", "…"))]


@pytest.mark.parametrize("command", [["xyzzy"], ["dead", "xyzzy"], ["export", "--xyzzy"], ["replay"], ["dead", "show"]])
def test_usage(fbsessiond: Command, command: list[str]) -> None:
    """A mistake of usage is told on standard error, and is exit status 2."""
    ran = fbsessiond(*command)
    assert (ran.status, ran.out) == (2, "")
    assert "Error: " in ran.err


BASH = """
eval "$(_FBSESSIOND_COMPLETE=source_bash fbsessiond)"
complete -p fbsessiond
for words in "fbsessiond ex" "fbsessiond dead re" "fbsessiond check --no"; do
    COMP_WORDS=($words)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _fbsessiond_completion fbsessiond
    echo "${COMPREPLY[*]}"
done
"""


def test_completion() -> None:
    """Bash completes a verb, a verb of a group, and an option."""
    path = f"{Path(sys.executable).parent}:{variables['PATH']}"
    command = ["bash", "--norc", "-ec", BASH]
    ran = subprocess.run(command, env={**variables, "PATH": path}, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        "complete -o default -F _fbsessiond_completion fbsessiond",
        "export",
        "retry",
        "--no-environment",
    ]


@pytest.mark.parametrize(
    ("shell", "words"), [("zsh", "#compdef fbsessiond"), ("fish", "complete --command fbsessiond")]
)
def test_other_shells(shell: str, words: str) -> None:
    """Zsh and fish have a script to load, too."""
    program = Path(sys.executable).with_name("fbsessiond")
    environment = {**variables, "_FBSESSIOND_COMPLETE": f"source_{shell}"}
    assert words in subprocess.run([program], env=environment, capture_output=True, text=True, check=True).stdout

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_parts import SESSION, Command, commands
from fbsessiond.cli.application import LOOKING, VERBS, loaded
from fbsessiond.environment import variables

COMMANDS = sorted({*VERBS, *commands()})


def test_commands() -> None:
    """The commands of the contract are there, each group's own included."""
    words = ("run", "replay", "check", "export", "dead list", "dead show", "dead retry", "dead drop", "audit verify")
    more = ("quarantine list", "quarantine show", "quarantine retry", "journal verify", "journal stats")
    assert {*words, *more} <= set(COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(fbsessiond: Command, command: str) -> None:
    """The help of each command has an example of it, and no summary in a list of commands is cut off."""
    ran = fbsessiond(*command.split(), "--help")
    assert (ran.status, ran.err) == (0, "")
    example = re.search(r"Examples?:\s+fbsessiond ([a-z -]+)", ran.out)
    assert example is not None
    assert f"{example[1]} ".startswith(f"{command} ".lstrip())
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


@pytest.mark.parametrize("name", VERBS)
def test_summary(fbsessiond: Command, name: str) -> None:
    """The line of help by which a command is listed, unimported, is the first one of its own help."""
    _, summary = VERBS[name]
    assert loaded(name).help.partition("\n")[0] == summary
    assert re.search(rf"^  {name} +{re.escape(summary)}$", fbsessiond("--help").out, re.MULTILINE)


HEAVY = {
    "aiocometd",
    "aiohttp",
    "cel_expr_python",
    "fbsessiond.configuration",
    "opentelemetry",
    "prometheus_client",
    "pydantic",
    "rich",
    "structlog",
}
"""What takes long to import."""

IMPORTING = """
import sys
from fbsessiond.cli import main
try:
    main()
finally:
    sys.stderr.write(" ".join(sys.modules))
"""


def imported(*arguments: str) -> set[str]:
    """Return what takes long to import, and is imported by a process that runs a command."""
    command = [sys.executable, "-c", IMPORTING, *arguments]
    return HEAVY & set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split())


def test_help_imports() -> None:
    """The list of commands is there at once: nothing is imported for it that takes long."""
    assert imported("--help") == set()


@pytest.mark.parametrize("command", [["why", SESSION], ["export"], ["why", SESSION, "--json"]], ids=" ".join)
def test_looking_imports(journal: str, command: list[str]) -> None:
    """What looks at a journal that is named imports what reads notifications, and nothing else that takes long."""
    assert imported(*command, "--journal", journal) == {"pydantic"}


@pytest.mark.parametrize("command", ["sessions", "coverage", "dead list", "quarantine list", "journal verify"])
def test_table_imports(journal: str, command: str) -> None:
    """A table, or a bar of progress, needs what draws it."""
    assert imported(*command.split(), "--journal", journal) == {"pydantic", "rich"}


def test_configuration_imports(configuration: Path) -> None:
    """A configuration that says where the journal is needs no more: its handlers and expressions aren't made."""
    assert imported("why", SESSION, "--config", str(configuration)) == {"pydantic", "fbsessiond.configuration"}


@pytest.mark.parametrize("name", sorted(LOOKING))
def test_looking(name: str) -> None:
    """What looks at a journal has nothing in it that could log: the log isn't set up for it."""
    code = f"import sys; from fbsessiond.cli.application import loaded; loaded({name!r}); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"structlog", "fbsessiond.logs"} & set(ran.stdout.split())

import re

import pytest
from cli_parts import Command

COMMANDS = [
    ["run"],
    ["replay"],
    ["check"],
    ["export"],
    ["quarantine"],
    ["quarantine", "list"],
    ["quarantine", "show"],
    ["quarantine", "retry"],
    ["dead"],
    ["dead", "list"],
    ["dead", "show"],
    ["dead", "retry"],
    ["dead", "drop"],
    ["journal"],
    ["journal", "verify"],
    ["journal", "stats"],
    ["audit"],
    ["audit", "verify"],
]


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_help(fbsessiond: Command, command: list[str]) -> None:
    """The help of each command has an example of it, and no summary in a list of commands is cut off."""
    ran = fbsessiond(*command, "--help")
    assert (ran.status, ran.err) == (0, "")
    example = re.search(r"Examples?:\s+fbsessiond ([a-z ]+)", ran.out)
    assert example is not None
    assert example[1].split()[: len(command)] == command
    summaries = ran.out.partition("Commands:")[2].partition("\n\n")[0]
    assert "..." not in summaries
    assert "…" not in summaries


@pytest.mark.parametrize("command", [[], ["quarantine"], ["dead"], ["journal"], ["audit"]], ids=" ".join)
def test_all_commands(fbsessiond: Command, command: list[str]) -> None:
    """What is known of here is in the list of commands."""
    listed = fbsessiond(*command, "--help").out.partition("Commands:")[2]
    names = [other[-1] for other in COMMANDS if other[:-1] == command]
    assert names
    assert all(re.search(rf"^  {name} ", listed, re.MULTILINE) for name in names)


@pytest.mark.parametrize("command", [["xyzzy"], ["dead", "xyzzy"], ["export", "--xyzzy"], ["replay"], ["dead", "show"]])
def test_usage(fbsessiond: Command, command: list[str]) -> None:
    """A mistake of usage is told on standard error, and is exit status 2."""
    ran = fbsessiond(*command)
    assert (ran.status, ran.out) == (2, "")
    assert "Error: " in ran.err

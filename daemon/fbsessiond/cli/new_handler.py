"""`fbsessiond new-handler`: a handler to begin with."""

import importlib.util
import keyword
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

import fbsessiond
from fbsessiond.cli.handler_templates import HANDLER, NOTIFICATIONS, TEST
from fbsessiond.cli.options import Config
from fbsessiond.cli.printing import print_line
from fbsessiond.cli.writing import write_new
from fbsessiond.configuration import Configuration, load
from fbsessiond.plugins import installed

EPILOG = """Example: fbsessiond new-handler greet

It prints what to do next: run the test, name the handler in the configuration, replay the notifications."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.ASCII)

LONGEST_NAME = 60


def new_handler(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name in the configuration, e.g. greet or wrap-up-2.")
    ],
    config: Config = None,
) -> None:
    """Write a handler with its test.

    They go into handlers.d beside the configuration, with notifications of one session to replay. All of it runs at
    once, and is yours to change; nothing is overwritten.
    """
    _check(name)
    configuration = load(config)
    folder = configuration.handlers_directory
    module = name.replace("-", "_")
    words = {"name": name, "module": module, "kind": _kind(name)}
    handler, test, notifications = (folder / each for each in (f"{module}.py", f"test_{module}.py", f"{module}.jsonl"))
    write_new({handler: HANDLER.format(**words), test: TEST.format(**words), notifications: NOTIFICATIONS})
    print_line(f"{handler} is written, with its test and notifications to try it with. Next:")
    print_line("")
    for step in _steps(name, test, notifications, configuration):
        print_line(f"  {step}")


def _check(name: str) -> None:
    """Raise `BadParameter` for a name that couldn't be used, or would stand for something else already."""
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise typer.BadParameter(f"{name!r} should be of small letters, digits and single hyphens, as 'wrap-up-2'")
    if name in installed():
        raise typer.BadParameter(f"there is a handler {name!r} already, which comes with fbsessiond or is installed")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module in {"fbsessiond", "conftest"}:
        raise typer.BadParameter(f"{module!r} is a name of Python's own: its test couldn't import it; add a word")
    if module.startswith("test_"):
        raise typer.BadParameter(f"{name!r} would be taken for a test; leave out the 'test'")
    if _kind(name) in fbsessiond.__all__:
        raise typer.BadParameter(f"{_kind(name)!r} is a name of fbsessiond's own; add a word")


def _kind(name: str) -> str:
    """Return the name of a handler's class."""
    return "".join(part.capitalize() for part in re.split("[-_]", name))


def _steps(name: str, test: Path, notifications: Path, configuration: Configuration) -> list[str]:
    """Return what to do next, to be typed as it stands."""
    path = configuration.path or Path("fbsessiond.toml")
    python = "python" if shutil.which("python") == sys.executable else sys.executable
    steps = [] if importlib.util.find_spec("pytest") else [f"{shlex.quote(python)} -m pip install pytest"]
    steps.append(f"{shlex.quote(python)} -m pytest {shlex.quote(str(test))}")
    if name not in configuration.settings.handlers:
        steps.append(f"echo '[handlers.{name}]' >> {shlex.quote(str(path))}")
    steps.append(f"fbsessiond replay {shlex.quote(str(notifications))} --config {shlex.quote(str(path))}")
    return steps

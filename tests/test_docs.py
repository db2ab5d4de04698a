"""The documentation says all that there is to say, and what it shows runs."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from cli_parts import commands
from fbsessiond import Done, Handler
from fbsessiond.cometd.source import LOGGED_AS
from fbsessiond.conditions import Condition
from fbsessiond.configuration import load
from fbsessiond.environment import variables
from fbsessiond.follow_up import FollowUpState
from fbsessiond.route import DeliverySettings
from fbsessiond.settings import Settings
from fbsessiond.testing import make_delivery, make_transition

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
CONFIGURATION = (DOCS / "configuration.md").read_text()
OPERATING = (DOCS / "operating.md").read_text()
HANDLERS = entry_points(group="fbsessiond.handlers")


def load_module(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def keys(model: type[BaseModel]) -> Iterator[str]:
    """Yield the keys of a table, and of the tables in it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from keys(part)


def section(title: str) -> str:
    """Return a section of the page on configuration."""
    found = [part for part in CONFIGURATION.split("\n## ") if part.startswith(title)]
    assert len(found) == 1, f"one section is called {title!r}"
    return found[0]


def test_operations() -> None:
    """The page on operations is what `make docs` writes."""
    assert (DOCS / "operations.md").read_text() == load_module(DOCS / "tables.py").operations()


@pytest.mark.parametrize("model", [Settings, Condition, DeliverySettings])
def test_settings(model: type[BaseModel]) -> None:
    """Each setting is on the page on configuration."""
    missing = (key for key in keys(model) if not re.search(rf"`{key}`|[\[{{ ]{key}[\].= ]", CONFIGURATION))
    assert sorted(missing) == []


@pytest.mark.parametrize("name", sorted(HANDLERS.names))
def test_options(name: str) -> None:
    """Each option of a handler that comes with fbsessiond is in the handler's section."""
    handler: type[Handler] = HANDLERS[name].load()
    here = section(f"The handler `{name}`")
    assert [key for key in handler.model_fields if f"`{key}`" not in here] == []


def test_commands() -> None:
    """Each command is in README.md or in docs/."""
    words = " ".join(" ".join(path.read_text().split()) for path in (ROOT / "README.md", *DOCS.glob("*.md")))
    assert [name for name in commands() if f"fbsessiond {name}" not in words] == []


def logged() -> Iterator[str]:
    """Yield the events that the code logs."""
    yield from (name for _, name in LOGGED_AS.values())
    yield from (f"follow_up.{'again' if state.is_open else state}" for state in FollowUpState)
    for path in [*ROOT.glob("daemon/**/*.py"), *ROOT.glob("handlers/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log" | "_log")), args=[ast.Constant(value=str(name)), *_]
                ):
                    yield name
                case _:
                    pass


def test_log_events() -> None:
    """Each event that is logged is on the page on operating."""
    assert sorted(name for name in set(logged()) if f"`{name}`" not in OPERATING) == []


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def indented(text: str, begin: str) -> str:
    """Return the indented block that begins with a line."""
    found = re.search(rf"(?:^    {re.escape(begin)}.*\n)(?:^(?:    .*)?\n)*", text, re.MULTILINE)
    assert found is not None
    return re.sub(r"^    ", "", found[0], flags=re.MULTILINE)


def handlers_in(code: str) -> list[type[Handler]]:
    """Run a block of code, and return the handlers that it makes."""
    names: dict[str, object] = {"__name__": "shown"}
    exec(compile(code, "shown", "exec"), names)  # noqa: S102  it is our own documentation
    made = [value for value in names.values() if isinstance(value, type) and issubclass(value, Handler)]
    return [handler for handler in made if handler is not Handler]


def replaced(page: str, code: str) -> Path:
    """Return the file that a page says a block of code replaces: the last one that is named before it."""
    return Path(re.findall(r"Replace `(\S+)`:$", page[: page.index(code)], re.MULTILINE)[-1])


def test_ten_minutes(tmp_path: Path) -> None:
    """The page that leads through a handler once works as it stands: each line of shell, each file, what is printed."""
    page = (DOCS / "write-a-handler.md").read_text()
    environment = {name: value for name, value in variables.items() if not name.startswith("FBSESSIOND_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    environment["STATE_DIRECTORY"] = str(tmp_path / "state")
    printed = ""
    for language, code in re.findall(r"^```(sh|python|text)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        match language:
            case "sh":
                command = ["bash", "-ec", code]
                ran = subprocess.run(
                    command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert ran.returncode == 0, ran.stdout + ran.stderr
                printed = ran.stdout
            case "python":
                assert (tmp_path / replaced(page, code)).exists()
                (tmp_path / replaced(page, code)).write_text(code)
            case _:
                assert printed == code


@pytest.mark.parametrize("code", blocks((DOCS / "handlers.md").read_text(), "python"))
def test_handlers(code: str) -> None:
    """Each handler that the page on handlers shows can be made."""
    (handler,) = handlers_in(code)
    needed = {name: "http://127.0.0.1/" for name, field in handler.model_fields.items() if field.is_required()}
    assert handler.model_validate(needed)


def test_shown_tests() -> None:
    """The tests that the page on handlers shows pass."""
    names: dict[str, Any] = {"__name__": "shown"}
    (code,) = (code for code in blocks((DOCS / "handlers.md").read_text(), "python") if "def test_" in code)
    exec(compile(code, "shown", "exec"), names)  # noqa: S102  it is our own documentation
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.mark.parametrize(
    "code", [indented(README, "from fbsessiond import"), blocks((DOCS / "handlers.md").read_text(), "python")[0]]
)
async def test_shown_handler(code: str) -> None:
    """The handler that README and the page on handlers begin with does what it is asked."""
    (handler,) = handlers_in(code)
    assert isinstance(await handler().handle(make_delivery(make_transition("LeftChat"))), Done)


def test_configuration_of_the_readme(tmp_path: Path) -> None:
    """The configuration that README shows is one."""
    (tmp_path / "handlers.d").mkdir()
    (tmp_path / "handlers.d" / "escalate.py").write_text(indented(README, "from fbsessiond import"))
    path = tmp_path / "fbsessiond.toml"
    path.write_text(indented(README, "[gws]"))
    assert [route.name for route in load(path).routes()] == list(tomllib.loads(path.read_text())["handlers"])


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_toml(page: Path) -> None:
    """What is shown as TOML is TOML."""
    for text in blocks(page.read_text(), "toml"):
        assert tomllib.loads(text)

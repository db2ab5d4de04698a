import subprocess
import sys
import zipfile
from collections.abc import Generator
from pathlib import Path

import pytest

from fbsessiond.errors import ConfigurationError
from fbsessiond.handler import Handler
from fbsessiond.plugins import files_of, find_handler, installed

FIXTURES = Path(__file__).parents[1] / "fixtures"

HANDLER = """
from fbsessiond import Delivery, Done, Handler, Outcome

class {name}(Handler):
    greeting: str = "hello"

    async def handle(self, delivery: Delivery) -> Outcome:
        print(self.greeting, delivery.transition.after)
        return Done()
"""


@pytest.fixture(autouse=True)
def _modules() -> Generator[None, None, None]:
    """Forget the modules that a test brought in."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for handlers that are single files."""
    folder = tmp_path / "handlers.d"
    folder.mkdir()
    return folder


def write(path: Path, text: str) -> Path:
    """Write a file, its folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(use: str, folder: Path | None = None) -> str:
    """Return why a handler isn't found."""
    with pytest.raises(ConfigurationError) as refused:
        find_handler(use, folder)
    return str(refused.value)


@pytest.mark.parametrize(("use", "name"), [("log", "Log"), ("audit", "Audit")])
def test_entry_point(use: str, name: str) -> None:
    """A handler that is built in is found by the name of its entry point, as any installed one."""
    assert find_handler(use).__name__ == name


@pytest.mark.parametrize("use", ["greet-politely", "greet_politely"])
def test_file(folder: Path, use: str) -> None:
    """A file of the folder is found by its name, in which a hyphen may stand for an underscore."""
    write(folder / "greet_politely.py", HANDLER.format(name="Greet"))
    found = find_handler(use, folder)
    assert issubclass(found, Handler)
    assert found.model_validate({"greeting": "hi"}).model_dump() == {"greeting": "hi"}


def test_file_with_hyphens(folder: Path) -> None:
    """A file may have hyphens in its name, too, though a module could not."""
    write(folder / "greet-politely.py", HANDLER.format(name="Greet"))
    assert find_handler("greet-politely", folder).__name__ == "Greet"


def test_file_before_entry_point(folder: Path) -> None:
    """A file has precedence over an installed handler of its name: it lies nearer."""
    write(folder / "log.py", HANDLER.format(name="Greet"))
    assert find_handler("log", folder).__name__ == "Greet"


def test_file_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name never leads out of the folder, and without a folder no file is looked at."""
    write(folder / "audit.py", "raise SystemExit(99)")
    monkeypatch.chdir(folder)
    assert find_handler("audit").__name__ == "Audit"
    assert "there is no handler '../handlers.d/audit'" in refusal("../handlers.d/audit", folder)


def test_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler in an importable module is found by the module's name and its own."""
    write(tmp_path / "acme" / "__init__.py", "")
    write(tmp_path / "acme" / "wrap_up.py", HANDLER.format(name="WrapUp"))
    monkeypatch.syspath_prepend(tmp_path)
    assert find_handler("acme.wrap_up:WrapUp").__name__ == "WrapUp"


def test_imports_of_its_own(folder: Path) -> None:
    """What a file imports isn't its handler: a base from elsewhere, a handler to compare with."""
    write(folder / "mine.py", "from fbsessiond_handlers.log import Log\n" + HANDLER.format(name="Mine"))
    assert find_handler("mine", folder).__name__ == "Mine"


def test_base_of_its_own(folder: Path) -> None:
    """A file may have an abstract base beside its handler."""
    base = "from fbsessiond import Handler\n\nclass Base(Handler):\n    pass\n"
    write(folder / "mine.py", base + HANDLER.format(name="Mine").replace("(Handler)", "(Base)"))
    assert find_handler("mine", folder).__name__ == "Mine"


@pytest.mark.parametrize(
    ("use", "hint"),
    [
        ("audti", "did you mean 'audit'?"),
        ("gret", "did you mean 'greet'?"),
        ("xyzzy", "there are "),
    ],
)
def test_unknown_name(folder: Path, use: str, hint: str) -> None:
    """A name that means nothing is told with the nearest, files included, and with how one's own is named."""
    write(folder / "greet.py", HANDLER.format(name="Greet"))
    words = refusal(use, folder)
    assert f"there is no handler {use!r}: {hint}" in words
    assert "a handler of your own is named 'module:Class', or is a file" in words


def test_no_folder(tmp_path: Path) -> None:
    """A folder that isn't there has no handlers; that is no mistake by itself."""
    assert find_handler("log", tmp_path / "nowhere").__name__ == "Log"
    assert "there is no handler 'xyzzy'" in refusal("xyzzy", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import a_missing_module", "ModuleNotFoundError: No module named 'a_missing_module'"),
        ("class Half(", "SyntaxError: '(' was never closed"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = 1", "should define one handler (a subclass of fbsessiond.Handler), has none"),
        (
            HANDLER.format(name="One") + HANDLER.format(name="Two"),
            "should define one handler (a subclass of fbsessiond.Handler), has One, Two",
        ),
        ("from fbsessiond import Handler\nclass Lazy(Handler):\n    pass", "the handler Lazy lacks handle()"),
    ],
)
def test_mistakes_in_a_file(folder: Path, text: str, words: str) -> None:
    """A file that can't be used is told with its path and the reason, an exception's own words included."""
    path = write(folder / "mine.py", text)
    told = refusal("mine", folder)
    assert told.startswith(str(path))
    assert words in told


def test_failed_import_leaves_nothing(folder: Path) -> None:
    """A file whose import failed leaves no half of a module behind, and is imported anew the next time."""
    path = write(folder / "mine.py", "raise RuntimeError('not yet')")
    assert "not yet" in refusal("mine", folder)
    assert not any(name.endswith(".mine") for name in sys.modules)
    path.write_text(HANDLER.format(name="Mine"))
    assert find_handler("mine", folder).__name__ == "Mine"


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("acme_nowhere:WrapUp", "the handler can't be imported: ModuleNotFoundError: No module named 'acme_nowhere'"),
        (":WrapUp", "the handler can't be imported: ValueError: Empty module name"),
        ("fbsessiond_handlers.log:Lgo", "the module has no 'Lgo'; its handlers: Log"),
        ("json:dumps", "'json:dumps' is no handler: it should be a subclass of fbsessiond.Handler"),
        ("json:decoder.JSONDecoder", "the module has no 'decoder.JSONDecoder'; its handlers: none"),
        ("fbsessiond:Handler", "'fbsessiond:Handler': the handler Handler lacks handle()"),
        ("fbsessiond:Done", "'fbsessiond:Done' is no handler"),
    ],
)
def test_mistakes_in_a_module(use: str, words: str) -> None:
    """A module that can't be imported, or has no such handler, is told in the same way."""
    assert words in refusal(use)


def offer(site: Path, package: str, entry: str) -> None:
    """Install a package that offers a handler."""
    write(site / f"{package}-1.0.dist-info" / "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    write(site / f"{package}-1.0.dist-info" / "entry_points.txt", f"[fbsessiond.handlers]\n{entry}\n")


@pytest.mark.parametrize(
    ("entry", "use", "words"),
    [
        ("broken = acme_nowhere:WrapUp", "broken", "broken: the handler can't be imported: ModuleNotFoundError"),
        ("dumps = json:dumps", "dumps", "entry point 'dumps' is no handler"),
        ("log = json:dumps", "log", "several packages offer a handler 'log': use one of fbsessiond_handlers.log:Log, "),
    ],
)
def test_mistakes_in_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, use: str, words: str
) -> None:
    """An installed package that can't be used is told, and so are two that offer the same name."""
    offer(tmp_path, "acme", entry)
    monkeypatch.syspath_prepend(tmp_path)
    assert words in refusal(use)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of somebody's package with a handler in it."""
    path = folder / "acme_greet-1.0-py3-none-any.whl"
    info = "acme_greet-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("acme_greet.py", HANDLER.format(name="Greet"))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: acme-greet\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/entry_points.txt", "[fbsessiond.handlers]\ngreet = acme_greet:Greet\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_package_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler in a wheel is there once that is installed: named in the configuration, it runs."""
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, "--no-index", "--target", site, build_wheel(tmp_path)], check=True)
    configuration = write(tmp_path / "fbsessiond.toml", '[handlers.greet]\ngreeting = "good morning"\n')
    monkeypatch.setenv("PYTHONPATH", str(site))
    command = [sys.executable, "-m", "fbsessiond", "replay", FIXTURES / "documented" / "leave-leftchat.json"]
    ran = subprocess.run([*command, "--config", configuration], check=True, capture_output=True, text=True)
    assert "good morning LeftChat\n" in ran.stdout
    assert "GREET" in ran.stdout
    assert "delivered" in ran.stdout


def test_known_names(folder: Path) -> None:
    """What is installed and what lies in a folder can be listed; a test that lies beside its handler is none."""
    assert {"log", "audit", "operations", "webhook", "command"} <= {*installed()}
    for name in ("greet", "test_greet"):
        write(folder / f"{name}.py", HANDLER.format(name="Greet"))
    assert files_of(folder) == {"greet": folder / "greet.py"}
    assert files_of(None) == {}
    assert "there is no handler 'test_greet'" in refusal("test_greet", folder)

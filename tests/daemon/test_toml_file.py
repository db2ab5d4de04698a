"""fbsessiond.toml_file: reading what a person wrote."""

from pathlib import Path

import pytest

from fbsessiond import limits
from fbsessiond.errors import ConfigurationError
from fbsessiond.toml_file import parsed, read_text


def test_file(tmp_path: Path) -> None:
    """A file is read as text, also with the mark that other systems begin it with, and parsed."""
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 'gr\xc3\xbc\xc3\x9fe'")
    assert parsed(read_text(path), path) == {"a": "gr\u00fc\u00dfe"}


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    """A file that isn't there, or isn't text, is told by its name."""
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"a\.toml: can't read the configuration: "):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "a.toml: line 1, column 3: isn't TOML: "),
        ("a = 1\na = 2", "a.toml: line 2, column 6: isn't TOML: cannot overwrite a value"),
        (f"a = {'9' * 5000}", "a.toml: isn't TOML: Exceeds the limit"),
        ("a", "a.toml: line 1, column 2: isn't TOML: expected '=' after a key"),
        (
            f"a = {'[' * 200}{']' * 200}",
            f"a.toml: tables and lists stand in each other more than {limits.NESTING} deep",
        ),
    ],
)
def test_not_toml(text: str, words: str) -> None:
    """What isn't TOML, or too deep, is told with its place where that is known."""
    with pytest.raises(ConfigurationError) as refused:
        parsed(text, Path("a.toml"))
    assert str(refused.value).startswith(words)

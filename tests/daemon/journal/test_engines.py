import sys
from contextlib import closing
from pathlib import Path

import pytest

from fbsessiond.errors import ConfigurationError, JournalError
from fbsessiond.journal.engines import IN_MEMORY, claimed, open_journal, open_reader
from journal_parts import NOW, append, draft


async def test_relative_address(tmp_path: Path) -> None:
    """A relative address counts from the state directory; the reader finds what the journal wrote."""
    journal = open_journal("sqlite:one/journal.db", tmp_path, NOW)
    await append(journal, draft())
    reader = open_reader("sqlite:one/journal.db", tmp_path)
    assert reader.statistics().entries == 1
    assert (tmp_path / "one" / "journal.db").is_file()
    reader.close()
    journal.close()


def test_absolute_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute address, and one below a home directory, is taken as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for url in (f"sqlite:{tmp_path}/one.db", "sqlite:~/two.db"):
        open_journal(url, Path("/nonexistent"), NOW).close()
    assert (tmp_path / "one.db").is_file()
    assert (tmp_path / "two.db").is_file()


def test_colon_in_an_address(tmp_path: Path) -> None:
    """What follows the scheme is a file's name, whatever is in it."""
    open_journal("sqlite:12:30.db", tmp_path, NOW).close()
    assert (tmp_path / "12:30.db").is_file()


def test_in_memory(tmp_path: Path) -> None:
    """A journal in memory leaves no file, and nobody else can read it."""
    assert IN_MEMORY == "sqlite::memory:"
    open_journal(IN_MEMORY, tmp_path, NOW).close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(JournalError, match="there is no journal here"):
        open_reader(IN_MEMORY, tmp_path)


@pytest.mark.parametrize("url", ["", "journal.db", "sqlite:", "sqlite", "mysql://db/journal"])
def test_unknown_address(url: str, tmp_path: Path) -> None:
    """An address that no engine knows is an error of the configuration that says how one is written."""
    for opening in (lambda: open_journal(url, tmp_path, NOW), lambda: open_reader(url, tmp_path)):
        with pytest.raises(ConfigurationError, match="it is written 'sqlite:FILE'"):
            opening()


def test_unknown_home(tmp_path: Path) -> None:
    """A home directory of nobody is an error of the configuration, too."""
    with pytest.raises(ConfigurationError, match="whose home directory"):
        open_journal("sqlite:~nobody-here/journal.db", tmp_path, NOW)


async def test_claimed(tmp_path: Path) -> None:
    """Whoever has the right to a journal can open it again and again, and nobody else can; its file isn't touched."""
    with claimed("sqlite:journal.db", tmp_path) as opening:
        assert not (tmp_path / "journal.db").exists()
        for _ in range(2):
            journal = opening(NOW)
            await append(journal, draft())
            journal.close()
            with pytest.raises(JournalError, match="another fbsessiond"):
                open_journal("sqlite:journal.db", tmp_path, NOW)
    open_journal("sqlite:journal.db", tmp_path, NOW).close()


def test_claimed_in_memory(tmp_path: Path) -> None:
    """A journal in memory is anybody's."""
    with claimed(IN_MEMORY, tmp_path) as one, claimed(IN_MEMORY, tmp_path) as another:
        one(NOW).close()
        another(NOW).close()


async def test_postgresql(url: str, tmp_path: Path) -> None:
    """An address of PostgreSQL's leads there, to write, to read, and to claim."""
    with claimed(url, tmp_path) as opening:
        journal = opening(NOW)
        await append(journal, draft())
        with pytest.raises(JournalError, match="another fbsessiond"):
            open_journal(url, tmp_path, NOW)
        journal.close()
    open_journal(url, tmp_path, NOW).close()
    with closing(open_reader(url, tmp_path)) as reader:
        assert reader.statistics().entries == 1


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver isn't installed, an address of PostgreSQL's says what to do."""
    monkeypatch.setitem(sys.modules, "fbsessiond.journal.postgresql.opening", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'fbsessiond\[postgresql\]'"):
        open_journal("postgresql://db/journal", tmp_path, NOW)

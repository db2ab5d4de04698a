"""The engines by the scheme of a journal's address."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fbsessiond.errors import ConfigurationError
from fbsessiond.journal.address import shown
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY, Lock
from fbsessiond.journal.sqlite.reader import SqliteReader

if TYPE_CHECKING:
    from fbsessiond.journal.postgresql.opening import InPostgresql

IN_MEMORY = "sqlite::memory:"
"""A journal that lives as long as its process."""

Opening: TypeAlias = Callable[[datetime], Journal]
"""Opens a journal to write it, at a point in time. Raises `JournalError` where it can't be used."""


def open_journal(url: str, state_directory: Path, now: datetime) -> Journal:
    """Open a journal to write it; one daemon at a time can.

    The address is `sqlite:FILE`, where a relative path counts from the state directory, or `postgresql://…` as libpq
    has it. Raises `ConfigurationError` for an address that no engine knows, and `JournalError` where the journal can't
    be used.
    """
    if _is_in_postgresql(url):
        return _postgresql(url).open(now)
    return SqliteJournal(_path(url, state_directory), now)


@contextmanager
def claimed(url: str, state_directory: Path) -> Generator[Opening, None, None]:
    """Have the right to write a journal, for which nothing in its file is touched; yield what opens it.

    One daemon at a time can have it. Raises as `open_journal` does.
    """
    with ExitStack() as stack:
        if _is_in_postgresql(url):
            yield stack.enter_context(_postgresql(url).claimed())
            return
        path = _path(url, state_directory)
        if path != MEMORY:
            stack.callback(Lock(path).release)
        yield partial(SqliteJournal, path, is_claimed=True)


def open_reader(url: str, state_directory: Path) -> Reader:
    """Open a journal to look at it, while a daemon writes it or not. Raises as `open_journal` does."""
    if _is_in_postgresql(url):
        return _postgresql(url).read()
    return SqliteReader(_path(url, state_directory))


def _is_in_postgresql(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _postgresql(url: str) -> "InPostgresql":
    try:
        from fbsessiond.journal.postgresql.opening import InPostgresql  # noqa: PLC0415  takes 0.1 s, and needs an extra
    except ImportError as error:
        raise ConfigurationError(
            f"a journal in PostgreSQL needs an extra: `pip install 'fbsessiond[postgresql]'` ({error})"
        ) from error
    return InPostgresql(url)


def _path(url: str, state_directory: Path) -> Path:
    if url == IN_MEMORY:
        return MEMORY
    scheme, _, file = url.partition(":")
    if scheme != "sqlite" or not file:
        raise ConfigurationError(
            f"{shown(url)!r} is no journal's address; it is written 'sqlite:FILE', e.g. 'sqlite:journal.db', or "
            "'postgresql://HOST/DATABASE'"
        )
    try:
        return state_directory / Path(file).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"{shown(url)!r}: it isn't known whose home directory that is; write it out") from None

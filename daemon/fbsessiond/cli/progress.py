"""How much is done, shown to people while they wait."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Report(Protocol):
    """Told how much is done, of how much."""

    def __call__(self, done: int, all_: int, /) -> None:
        """Note progress."""
        ...


@contextmanager
def progress(what: str) -> Generator[Report, None, None]:
    """Show a progress bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, all_: int, /) -> None:
            bar.update(task, completed=done, total=all_)

        yield report

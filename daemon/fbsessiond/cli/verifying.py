"""`fbsessiond audit`: checking what the handler `audit` keeps."""

from pathlib import Path
from typing import Annotated

import typer

from fbsessiond.cli.options import AsJson, Config
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.configuration import load
from fbsessiond.errors import ConfigurationError, DiskError
from fbsessiond.handler import Handler
from fbsessiond.plugins import find_handler

app = typer.Typer(
    help="The audit file.", epilog="Example: fbsessiond audit verify --config fbsessiond.toml", no_args_is_help=True
)

HANDLER = "audit"


@app.callback()
def _group() -> None:
    """The audit file."""


@app.command(epilog="Example: fbsessiond audit verify /var/lib/fbsessiond/audit.jsonl")
def verify(
    path: Annotated[
        Path | None, typer.Argument(help="The audit file; by default those of the configuration.", show_default=False)
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check that no line was changed, removed or swapped.

    Exit status: 0 the chain is whole, 1 it is broken, 74 a file can't be read.
    """
    found = 0
    for name, handler in _handlers(path, config):
        found_here = _show(handler, as_json=as_json)
        found += found_here
        if not found_here and not as_json:
            print_line(f"{name}: the chain is whole.")
    if found:
        raise typer.Exit(1)


def _show(handler: Handler, *, as_json: bool) -> int:
    """Print what is wrong with what a handler keeps; return how much is."""
    found = 0
    try:
        for finding in handler.verify():
            found += 1
            if as_json:
                print_json({"where": finding.where, "what": finding.what})
            else:
                print_line(f"{finding.where}: {finding.what}")
    except OSError as error:
        raise DiskError(f"can't read the audit file: {error}") from error
    return found


def _handlers(path: Path | None, config: Path | None) -> list[tuple[str, Handler]]:
    kind = find_handler(HANDLER)
    if path is not None:
        if not path.is_file():
            raise typer.BadParameter(f"{path}: there is no such file")
        return [(str(path), kind.model_validate({"path": path.absolute()}))]
    handlers = [(route.name, route.handler) for route in load(config).routes() if isinstance(route.handler, kind)]
    if not handlers:
        raise ConfigurationError(f"the configuration has no handler {HANDLER!r}; name the file to check")
    return handlers

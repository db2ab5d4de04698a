"""`fbsessiond audit`: checking what the handler `audit` keeps."""

from pathlib import Path
from typing import Annotated

import typer

from fbsessiond.cli.options import AsJson, Config
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.configuration import load
from fbsessiond.errors import ConfigurationError
from fbsessiond.handler import Handler
from fbsessiond.plugins import find_handler

app = typer.Typer(help="The audit file.", no_args_is_help=True)

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
    """Check that no line was changed, removed, inserted or swapped. Exit status 1 if one was."""
    found = 0
    for name, handler in _handlers(path, config):
        for finding in handler.verify():
            found += 1
            if as_json:
                print_json({"where": finding.where, "what": finding.what})
            else:
                print_line(f"{finding.where}: {finding.what}")
        if not found and not as_json:
            print_line(f"{name}: the chain is whole.")
    if found:
        raise typer.Exit(1)


def _handlers(path: Path | None, config: Path | None) -> list[tuple[str, Handler]]:
    if path is not None:
        if not path.is_file():
            raise typer.BadParameter(f"{path}: there is no such file")
        return [(str(path), find_handler(HANDLER, Path()).model_validate({"path": path.absolute()}))]
    kind = find_handler(HANDLER, Path())
    handlers = [(route.name, route.handler) for route in load(config).routes() if isinstance(route.handler, kind)]
    if not handlers:
        raise ConfigurationError(f"the configuration has no handler {HANDLER!r}; name the file to check")
    return handlers

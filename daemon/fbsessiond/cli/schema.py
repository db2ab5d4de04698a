"""`fbsessiond schema`: what is written, and what arrives, described for other programs."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from fbsessiond.cli.options import Config
from fbsessiond.cli.printing import print_line
from fbsessiond.configuration import load
from fbsessiond.errors import ConfigurationError
from fbsessiond.handler import Handler
from fbsessiond.plugins import files_of, find_handler, installed
from fbsessiond.printable import printable
from fbsessiond.schemas.configuration import configuration_schema
from fbsessiond.schemas.notifications import asyncapi as asyncapi_document
from fbsessiond.schemas.notifications import notification_schema

app = typer.Typer(
    help="Schemas of the configuration and the notifications.",
    epilog="Example: fbsessiond schema config > fbsessiond.schema.json",
    no_args_is_help=True,
)


@app.command(name="config", epilog="Example: fbsessiond schema config > fbsessiond.schema.json")
def config_(config: Config = None) -> None:
    """Print the JSON Schema of the configuration.

    An editor that has it completes and checks the file: begin it with `#:schema ./fbsessiond.schema.json`.
    It knows the options of the handlers that are installed, and of those in handlers.d beside the configuration.
    """
    _print(configuration_schema(handlers(_folder(config))))


@app.command(epilog="Example: fbsessiond schema notification")
def notification() -> None:
    """Print the JSON Schema of a notification."""
    _print(notification_schema())


@app.command(epilog="Example: fbsessiond schema asyncapi > notifications.json")
def asyncapi() -> None:
    """Print an AsyncAPI 3 document of the notifications."""
    _print(asyncapi_document())


def handlers(folder: Path | None = None) -> dict[str, type[Handler]]:
    """Return all handlers that can be named; one that can't be used is said to be left out, and why."""
    found: dict[str, type[Handler]] = {}
    for name in sorted({*installed(), *files_of(folder)}):
        try:
            found[name] = find_handler(name, folder)
        except ConfigurationError as error:
            _warn(f"a handler is left out: {error}")
    return found


def _folder(config: Path | None) -> Path | None:
    """Return handlers.d of a configuration; none of one that is wrong, which the schema may be to help with."""
    try:
        return load(config).handlers_directory
    except ConfigurationError as error:
        _warn(f"handlers.d is left out, since the configuration is wrong: {error}")
        return None


def _warn(text: str) -> None:
    for line in text.split("\n"):
        sys.stderr.write(f"fbsessiond: {printable(line)}\n")


def _print(document: dict[str, Any]) -> None:
    for line in json.dumps(document, indent=2).split("\n"):
        print_line(line)

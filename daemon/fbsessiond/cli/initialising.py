"""`fbsessiond init`: a configuration to begin with."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from fbsessiond.cli.printing import print_line
from fbsessiond.cli.schema import handlers
from fbsessiond.cli.writing import write_new
from fbsessiond.schemas.commented import commented_configuration
from fbsessiond.schemas.configuration import configuration_schema

EPILOG = """Examples:

fbsessiond init

fbsessiond init --config /etc/fbsessiond/fbsessiond.toml"""


def init(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", envvar="FBSESSIOND_CONFIG", help="Where to write it.")
    ] = Path("fbsessiond.toml"),
) -> None:
    """Write a configuration, with a comment for each setting.

    Beside it goes its JSON Schema, with which an editor completes and checks it. Nothing is overwritten.
    """
    schema = configuration_schema(handlers())
    schema_file = config.with_suffix(".schema.json")
    write_new(
        {
            config: commented_configuration(schema, f"./{schema_file.name}"),
            schema_file: f"{json.dumps(schema, indent=2)}\n",
        }
    )
    option = "" if config == Path("fbsessiond.toml") else f" --config {shlex.quote(str(config))}"
    print_line(f"{config} is written, and {schema_file.name} beside it for an editor. Next:")
    print_line("")
    print_line(f"  fbsessiond check{option}    # once url, username and password are yours")
    print_line(f"  fbsessiond run{option}")

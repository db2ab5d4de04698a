"""`fbsessiond check`: the configuration, then the environment that it needs."""

import asyncio
from typing import Annotated

import typer

from fbsessiond.chance import SeededChance
from fbsessiond.cli.options import AsJson, Config
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.clock import SystemClock
from fbsessiond.configuration import load
from fbsessiond.environment_check import check_environment

EPILOG = """Example: fbsessiond check --config fbsessiond.toml

Exit status: 0 fine, 69 GWS can't be reached, 74 the journal can't be used, 77 GWS refuses the credentials,
78 the configuration is wrong."""


def check(
    config: Config = None,
    no_environment: Annotated[bool, typer.Option("--no-environment", help="Check the configuration alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the configuration, then its environment.

    That is: secrets, folders, the journal, and one handshake with GWS.
    """

    def say(what: str, found: str) -> None:
        if as_json:
            print_json({"check": what, "found": found})
        else:
            print_line(f"{what}: {found}")

    configuration = load(config)
    routes = configuration.routes()
    say("configuration", f"fine, with the handlers {', '.join(route.name for route in routes) or '(none)'}")
    if not no_environment:
        asyncio.run(check_environment(configuration, routes, say, SystemClock(), SeededChance()))

"""`fbsessiond check`: the configuration, then the environment that it needs."""

import asyncio
from typing import Annotated

import typer

from fbsessiond.chance import SeededChance
from fbsessiond.cli.options import AsJson, Config
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.clock import SystemClock
from fbsessiond.configuration import load
from fbsessiond.health import ask
from fbsessiond.printable import printable

EPILOG = """Examples:

fbsessiond check --config fbsessiond.toml

fbsessiond check --live         # is a daemon there, and does it go round? For a container's health check

fbsessiond check --ready        # does it hear notifications, and is everything known that it may have missed?

Exit status: 0 fine, 1 not alive or not ready, 69 GWS can't be reached, 74 the journal can't be used,
77 GWS refuses the credentials, 78 the configuration is wrong."""


def check(
    config: Config = None,
    no_environment: Annotated[bool, typer.Option("--no-environment", help="Check the configuration alone.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Ask the daemon that runs with it whether it lives.")] = False,
    ready: Annotated[bool, typer.Option("--ready", help="Ask it whether it is ready.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the configuration and its environment.

    The environment is: secrets, folders, the journal, and one handshake with GWS.
    """

    def say(what: str, found: str) -> None:
        if as_json:
            print_json({"check": what, "found": found})
        else:
            print_line(f"{what}: {found}")

    configuration = load(config)
    if live or ready:
        http = configuration.settings.http
        is_well, words = ask(http.listen, "/readyz?verbose", http.read_token()) if ready else ask(http.listen, "/livez")
        for line in words.split("\n"):
            say("daemon", printable(line))
        raise typer.Exit(0 if is_well else 1)
    from fbsessiond.environment_check import check_environment  # noqa: PLC0415  a health check is asked often

    routes = configuration.routes()
    say("configuration", f"fine, with the handlers {', '.join(route.name for route in routes) or '(none)'}")
    if not no_environment:
        asyncio.run(check_environment(configuration, routes, say, SystemClock(), SeededChance()))

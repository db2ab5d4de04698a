"""`fbsessiond run`: the daemon."""

import asyncio
from typing import Annotated, Literal

import typer

from fbsessiond import collecting
from fbsessiond.chance import SeededChance
from fbsessiond.cli.options import Config
from fbsessiond.clock import SystemClock
from fbsessiond.configuration import load
from fbsessiond.environment import notify_socket
from fbsessiond.logs import configure_logs
from fbsessiond.service import run_daemon
from fbsessiond.service_manager import ServiceManager

EPILOG = """Example: fbsessiond run --config fbsessiond.toml

Stops on SIGTERM and SIGINT; SIGHUP has it read its configuration again. Exit status: 0 stopped, 74 the disk failed,
77 GWS refused the credentials, 78 the configuration is wrong."""


def run(
    config: Config = None,
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option(help="What to log.")] = "info",
) -> None:
    """Run the daemon.

    It receives notifications, journals them, and hands transitions to the handlers.
    """
    clock = SystemClock()
    configure_logs(clock, log_level)
    configuration = load(config)
    collecting.begin()
    manager = ServiceManager(notify_socket())
    asyncio.run(run_daemon(configuration, clock, SeededChance(), reload=lambda: load(config), manager=manager))

"""The command line. What a person reads goes to standard output, what is logged to standard error."""

import io
import sys

from fbsessiond.cli.application import app
from fbsessiond.cli.printing import flush
from fbsessiond.clock import SystemClock
from fbsessiond.errors import FbsessiondError
from fbsessiond.logs import configure_logs, printable


def main() -> None:
    """Run the command line; an error that a person can do something about is told in its words, and sets the status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # as JSON is; and no letter in a name can stop a command
    configure_logs(SystemClock(), "error")  # what a command has to tell, it prints
    try:
        try:
            app()
        finally:
            flush()
    except FbsessiondError as error:
        for line in str(error).split("\n"):
            sys.stderr.write(f"fbsessiond: {printable(line)}\n")
        sys.exit(error.exit_status)

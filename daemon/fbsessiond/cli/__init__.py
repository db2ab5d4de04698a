"""The command line. What a person reads goes to standard output, what is logged to standard error."""

import os
import sys

from fbsessiond.cli.application import app
from fbsessiond.errors import FbsessiondError


def main() -> None:
    """Run the command line; an error that a person can do something about is told in its words, and sets the status."""
    try:
        app()
    except FbsessiondError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"fbsessiond: {line}\n")
        sys.exit(error.exit_status)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

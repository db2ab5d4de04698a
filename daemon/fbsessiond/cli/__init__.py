"""The command line. What a person reads goes to standard output, what is logged to standard error."""

import io
import logging
import sys

from fbsessiond.cli.application import app
from fbsessiond.cli.log import logger
from fbsessiond.cli.printing import flush
from fbsessiond.crashes import log_crashes
from fbsessiond.errors import FbsessiondError
from fbsessiond.printable import printable


def main() -> None:
    """Run the command line; an error that a person can do something about is told in its words, and sets the status.

    Any other is a bug: it is logged without its text, which could hold customer data, and the status is 1.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # as JSON is; and no letter in a name can stop a command
    log_crashes(logger)
    logging.captureWarnings(capture=True)
    try:
        try:
            app()
        finally:
            flush()
    except FbsessiondError as error:
        for line in str(error).split("\n"):
            sys.stderr.write(f"fbsessiond: {printable(line)}\n")
        sys.exit(error.exit_status)
    except Exception:
        log = logger()
        log.critical("crashed", exc_info=True, hint="this is a mistake in fbsessiond or in a handler: please report it")
        sys.exit(1)

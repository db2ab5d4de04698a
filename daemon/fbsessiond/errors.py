"""One class of error for each reaction.

    FbsessiondError
    ├── ConfigurationError   exit 78   a person changes the configuration; the journal is untouched
    ├── RefusedError         exit 77   a person corrects the credentials; trying again could lock the account
    ├── UnavailableError     exit 69   GWS can't be reached; trying again later can help
    └── DiskError            exit 74   the disk failed; nothing is acknowledged any more, the daemon stops
        └── JournalError               the same, or the journal can't be used

Anything else that escapes is a bug: the daemon crashes, and the service manager starts it anew.
The exit statuses are those of sysexits.h.
"""

from typing import ClassVar


class FbsessiondError(Exception):
    """Base of all errors that a person can do something about. Its text says what, where, and what to do."""

    exit_status: ClassVar[int] = 1


class ConfigurationError(FbsessiondError):
    """The configuration, or a handler that it names, can't be used as it is."""

    exit_status = 78


class RefusedError(FbsessiondError):
    """GWS refused the credentials. An agent's that is alone end the daemon: nothing is to lock the account."""

    exit_status = 77


class UnavailableError(FbsessiondError):
    """GWS can't be reached, or doesn't answer in the way that it should."""

    exit_status = 69


class DiskError(FbsessiondError):
    """A write or a sync failed in a way that leaves unknown what is on disk. A handler may raise it, too."""

    exit_status = 74


class JournalError(DiskError):
    """The journal can't be opened, read or written."""

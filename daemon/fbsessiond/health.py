"""Asking a running daemon how it is, over the HTTP interface that its configuration names."""

import http.client
import socket

from fbsessiond.errors import ConfigurationError
from fbsessiond.listening import UNIX

ANSWER_SECONDS = 5.0
LONGEST_BYTES = 65_536


def ask(listen: str, path: str, token: str | None = None) -> tuple[bool, str]:
    """Say whether the daemon that listens there answers a path with success, and what it answers.

    `listen` is `[http] listen`, and `token` what is needed to look from beyond this machine, if that is possible.
    Raises `ConfigurationError` where it doesn't listen.
    """
    if not listen:
        raise ConfigurationError("http.listen: is off, so that a daemon can't be asked; give it an address")
    connection = _UnixConnection(listen.removeprefix(UNIX)) if listen.startswith(UNIX) else _connection(listen)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        text = response.read(LONGEST_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"nothing answers at {listen}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return response.status == http.client.OK, text.strip()


def _connection(listen: str) -> http.client.HTTPConnection:
    host, _, port = listen.rpartition(":")
    return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=ANSWER_SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

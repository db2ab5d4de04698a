"""Where the HTTP interface may listen: on this machine, or with a token beyond it."""

import re
from ipaddress import ip_address

UNIX = "unix:"
"""Begins where to listen if that is the path of a Unix socket."""

HIGHEST_PORT = 65_535

_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d{1,5})", re.ASCII)
"""`127.0.0.1:8707`, `localhost:0`, `[::1]:8707`."""


def check_place(place: str, *, has_token: bool) -> str:
    """Return where to listen, or nowhere where it is empty. Raises `ValueError` where it can't, or shouldn't, be."""
    if not place or (place.startswith(f"{UNIX}/") and "\0" not in place):
        return place
    match = _HOST_AND_PORT.fullmatch(place)
    if match is None or int(match[3]) > HIGHEST_PORT:
        raise ValueError("should be HOST:PORT, as '127.0.0.1:8707', or unix:PATH, as 'unix:/run/http.sock', or ''")
    if is_loopback(host := match[1] or match[2]):
        return place
    if not has_token:
        raise ValueError(
            "should be a loopback address or unix:PATH: "
            "beyond this machine it needs a token, as token = { file = '/etc/fbsessiond/http-token' }"
        )
    try:
        ip_address(host)
    except ValueError:
        raise ValueError("should be an address of this machine, as '10.0.0.5:8707': no name is looked up") from None
    return place


def is_loopback(host: str) -> bool:
    """Say whether a host, an address without brackets, is reached from this machine alone."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(listen: str) -> str:
    """Return the host of an address such as `127.0.0.1:8707` or `[::1]:8707`, without brackets."""
    return listen.rpartition(":")[0].strip("[]")

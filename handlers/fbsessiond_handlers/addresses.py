"""Which addresses a request may go to, asked when a connection is made: after all redirects and DNS.

A request that somebody else can steer, by a redirect or by what a name resolves to, must not reach what is behind the
firewall: the metadata service of a cloud, a database's port, the daemon's own. [Standard Webhooks, SSRF]

An earlier look at the name or at the url would not do: a name can resolve to something else a moment later, and
127.0.0.1 has many spellings (`2130706433`, `0x7f.1`, `::ffff:7f00:1`).
"""

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeAlias

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]
"""What `getaddrinfo` says: family, kind, protocol, canonical name, and where: the address first."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that IANA gives away; link-local, unique-local, multicast and IPv4-compatible addresses are outside it."""
_6TO4 = IPv6Network("2002::/16")
"""Holds an IPv4 address that a relay would go to. Teredo, the other such tunnel, isn't global to `ipaddress`."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""Holds an IPv4 address that a translator goes to: how a host without IPv4 reaches the rest. [RFC 6052 §2.1]"""


class NotPublicError(OSError):
    """A connection to an address that isn't public was refused here, before anything was sent."""


def is_public(address: str) -> bool:
    """Say whether an address, as the socket gets it, is anywhere in the public internet."""
    try:
        found = ip_address(address)
    except ValueError:  # a spelling that only the system's resolver would understand
        return False
    if isinstance(found, IPv6Address):
        if (inner := _ipv4_in(found)) is None:
            return found in _GLOBAL_UNICAST and found.is_global and found not in _6TO4
        found = inner
    return found.is_global and not found.is_multicast


def public_socket(address: AddressInfo) -> socket.socket:
    """Make the socket for a connection to an address (aiohttp's `socket_factory`). Raises `NotPublicError`."""
    family, kind, protocol, _, where = address
    if family not in {socket.AF_INET, socket.AF_INET6} or not is_public(str(where[0])):
        words = f"{where[0]} isn't a public address; allow_private or private_hosts would let it through"
        raise NotPublicError(errno.EACCES, words)
    return socket.socket(family, kind, protocol)


def _ipv4_in(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped

import socket

import pytest

from fbsessiond_handlers.addresses import NotPublicError, is_public, public_socket

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "127.8.9.10", "::1"],
    "private": ["10.0.0.1", "172.16.5.4", "192.168.1.1", "fd00::1", "fec0::1"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%lo"],
    "shared and reserved": ["100.64.0.1", "192.0.2.1", "198.18.0.1", "240.0.0.1", "255.255.255.255", "2001:db8::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104  never bound
    "multicast": ["224.0.0.1", "239.1.2.3", "ff02::1"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:a00:1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"],
    "tunnels": ["2002:7f00:1::1", "2002:808:808::1", "2001:0:7f00:1::1"],
    "no address": ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", ""],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """An address of the public internet may be gone to, and so may one that a translator maps into IPv6."""
    assert is_public(address)


@pytest.mark.parametrize("address", [address for addresses in NOT_PUBLIC.values() for address in addresses])
def test_not_public(address: str) -> None:
    """Everything else may not, however it is spelled or wrapped: what isn't understood isn't public."""
    assert not is_public(address)


@pytest.mark.parametrize(
    ("family", "where"),
    [(socket.AF_INET, ("8.8.8.8", 443)), (socket.AF_INET6, ("2606:4700::1111", 443, 0, 0))],
)
def test_socket(family: int, where: tuple[str, int]) -> None:
    """For a public address there is a socket of its family, not yet connected."""
    with public_socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)) as made:
        assert (made.family, made.type) == (family, socket.SOCK_STREAM)


@pytest.mark.parametrize(
    ("family", "where"),
    [
        (socket.AF_INET, ("127.0.0.1", 443)),
        (socket.AF_INET, ("2130706433", 443)),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 443, 0, 0)),
        (socket.AF_UNIX, ("8.8.8.8", 443)),
    ],
)
def test_no_socket(family: int, where: tuple[str, int]) -> None:
    """For any other there is none, and the error says how it could be let through."""
    with pytest.raises(NotPublicError, match=r"isn't a public address; allow_private or private_hosts"):
        public_socket((family, socket.SOCK_STREAM, 0, "", where))

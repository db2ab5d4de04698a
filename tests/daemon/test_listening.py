"""fbsessiond.listening: where the HTTP interface may be."""

import re

import pytest

from fbsessiond.listening import check_place, host_of, is_loopback


@pytest.mark.parametrize(
    "listen",
    [
        "",
        "127.0.0.1:8707",
        "127.255.0.1:0",
        "[::1]:65535",
        "localhost:80",
        "LOCALHOST:80",
        "unix:/run/fbsessiond/http.sock",
        "unix:/a b:1",
    ],
)
def test_listening_here(listen: str) -> None:
    """HTTP is served at a loopback address, at a Unix socket, or nowhere."""
    assert check_place(listen, has_token=False) == listen


@pytest.mark.parametrize(
    "listen",
    [
        "8707",
        ":8707",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:-1",
        "localhost:٨",
        "localhost:65536",
        "localhost:100000",
        "::1:8707",
        "[]:8707",
        "[::1]",
        "http://localhost:8707",
        "unix:",
        "unix:http.sock",
        "unix:@abstract",
        "unix:/a\0b",
        "/run/http.sock",
    ],
)
def test_listening_nowhere(listen: str) -> None:
    """What is neither a host with a port nor the whole path of a Unix socket is told with what is."""
    expected = "should be HOST:PORT, as '127.0.0.1:8707', or unix:PATH, as 'unix:/run/http.sock', or ''"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        check_place(listen, has_token=True)


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:8707", "[::]:8707", "192.168.1.1:8707", "[2001:db8::1]:8707", "gws.example:8707", "*:8707", "a/b:1"],
)
def test_listening_elsewhere(listen: str) -> None:
    """An address at which others than this machine could ask is refused, and the reason is told."""
    with pytest.raises(
        ValueError, match=r"^should be a loopback address or unix:PATH: beyond this machine it needs a t"
    ):
        check_place(listen, has_token=False)


@pytest.mark.parametrize("listen", ["0.0.0.0:8707", "[::]:8707", "192.168.1.1:8707", "unix:/run/s", "127.0.0.1:1", ""])
def test_listening_with_a_token(listen: str) -> None:
    """With a token HTTP is served at any address of this machine."""
    assert check_place(listen, has_token=True) == listen


@pytest.mark.parametrize("listen", ["gws.example:8707", "*:8707", "a/b:1"])
def test_listening_at_a_name(listen: str) -> None:
    """But at no name: none is looked up."""
    with pytest.raises(
        ValueError, match=r"^should be an address of this machine, as '10.0.0.5:8707': no name is looked"
    ):
        check_place(listen, has_token=True)


@pytest.mark.parametrize(
    ("listen", "host"), [("127.0.0.1:8707", "127.0.0.1"), ("[::1]:0", "::1"), ("localhost:1", "localhost")]
)
def test_host(listen: str, host: str) -> None:
    """An address's host is what stands before the port, without brackets."""
    assert host_of(listen) == host


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("localhost", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback(host: str, is_here: bool) -> None:
    """A host is this machine's own by its number, or as `localhost`; no other name is looked up."""
    assert is_loopback(host) == is_here

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from fbsessiond.page.guard import (
    COOKIE,
    PEERS,
    SIGNED_IN,
    WRONG_SECONDS,
    WRONG_TOKENS,
    Changing,
    Guard,
    Place,
    Refusal,
    place_of,
)
from page_parts import TOKEN
from simulator_parts import HandClock

OWN = {"Host": "localhost:8707", "Content-Type": "application/json", "Origin": "http://localhost:8707"}
"""The headers of a change that comes from the page."""


def request(remote: str = "127.0.0.1", **headers: str) -> web.Request:
    """Return a request with these headers."""
    return make_mocked_request("POST", "/", headers=headers).clone(remote=remote)


def bearer(token: str = TOKEN, remote: str = "127.0.0.1") -> web.Request:
    """Return a change by a program that sends a token."""
    return request(remote, **{**OWN, "Authorization": f"Bearer {token}"})


def signed_in(guard: Guard, **headers: str) -> web.Request:
    """Return a change by a page that has signed in."""
    cookie = guard.sign_in(request(**OWN), TOKEN)
    assert isinstance(cookie, str)
    return request(**{**OWN, "Cookie": f"{COOKIE}={cookie}", **headers})


def status(refusal: Refusal | str | None) -> int | None:
    """Return with which status somebody gets nothing."""
    return refusal.status if isinstance(refusal, Refusal) else None


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("unix:/run/http.sock", Place.UNIX),
        ("127.0.0.1:8707", Place.LOOPBACK),
        ("[::1]:8707", Place.LOOPBACK),
        ("localhost:0", Place.LOOPBACK),
        ("10.0.0.5:8707", Place.BEYOND),
        ("[2001:db8::5]:8707", Place.BEYOND),
        ("0.0.0.0:8707", Place.BEYOND),
    ],
)
def test_places(listen: str, place: Place) -> None:
    """An address is a Unix socket's, this machine's, or one beyond it."""
    assert place_of(listen) is place


@pytest.mark.parametrize(
    ("place", "token", "looks", "changes", "changing"),
    [
        (Place.LOOPBACK, None, None, 403, Changing.OFF),
        (Place.LOOPBACK, TOKEN, None, 401, Changing.SIGN_IN),
        (Place.UNIX, None, None, None, Changing.ALLOWED),
        (Place.UNIX, TOKEN, None, 401, Changing.SIGN_IN),
        (Place.BEYOND, TOKEN, 401, 401, Changing.SIGN_IN),
    ],
)
def test_strangers(place: Place, token: str | None, looks: int | None, changes: int | None, changing: Changing) -> None:
    """Who sends no token may look on this machine, and change something on a Unix socket that has none."""
    guard = Guard(place, token, HandClock())
    assert status(guard.refuses_to_show(request())) == looks
    assert status(guard.refuses_to_change(request(**OWN))) == changes
    assert guard.changing(request(**OWN)) is changing


@pytest.mark.parametrize("place", Place)
def test_token(place: Place) -> None:
    """With the token anybody may do everything, as a bearer or signed in."""
    guard = Guard(place, TOKEN, HandClock())
    for known in (bearer(), signed_in(guard)):
        assert guard.refuses_to_show(known) is None
        assert guard.refuses_to_change(known) is None
    assert guard.changing(signed_in(guard)) is Changing.ALLOWED
    assert status(guard.refuses_to_change(bearer("wrong"))) == 401
    assert guard.changing(bearer()) is Changing.SIGN_IN, "nobody can try tokens out there"


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({}, True),
        ({"Origin": "https://localhost:8707"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost:9999"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://the-proxy.example"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Content-Type": "text/plain"}, False),
        ({"Content-Type": "application/x-www-form-urlencoded"}, False),
    ],
)
def test_origins(headers: dict[str, str], is_own: bool) -> None:
    """A change comes from the page itself, or from no browser, and is JSON: no other page's form can make one."""
    guard = Guard(Place.UNIX, None, HandClock())
    assert status(guard.refuses_to_change(request(**{**OWN, **headers}))) == (None if is_own else 403)
    program = {name: value for name, value in OWN.items() if name != "Origin"}
    assert guard.refuses_to_change(request(**program)) is None


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "x",
        ".",
        "1.2",
        "99999999999.",
        "99999999999.0123",
        "9" * 5_000,
        "²." + "0" * 64,
        "-1." + "0" * 64,
        "99999999999.é",
    ],
)
def test_forged_cookies(cookie: str) -> None:
    """A cookie that wasn't signed with the token stands for nothing."""
    guard = Guard(Place.BEYOND, TOKEN, HandClock())
    assert not guard.is_signed_in(request(Cookie=f"{COOKIE}={cookie}"))
    assert not guard.is_signed_in(request())


def test_end_of_cookies() -> None:
    """A cookie ends at its time, which can't be changed, and with the token."""
    clock = HandClock()
    guard = Guard(Place.BEYOND, TOKEN, clock)
    cookie = guard.sign_in(request(**OWN), TOKEN)
    assert isinstance(cookie, str)
    until, _, signature = cookie.partition(".")

    def stands(guard: Guard, cookie: str = cookie) -> bool:
        return guard.is_signed_in(request(Cookie=f"{COOKIE}={cookie}"))

    assert stands(guard)
    assert not stands(guard, f"{int(until) + 1}.{signature}")
    assert not stands(Guard(Place.BEYOND, f"{TOKEN}x", clock))
    assert not stands(Guard(Place.LOOPBACK, None, clock))
    clock.seconds = SIGNED_IN.total_seconds() - 1
    assert stands(guard)
    clock.seconds += 1
    assert not stands(guard)


def test_sign_in() -> None:
    """Only the token signs in, where there is one."""
    assert status(Guard(Place.BEYOND, TOKEN, HandClock()).sign_in(request(**OWN), "wrong")) == 401
    assert status(Guard(Place.LOOPBACK, None, HandClock()).sign_in(request(**OWN), "")) == 403
    assert status(Guard(Place.BEYOND, TOKEN, HandClock()).sign_in(request(**OWN), "\udc80")) == 401


def test_guessing() -> None:
    """After a few wrong tokens a peer isn't listened to for a while, not even with the right one; others are."""
    clock = HandClock()
    guard = Guard(Place.BEYOND, TOKEN, clock)
    known = signed_in(guard)
    for second in range(WRONG_TOKENS):
        clock.seconds = second
        assert status(guard.refuses_to_show(bearer("wrong"))) == 401
    refusal = guard.refuses_to_show(bearer())
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (429, {"Retry-After": f"{WRONG_SECONDS:.0f}"})
    assert status(guard.sign_in(request(**OWN), TOKEN)) == 429
    assert guard.refuses_to_show(bearer(remote="10.0.0.9")) is None
    assert guard.refuses_to_show(known) is None, "who has signed in isn't asked for the token"
    clock.seconds = WRONG_TOKENS - 1 + WRONG_SECONDS
    assert guard.refuses_to_show(bearer()) is None


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "", True),
    ],
)
def test_peers(first: str, second: str, is_one: bool) -> None:
    """Of IPv6 all addresses of a network count as one: whoever has one has them all."""
    guard = Guard(Place.BEYOND, TOKEN, HandClock())
    for _ in range(WRONG_TOKENS):
        guard.refuses_to_show(bearer("wrong", first))
    assert status(guard.refuses_to_show(bearer(remote=second))) == (429 if is_one else None)


def test_many_peers() -> None:
    """However many peers guess, only some are remembered: the latest."""
    guard = Guard(Place.BEYOND, TOKEN, HandClock())
    for _ in range(WRONG_TOKENS):
        guard.refuses_to_show(bearer("wrong", "first"))
    for number in range(PEERS):
        guard.refuses_to_show(bearer("wrong", f"peer {number}"))
    assert guard.refuses_to_show(bearer(remote="first")) is None

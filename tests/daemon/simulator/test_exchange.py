"""fbsessiond.simulator.exchange: requests and answers as values."""

import pytest

from fbsessiond.simulator.exchange import Response, answered, decoded, ok, refused
from fbsessiond.simulator.operations import Refusal, StatusCode


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"a": [1]}', {"a": [1]}), (b"7", 7), (b"", None), (b"{", None), (b'"\xff"', None), (b"[" * 5000, None)],
)
def test_decoding(body: bytes, expected: object) -> None:
    """What isn't JSON is None."""
    assert decoded(body) == expected


def test_a_success() -> None:
    """The statusCode is 0, with what was asked for."""
    assert ok() == Response(200, b'{"statusCode":0}')
    assert ok(uris=["x"]) == Response(200, b'{"statusCode":0,"uris":["x"]}')


def test_a_refusal() -> None:
    """The statusCode decides on the HTTP status."""
    refusal = Refusal(StatusCode.NOT_FOUND, "Not here")
    assert refused(refusal) == Response(404, b'{"statusCode":6,"statusMessage":"Not here"}')


def test_json() -> None:
    """Any status, any content; it is sent whole, as JSON."""
    response = answered(418, ["tea"])
    assert response == Response(418, b'["tea"]')
    assert (response.content_type, response.cut) == ("application/json", False)

import pytest

from fbsessiond.gws.answers import read_answer
from fbsessiond.gws.requests import RequestResult, result_of


@pytest.mark.parametrize(
    ("http", "content", "result"),
    [
        (200, b'{"statusCode": 0}', RequestResult.PASSED_ON),
        (200, b'{"statusCode": 7}', RequestResult.PASSED_ON),
        (200, b'{"statusCode": 2}', RequestResult.REFUSED),
        (500, b'{"statusCode": 4}', RequestResult.REFUSED),
        (403, b'{"statusCode": 20}', RequestResult.NOT_SIGNED_IN),
        (401, b"", RequestResult.NOT_SIGNED_IN),
        (403, b"CSRF token missing", RequestResult.NOT_SIGNED_IN),
        (502, b"<html>", RequestResult.NO_STATUS_CODE),
        (200, b"{}", RequestResult.NO_STATUS_CODE),
    ],
)
def test_result(http: int, content: bytes, result: RequestResult) -> None:
    """What an answer means for its request is one of a few words."""
    assert result_of(read_answer(http, content)) is result

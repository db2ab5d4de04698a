"""What GWS answers, and what that means for trying again."""

import json

import pytest

from fbsessiond.gws.answers import STATUS_CODES, Answer, InDoubt, NotPerformed, check_performed, read_answer

AGAIN = {4, 9, 12, 20}
PASSED_ON = {0, 7}


def answer(http: int, **body: object) -> Answer:
    """Return an answer with a JSON body."""
    return read_answer(http, json.dumps(body).encode())


@pytest.mark.parametrize("code", sorted(PASSED_ON))
def test_passed_on(code: int) -> None:
    """An answer that says "passed on" is returned as it is, with its reference."""
    said = answer(200, statusCode=code, referenceId=35)
    assert check_performed(said) is said
    assert said.reference_id == 35


@pytest.mark.parametrize("code", sorted(set(STATUS_CODES) - PASSED_ON))
def test_status_codes(code: int) -> None:
    """Every other status code of the table says that nothing changed, what it means, and whether to try again."""
    with pytest.raises(NotPerformed, match=f"status code {code}: {STATUS_CODES[code].means}") as caught:
        check_performed(answer(500, statusCode=code, statusMessage="…"))
    assert caught.value.code == code
    assert caught.value.again is (code in AGAIN)


def test_the_table_is_whole() -> None:
    """The table has the codes that the platform documents: 0 to 20."""
    assert set(STATUS_CODES) == set(range(21))


def test_unknown_status_code() -> None:
    """A code that isn't in the table changed nothing, either; trying again is no help."""
    with pytest.raises(NotPerformed, match="status code 99: a status code that isn't in the table") as caught:
        check_performed(answer(200, statusCode=99))
    assert not caught.value.again
    with pytest.raises(NotPerformed, match=r"^status code: a status code that isn't in the table"):
        check_performed(read_answer(200, b'{"statusCode": 15551234567}'))


@pytest.mark.parametrize(("http", "again"), [(400, False), (404, False), (408, True), (425, True), (429, True)])
def test_refusal_without_a_status_code(http: int, again: bool) -> None:
    """A 4xx without the platform's body was refused on the way: nothing changed."""
    with pytest.raises(NotPerformed, match=f"HTTP {http}") as caught:
        check_performed(read_answer(http, b"<html>no</html>"))
    assert caught.value.code is None
    assert caught.value.again is again


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>Bad gateway</html>", b"[]", b"{", b'{"statusCode": "0"}', b'{"statusCode": false}', b"[" * 5000],
)
@pytest.mark.parametrize("http", [200, 302, 500, 502, 504])
def test_unreadable_answer(http: int, content: bytes) -> None:
    """An answer that isn't GWS's says nothing about what became of the request."""
    with pytest.raises(InDoubt, match=f"HTTP {http}"):
        check_performed(read_answer(http, content))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (answer(403, statusCode=20, statusMessage="Access denied"), True),
        (read_answer(401, b"Unauthorized"), True),
        (answer(403, statusCode=3), False),
        (answer(401, statusCode=5), False),
        (read_answer(403, b"Missing or invalid Csrf token"), False),
    ],
)
def test_not_signed_in(said: Answer, expected: bool) -> None:
    """403 with status code 20 means "not signed in", and not "forbidden"."""
    assert said.is_not_signed_in is expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (read_answer(403, b"Missing or invalid Csrf token"), True),
        (answer(403, statusCode=3, statusMessage="csrf"), False),
        (read_answer(500, b"csrf"), False),
        (read_answer(403, b"no"), False),
    ],
)
def test_without_csrf_token(said: Answer, expected: bool) -> None:
    """403 with a plain text on CSRF means that the token was missing or old."""
    assert said.is_without_csrf_token is expected


def test_reference() -> None:
    """A reference that is missing, or no number, is none."""
    assert answer(200, statusCode=0).reference_id is None
    assert answer(200, statusCode=0, referenceId="5").reference_id is None
    assert read_answer(200, b"nothing").reference_id is None

"""fbsessiond.cometd.replies: what a reply says, whatever the server put into it."""

import pytest

from fbsessiond.cometd.replies import (
    acknowledges,
    batch_number,
    error_code,
    error_words,
    is_ours,
    own_reconnect,
    succeeded,
    whole,
)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [({"successful": True}, True), ({"successful": "true"}, False), ({"successful": 1}, False), ({}, False)],
)
def test_success(reply: dict[str, object], expected: bool) -> None:
    """Only `true` is a success."""
    assert succeeded(reply) is expected


@pytest.mark.parametrize(
    ("advice", "expected"),
    [({"reconnect": "handshake"}, "handshake"), ({"reconnect": "soon"}, None), ({"interval": 1}, None), (7, None)],
)
def test_reconnect(advice: object, expected: str | None) -> None:
    """Advice that Bayeux doesn't know is no advice."""
    assert own_reconnect({"advice": advice}) == expected


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ("402::Unknown client", 402, "402 Unknown client"),
        ("401:secret-client-id:Unknown client", 401, "401 Unknown client"),
        ("402:unfinished", 402, "402"),
        ("no number", None, "no reason given"),
        (404, None, "no reason given"),
        (None, None, "no reason given"),
    ],
)
def test_error(error: object, code: int | None, words: str) -> None:
    """The number and the words of an error are told, its arguments, which hold clientIds, aren't."""
    assert (error_code({"error": error}), error_words({"error": error})) == (code, words)


def test_a_reply_belongs_to_the_client_that_it_names() -> None:
    """A reply without clientId is for whoever asked."""
    assert is_ours({}, "mine")
    assert is_ours({"clientId": "mine"}, "mine")
    assert not is_ours({"clientId": "other"}, "mine")


@pytest.mark.parametrize(
    ("ack", "expected"),
    [(True, True), ({"enabled": True}, True), ({"enabled": False}, False), (False, False), (1, False), (None, False)],
)
def test_agreement_to_acknowledgements(ack: object, expected: bool) -> None:
    """Both spellings of an agreement count, and nothing else does."""
    assert acknowledges({"ext": {"ack": ack}}) is expected
    assert not acknowledges({"ext": []})


@pytest.mark.parametrize(("ack", "expected"), [(7, 7), (0, 0), (True, None), ("7", None), (None, None)])
def test_batch_number(ack: object, expected: int | None) -> None:
    """A batch's number is a whole number."""
    assert batch_number({"ext": {"ack": ack}}) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(250, 250), (2.5e3, 2500), (True, 1), ("250", 1), (float("inf"), 1), (None, 1)]
)
def test_whole_milliseconds(value: object, expected: int) -> None:
    """What isn't a finite number leaves what was."""
    assert whole(value, 1) == expected

"""fbsessiond.cometd.parcel: from a response's bytes to messages and replies."""

import gc

import pytest

from fbsessiond.cometd.parcel import unpack


def test_messages_keep_their_bytes() -> None:
    """Neither spaces nor escapes nor the way a number is written change."""
    raw = b'{ "data" : {"n": 1.0e1, "s":"\\u00e9"}, "channel":"/v2/me/calls" }'
    (message,) = unpack(b"[ " + raw + b" ]").messages
    assert (message.raw, message.channel, message.data) == (raw, "/v2/me/calls", b'{"n": 1.0e1, "s":"\\u00e9"}')


def test_a_message_does_not_keep_the_response_in_memory() -> None:
    """Each has bytes of its own."""
    (message, *_) = unpack(b'[{"channel":"/a","data":1},{"channel":"/b","data":"' + b"x" * 1_000_000 + b'"}]').messages
    assert type(message.raw) is bytes
    assert type(message.data) is bytes
    assert not any(isinstance(each, memoryview) for each in gc.get_referents(message))


def test_replies_are_told_from_messages() -> None:
    """What is on /meta/ is a reply, and so is the answer to a publish; the rest is passed on."""
    parcel = unpack(
        b'[{"channel":"/meta/connect","successful":true,"data":{}},{"channel":"/service/x","successful":true},'
        b'{"channel":"/service/x","successful":true,"data":{}},{"channel":"/x"},{"channel":"/x","data":null}]'
    )
    assert [reply["channel"] for reply in parcel.replies] == ["/meta/connect", "/service/x"]
    assert [(message.channel, message.data) for message in parcel.messages] == [
        ("/service/x", b"{}"),
        ("/x", None),
        ("/x", b"null"),
    ]


@pytest.mark.parametrize("element", [b"7", b"null", b"[]", b'{"channel":7,"data":{}}', b'{"data":{}}'])
def test_nothing_invalid_is_dropped(element: bytes) -> None:
    """What isn't a Bayeux message is passed on word for word."""
    (message,) = unpack(b"[" + element + b"]").messages
    assert (message.raw, message.channel) == (element, None)


def test_a_single_message_without_an_array() -> None:
    """The array around a single message may be missing."""
    (reply,) = unpack(b' {"channel":"/meta/connect","successful":false}\n').replies
    assert reply == {"channel": "/meta/connect", "successful": False}


def test_a_reply_that_can_not_be_read_is_passed_on() -> None:
    """It is of no use as a reply, and the messages beside it are of use all the same."""
    parcel = unpack(b'[{"channel":"/meta/connect","error":"\xff"},{"channel":"/a","data":1}]')
    assert parcel.replies == ()
    assert [message.channel for message in parcel.messages] == ["/meta/connect", "/a"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'[{"channel":"/a"', b'{"channel":', b"7", b'[{"channel":"/meta/x"]', b"[" * 100_000],
    ids=["nothing", "html", "cut", "cut object", "number", "broken", "deep"],
)
def test_what_is_not_bayeux_is_an_error(body: bytes) -> None:
    """A login page, a cut response and a number aren't messages."""
    with pytest.raises(ValueError, match=r"."):
        unpack(body)

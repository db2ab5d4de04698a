import gc
import sys

import pytest

from fbsessiond.envelope import open_envelope
from fbsessiond.message import Message

DATA = b'{ "messageType" : "CallStateChanged", "n": 1.0e1 }'


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"channel":"/v2/me/calls", "data": %s}' % DATA, ("/v2/me/calls", DATA)),
        (b'{"data":%s,"channel":"/v2/me/calls","id":"7"}' % DATA, ("/v2/me/calls", DATA)),
        (b'{"data":%s}' % DATA, (None, DATA)),
        (b'{"channel":null,"data":%s}' % DATA, (None, DATA)),
        (b'{"channel":5,"data":%s}' % DATA, (None, DATA)),
        (b'{"channel":"/v2/me/calls","data":null}', ("/v2/me/calls", b"null")),
        (b'{"channel":"/v2/me/calls","data":[1, 2]}', ("/v2/me/calls", b"[1, 2]")),
        (b'{"channel":"/v2/me/calls"}', ("/v2/me/calls", None)),
    ],
)
def test_wrapped(raw: bytes, message: tuple[str | None, bytes | None]) -> None:
    """A message's channel and data are taken out of it, the data byte for byte; a channel that is no text is none."""
    assert open_envelope(raw) == Message(raw, *message)


def test_without_wrapper() -> None:
    """A notification without the wrapper, as documentation prints it, is its own data."""
    assert open_envelope(DATA) == Message(DATA, None, DATA)


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"5", b'"text"', b"[{}]", b"\xff\xfe", b"[" * 100_000])
def test_no_object(raw: bytes) -> None:
    """What isn't a JSON object has neither channel nor data, and is kept as it is."""
    assert open_envelope(raw) == Message(raw, None, None)


def test_copy() -> None:
    """The data is a copy: it keeps nothing of the message alive."""
    message = open_envelope(b'{"channel":"/v2/me/calls","data":%s}' % DATA)
    assert message.data is not None
    assert not gc.get_referents(message.data)
    assert sys.getsizeof(message.data) < sys.getsizeof(message.raw)

"""Taking a Bayeux message apart without touching the text of its parts."""

from typing import Any

import msgspec

from fbsessiond.message import Message


class _Envelope(msgspec.Struct):
    channel: Any = None
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Envelope)


def open_envelope(raw: bytes) -> Message:
    """Return the message whose whole text is given.

    A notification without the wrapper `{"channel": …, "data": …}`, as documentation prints it, is its own data; what
    isn't a JSON object has no data, and a channel that isn't a text is none. The data is a copy: a kept notification
    doesn't pin the response that it came in.
    """
    try:
        envelope = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Message(raw, None, None)
    channel = envelope.channel if isinstance(envelope.channel, str) else None
    if data := bytes(envelope.data):
        return Message(raw, channel, data)
    return Message(raw, channel, raw if channel is None else None)

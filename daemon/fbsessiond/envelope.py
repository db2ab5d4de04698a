"""Taking a Bayeux message apart without touching the text of its parts."""

import msgspec

from fbsessiond.message import Message


class _Envelope(msgspec.Struct):
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Envelope)


def open_envelope(raw: bytes) -> Message:
    """Return the message whose whole text is given.

    A notification without the wrapper `{"channel": …, "data": …}`, as documentation prints it, is its own data; what
    isn't a JSON object has no data. The data is a copy: a kept notification doesn't pin the response that it came in.
    """
    try:
        envelope = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Message(raw, None, None)
    if data := bytes(envelope.data):
        return Message(raw, envelope.channel, data)
    return Message(raw, envelope.channel, raw if envelope.channel is None else None)

"""From a response's bytes to its messages, word for word, and its replies."""

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from fbsessiond.message import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one response, or one websocket frame, holds."""

    messages: tuple[Message, ...]
    """What the server sends on; each with bytes of its own, so that none pins the whole response."""
    replies: tuple[dict[str, Any], ...]
    """Replies to requests: on /meta/ channels, and those to a publish."""


def unpack(body: bytes) -> Parcel:
    """Take a response apart. Raises `ValueError` where it isn't Bayeux at all, e.g. a login page.

    Whatever isn't a reply that can be read is a message, even without channel or data: to judge it is the intake's
    business, and nothing invalid is dropped.
    """
    messages: list[Message] = []
    replies: list[dict[str, Any]] = []
    for raw in _elements(body):
        envelope = _decoded(_envelope_decoder, raw, _Envelope())
        reply = _decoded(_reply_decoder, raw, None) if envelope.is_reply else None
        if reply is not None:
            replies.append(reply)
        else:
            messages.append(Message(bytes(raw), envelope.channel, bytes(envelope.data) or None))
    return Parcel(tuple(messages), tuple(replies))


class _Envelope(msgspec.Struct, gc=False):
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    successful: msgspec.Raw = msgspec.Raw()

    @property
    def is_reply(self) -> bool:
        # The reply to a publish has the publish's channel, and `successful` instead of data. [Bayeux 1.0 §5.2]
        return self.channel is not None and (
            self.channel.startswith("/meta/") or (bool(bytes(self.successful)) and not bytes(self.data))
        )


_elements_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_reply_decoder: msgspec.json.Decoder[dict[str, Any] | None] = msgspec.json.Decoder(dict[str, Any])


def _elements(body: bytes) -> list[msgspec.Raw]:
    """Return the array's elements; a single message may come without the array [Bayeux 1.0 §3.4]."""
    try:
        if body.lstrip().startswith(b"{"):
            return [msgspec.json.decode(body, type=msgspec.Raw)]
        return _elements_decoder.decode(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, otherwise: T) -> T:
    """Decode an element, unless it isn't an object, its channel isn't a text, or it is no UTF-8."""
    try:
        return decoder.decode(raw)
    except ValueError:
        return otherwise

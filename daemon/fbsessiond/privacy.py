"""Keeping customer data private: everywhere but in the journal and the audit file, tokens stand for it.

A token such as `[content:5f2c9a10]` is the same for the same value within one journal, so that people can still see
what belongs together, and says nothing about the value to anybody without the journal's key.
"""

import hmac
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

TOKEN_DIGITS = 8
SHORTEST_SCRUBBED = 3


class FieldClass(StrEnum):
    """What kind of customer data a field holds."""

    IDENTITY = "identity"
    CONTACT = "contact"
    CONTENT = "content"
    OPAQUE = "opaque"
    """Nobody knows: attached data can hold anything."""


_SHOWN = frozenset(
    {
        "capabilities",
        "chatPath",
        "chatUri",
        "channel",
        "facebooksessionPath",
        "facebooksessionType",
        "facebooksessionUri",
        "id",
        "index",
        "messageType",
        "metrics",
        "notificationType",
        "participantId",
        "path",
        "receivedDate",
        "referenceId",
        "state",
        "suggestedQueueUris",
        "timestamp",
        "timestampSeconds",
        "type",
        "uri",
        "visibility",
    }
)
"""Keys of the platform's own: states, types, ids, times and addresses inside the platform."""

_CONTAINERS = frozenset({"facebooksession", "facebooksessions", "participants", "messages", "from"})
"""Keys whose values are looked into; anything else that isn't shown is hidden as a whole."""

_CLASSES = (
    (FieldClass.CONTACT, re.compile(r"mail|phone|address|city|street|location|home", re.IGNORECASE)),
    (FieldClass.CONTENT, re.compile(r"text|comment|subject|xml|message|url", re.IGNORECASE)),
    (FieldClass.IDENTITY, re.compile(r"name|actor|birth|sex|locale|contactid|employee", re.IGNORECASE)),
)


def redact(document: Any, key: bytes) -> Any:
    """Return a notification, or a part of one, with a token in the place of every value that may be a customer's.

    The shape stays, and with it everything that the daemon needs: a redacted notification can be replayed.
    """
    match document:
        case dict():
            return {name: _redact_field(str(name), value, key) for name, value in document.items()}
        case list():
            return [redact(item, key) for item in document]
        case _:
            return _hide("", document, key)


def token(field: str, value: object, key: bytes) -> str:
    """Return what stands for a value of a field: its class, and a keyed digest."""
    digest = hmac.digest(key, str(value).encode(errors="surrogatepass"), "sha256").hex()[:TOKEN_DIGITS]
    return f"[{class_of(field)}:{digest}]"


def scrub(text: str, document: Any, key: bytes) -> str:
    """Return a text, such as an error's, with a token for each of a notification's customer values that stands in it.

    Values of one or two characters stay: they say nothing, and would tear any text apart.
    """
    hidden = {value: name for name, value in _hidden_values("", document) if len(value) >= SHORTEST_SCRUBBED}
    for value in sorted(hidden, key=len, reverse=True):
        text = text.replace(value, token(hidden[value], value, key))
    return text


def class_of(field: str) -> FieldClass:
    """Return the class of customer data that a field's name suggests."""
    return next((kind for kind, pattern in _CLASSES if pattern.search(field)), FieldClass.OPAQUE)


def _redact_field(name: str, value: Any, key: bytes) -> Any:
    if name in _SHOWN:
        return value
    if name in _CONTAINERS and isinstance(value, dict | list):
        return redact(value, key)
    return _hide(name, value, key)


def _hide(name: str, value: Any, key: bytes) -> Any:
    match value:
        case None | bool() | "":
            return value
        case Mapping():
            return {inner: _hide(str(inner), item, key) for inner, item in value.items()}
        case list():
            return [_hide(name, item, key) for item in value]
        case _:
            return token(name, value, key)


def _hidden_values(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the field and the text of each value that `redact` would hide."""
    match value:
        case None | bool():
            return
        case Mapping():
            for inner, item in value.items():
                if inner not in _SHOWN:
                    yield from _hidden_values(str(inner), item)
        case list():
            for item in value:
                yield from _hidden_values(name, item)
        case _:
            yield name, str(value)

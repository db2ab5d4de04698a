"""Keeping customer data private: everywhere but in the journal and the audit file, tokens stand for it.

A token such as `[content:5f2c9a10]` is the same for the same value within one journal, so that people can still see
what belongs together, and says nothing about the value to anybody without the journal's key.
"""

import hmac
import json
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import groupby
from typing import Any, TypeAlias

Hide: TypeAlias = Callable[[str, Any], Any]
"""Told a field and a value of a customer's, returns what is to stand in its place."""

TOKEN_DIGITS = 8
"""How many hexadecimal digits of its digest stand for a value."""

SHORTEST_SCRUBBED = 3
"""Shorter values stay in a text: they say nothing, and would tear any text apart."""

SHORTEST_PART = 8
"""So many characters of a longer value are scrubbed where the rest of it is missing: an error's text is often cut."""


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
        "channel",
        "chatPath",
        "chatUri",
        "facebooksessionPath",
        "facebooksessionType",
        "facebooksessionUri",
        "id",
        "index",
        "messageType",
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
"""Keys, in any case, whose values are looked into; anything else that isn't shown is hidden as a whole."""

_CLASSES = (
    (FieldClass.CONTACT, re.compile(r"mail|phone|address|city|street|location|home", re.IGNORECASE)),
    (FieldClass.CONTENT, re.compile(r"text|comment|subject|xml|message|url", re.IGNORECASE)),
    (FieldClass.IDENTITY, re.compile(r"name|actor|birth|sex|locale|contactid|employee", re.IGNORECASE)),
)


def redact(document: Any, key: bytes) -> Any:
    """Return a notification, or a part of one, with a token in the place of every value that may be a customer's.

    The shape and the keys stay, and with them everything that the daemon needs: a redacted notification can be
    replayed.
    """
    return _without("", document, lambda field, value: token(field, value, key))


def token(field: str, value: object, key: bytes) -> str:
    """Return what stands for a value of a field: its class, and a keyed digest."""
    digest = hmac.digest(key, str(value).encode(errors="surrogatepass"), "sha256").hex()[:TOKEN_DIGITS]
    return f"[{class_of(field)}:{digest}]"


def scrub(text: str, document: Any, key: bytes) -> str:
    """Return a text, such as an error's, with a token for each value that `redact` hides where it stands in the text.

    A value is found as it is, as Python and as JSON write it, and in its longer parts.
    """
    fields: dict[str, str] = {}
    _without("", document, lambda field, value: fields.setdefault(str(value), field))
    tokens = {
        spelled: token(field, value, key)
        for value, field in fields.items()
        if len(value) >= SHORTEST_SCRUBBED
        for spelled in (value, repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1])
        if len(spelled) <= len(text)
    }
    longest_first = sorted(tokens, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text) if tokens else [text]
    return "".join(tokens.get(piece) or _without_parts(piece, fields, key) for piece in pieces)


def class_of(field: str) -> FieldClass:
    """Return the class of customer data that a field's name suggests."""
    return next((kind for kind, pattern in _CLASSES if pattern.search(field)), FieldClass.OPAQUE)


def _without(field: str, value: Any, hide: Hide) -> Any:
    """Return what stands under a field, looked into; where it is the notification itself, the field is empty."""
    match value:
        case dict():
            return {name: _without_field(str(name), inner, hide) for name, inner in value.items()}
        case list():
            return [_without(field, item, hide) for item in value]
        case _:
            return _hidden(field, value, hide)


def _without_field(name: str, value: Any, hide: Hide) -> Any:
    items = value if isinstance(value, list) else [value]
    if name in _SHOWN and not any(isinstance(item, dict | list) for item in items):
        return value
    return _without(name, value, hide) if name.casefold() in _CONTAINERS else _hidden(name, value, hide)


def _hidden(field: str, value: Any, hide: Hide) -> Any:
    """Return what stands under a field, every value in it hidden."""
    match value:
        case None | bool() | "":
            return value
        case dict():
            return {name: _hidden(str(name), inner, hide) for name, inner in value.items()}
        case list():
            return [_hidden(field, item, hide) for item in value]
        case _:
            return hide(field, value)


def _without_parts(text: str, fields: Mapping[str, str], key: bytes) -> str:
    """Return a text with a token for each part of a value in it that is long enough to say something."""
    places = range(len(text) - SHORTEST_PART + 1)
    in_text = {text[at : at + SHORTEST_PART] for at in places}
    found = {
        part: field
        for value, field in fields.items()
        for at in range(len(value) - SHORTEST_PART + 1)
        if (part := value[at : at + SHORTEST_PART]) in in_text
    }
    covers: list[str | None] = [None] * len(text)
    for at in places:
        if (field := found.get(text[at : at + SHORTEST_PART])) is not None:
            covers[at : at + SHORTEST_PART] = [field] * SHORTEST_PART
    shown: list[str] = []
    for field, letters in groupby(zip(covers, text, strict=True), key=lambda pair: pair[0]):
        part = "".join(letter for _, letter in letters)
        shown.append(part if field is None else token(field, part, key))
    return "".join(shown)

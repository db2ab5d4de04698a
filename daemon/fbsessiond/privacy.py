"""Keeping customer data private: everywhere but in the journal and the audit file, tokens stand for it.

A token such as `[content:5f2c9a10]` is the same for the same value within one journal, so that people can still see
what belongs together, and says nothing about the value to anybody without the journal's key.
"""

import base64
import hmac
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import groupby
from typing import Any, TypeAlias
from urllib.parse import quote, quote_plus

import msgspec

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
    """Who somebody is: names, traits, and ids that belong to one person."""
    CONTACT = "contact"
    """Where somebody is, and can be reached."""
    CONTENT = "content"
    """What was written in the session."""
    FREE_TEXT = "free-text"
    """What people write about a session, and errors' texts: anything can stand in it."""
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

_PLAIN = re.compile(r"[A-Za-z0-9_./:~*-]{1,300}")
"""An id, a word, an address inside the platform."""

_PLATFORM = (
    r"^(ChatServer|R(Requested|Strategy|Target|Tenant|VQ)|CBR-|Classify_|Screen_|PegAG|desktop_"
    r"|_facebook(Source(Id|ObjectType|XML)|ActorObjectType|CreatedTime|DriverVersion|InQueue|ItxType|PMAction|PMThreadN))"
)
"""Keys that the platform attaches for itself: their names suggest what they aren't."""

_CLASSES = (
    (FieldClass.OPAQUE, re.compile(_PLATFORM)),
    (FieldClass.IDENTITY, re.compile(r"^from$|(actor|contact|customer|message|thread|user)_?id$", re.IGNORECASE)),
    (FieldClass.CONTACT, re.compile(r"mail|phone|mobile|address|city|street|zip|location|home|inbox", re.IGNORECASE)),
    (FieldClass.FREE_TEXT, re.compile(r"comment|note|remark|reason|error|description", re.IGNORECASE)),
    (FieldClass.CONTENT, re.compile(r"text|subject|xml|message|url|html|body", re.IGNORECASE)),
    (
        FieldClass.IDENTITY,
        re.compile(r"name|actor|birth|sex|gender|locale|language|timezone|empl|passport|card|account", re.IGNORECASE),
    ),
)
"""What a key's name suggests; the first that fits counts."""


def redact(document: Any, key: bytes) -> Any:
    """Return a notification, or a part of one, with a token in the place of every value that may be a customer's.

    The shape and the keys stay, and with them everything that the daemon needs: a redacted notification can be
    replayed.
    """
    return _without("", document, lambda field, value: token(field, value, key))


def redact_raw(raw: bytes, key: bytes) -> str:
    """Return a message that doesn't validate as a text, redacted; where it isn't JSON, one token for all of it.

    What stands under the platform's own keys may be anything there: it is shown only where it looks like an id or a
    word.
    """
    try:
        document = msgspec.json.decode(raw)
        if not isinstance(document, dict) or "data" not in document:
            return json.dumps(_redact_misfit(document, key), ensure_ascii=False)
        envelope = _redact_misfit({name: value for name, value in document.items() if name != "data"}, key)
        return json.dumps({**envelope, "data": _redact_misfit(document["data"], key)}, ensure_ascii=False)
    except (ValueError, RecursionError):
        return token("", raw.decode(errors="backslashreplace"), key)


def token(field: str, value: object, key: bytes) -> str:
    """Return what stands for a value of a field: its class, and a keyed digest."""
    digest = hmac.digest(key, str(value).encode(errors="surrogatepass"), "sha256").hex()[:TOKEN_DIGITS]
    return f"[{class_of(field)}:{digest}]"


def scrub(text: str, document: Any, key: bytes) -> str:
    """Return a text, such as an error's, with a token for each value that `redact` hides where it stands in the text.

    A value is found as it is, in capitals or none, as Python, JSON, addresses, HTML and Base64 write it, and in its
    longer parts.
    """
    fields: dict[str, str] = {}
    _without("", document, lambda field, value: fields.setdefault(str(value), field))
    folded = _folded(text)
    tokens = {
        spelled: token(field, value, key)
        for value, field in fields.items()
        if SHORTEST_SCRUBBED <= len(value) <= len(text)
        for spelled in map(_folded, _spellings(value))
        if spelled in folded
    }
    longest_first = sorted(tokens, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", folded) if tokens else [folded]
    shown: list[str] = []
    at = 0
    for number, piece in enumerate(pieces):
        original = text[at : at + len(piece)]
        at += len(piece)
        shown.append(tokens[piece] if number % 2 else _without_parts(original, fields, key))
    return "".join(shown)


def class_of(field: str) -> FieldClass:
    """Return the class of customer data that a field's name suggests."""
    return next((kind for kind, pattern in _CLASSES if pattern.search(field)), FieldClass.OPAQUE)


def suggests_somebody(field: str) -> bool:
    """Say whether a key's name suggests that what stands under it is about somebody; the platform's own keys don't."""
    return field not in _SHOWN and class_of(field) is not FieldClass.OPAQUE


def _redact_misfit(document: Any, key: bytes) -> Any:
    return _without("", document, lambda field, value: token(field, value, key), _is_plain)


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and _PLAIN.fullmatch(value) is not None


def _is_anything(_: object) -> bool:
    return True


def _without(field: str, value: Any, hide: Hide, is_shown: Callable[[object], bool] = _is_anything) -> Any:
    """Return what stands under a field, looked into; where it is the notification itself, the field is empty."""
    match value:
        case dict():
            return {name: _without_field(str(name), inner, hide, is_shown) for name, inner in value.items()}
        case list():
            return [_without(field, item, hide, is_shown) for item in value]
        case _:
            return _hidden(field, value, hide)


def _without_field(name: str, value: Any, hide: Hide, is_shown: Callable[[object], bool]) -> Any:
    items = value if isinstance(value, list) else [value]
    if name in _SHOWN and not any(isinstance(item, dict | list) or not is_shown(item) for item in items):
        return value
    return _without(name, value, hide, is_shown) if name.casefold() in _CONTAINERS else _hidden(name, value, hide)


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


def _spellings(value: str) -> Iterator[str]:
    """Yield a value in each way in which it may stand in a text."""
    for text in (value, value.upper(), value.lower()):
        yield from (text, repr(text)[1:-1], ascii(text)[1:-1], json.dumps(text)[1:-1])
        yield from (html.escape(text), quote(text, errors="replace"), quote_plus(text, errors="replace"))
        for encoded in (base64.b64encode, base64.urlsafe_b64encode):
            yield encoded(text.encode(errors="surrogatepass")).decode().rstrip("=")


def _folded(text: str) -> str:
    """Return a text in which capitals don't count, letter by letter: no place in it moves."""
    folded = text.casefold()
    if len(folded) == len(text):
        return folded
    return "".join(one if len(one := letter.casefold()) == 1 else letter for letter in text)


def _without_parts(text: str, fields: Mapping[str, str], key: bytes) -> str:
    """Return a text with a token for each part of a value in it that is long enough to say something."""
    places = range(len(text) - SHORTEST_PART + 1)
    folded = _folded(text)
    in_text = {folded[at : at + SHORTEST_PART] for at in places}
    found = {
        part: field
        for value, field in fields.items()
        for spelled in {_folded(value), _folded(repr(value)[1:-1]), _folded(ascii(value)[1:-1])}
        for at in range(len(spelled) - SHORTEST_PART + 1)
        if (part := spelled[at : at + SHORTEST_PART]) in in_text
    }
    covers: list[str | None] = [None] * len(text)
    for at in places:
        if (field := found.get(folded[at : at + SHORTEST_PART])) is not None:
            covers[at : at + SHORTEST_PART] = [field] * SHORTEST_PART
    shown: list[str] = []
    for field, letters in groupby(zip(covers, text, strict=True), key=lambda pair: pair[0]):
        part = "".join(letter for _, letter in letters)
        shown.append(part if field is None else token(field, part, key))
    return "".join(shown)

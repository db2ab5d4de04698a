"""The oracle of privacy: canaries for every field of a customer's, and what of them stands in a text."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

FIXTURES = Path(__file__).parent / "fixtures"

WORD = "Kanarienvogel"
"""Stands in each text of a customer's."""

NUMBER = 470815110815
"""Stands in each number of a customer's."""

CANARY = f"{WORD} Zoë Q'\"\\\n{{forged}}\r\x1b[31m\u2028\u202e %41 <b>&"
"""A customer's text: what is written in another way somewhere stands in it, and what could forge a line."""

PLATFORM = frozenset(
    {
        *("messageType", "notificationType", "referenceId", "id", "uri", "path", "state", "capabilities"),
        *("participantId", "type", "visibility", "index", "timestamp", "timestampSeconds", "receivedDate"),
        *("facebooksessionType", "facebooksessionPath", "facebooksessionUri", "chatUri", "suggestedQueueUris"),
    }
)
"""What the platform says itself, where it says it. Everything else is a customer's, or could be."""

OBJECTS = frozenset({"facebooksession", "facebooksessions", "participants", "messages", "from"})
"""Where the platform says something besides at the top."""


def leaks(text: str) -> list[str]:
    """Return each spelling of a canary that stands in a text: in capitals, backwards, in hexadecimal, in Base64."""
    folded = text.casefold()
    return [spelled for spelled in _FOLDED if spelled in folded] + [spelled for spelled in _EXACT if spelled in text]


def _base64_of(word: str) -> Iterator[str]:
    """Yield what stands in the Base64 of any text around a word: it can begin at each of three places."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + word.encode()).decode().rstrip("=")
        yield encoded[(0, 2, 3)[before] : -1]


_FOLDED = [*(each.casefold() for each in (WORD, WORD.encode().hex(), WORD[::-1])), str(NUMBER), str(NUMBER)[:8]]
_EXACT = [part for word in (WORD, WORD.upper(), WORD.lower(), str(NUMBER)) for part in _base64_of(word)]


def planted(count: int, sessions: int) -> Iterator[Json]:
    """Yield messages of all kinds of samples, a canary in each field of a customer's; one in eleven is malformed."""
    samples = [json.loads(path.read_bytes()) for path in sorted(FIXTURES.glob("*/*.json"))]
    for number in range(count):
        sample = samples[number % len(samples)]
        session = f"S{number % sessions:06}"
        data = _renamed(_plant(sample["data"], of_platform=True), session)
        data["unknownKey"] = {"state": CANARY, "id": [CANARY, NUMBER]}
        for value in (one for key in data if key.casefold() in OBJECTS for one in _listed(data[key])):
            if isinstance(value, dict):
                value["unknownKey"] = [[CANARY], {"uri": CANARY}]
                value.setdefault("comment", CANARY)
                value["userData"] = {**value.get("userData", {}), **_OPEN}
        if number % 11 == 0:
            data = _malformed(data)[number // 11 % 10]
        yield {"channel": sample["channel"], "data": data}


_OPEN: Json = {
    "FirstName": CANARY,
    "id": CANARY,
    "Amount": NUMBER,
    "nested": {"facebooksession": {"id": CANARY, "state": CANARY}, "type": [CANARY, {"uri": CANARY, "n": NUMBER}]},
    "xml": f"<customer name='{CANARY}'/>",
    "mail": f"{WORD}@customer.example",
}


def _malformed(data: Json) -> list[Any]:
    """Return what can arrive in a notification's place, and doesn't validate, or only just."""
    return [
        CANARY,
        [data],
        {"messageType": "MessageLogUpdated", "messages": [{"text": CANARY}]},
        {"facebooksession": {"comment": CANARY, "userData": CANARY}},
        {"facebooksession": {"id": CANARY, "state": "Chatting", "comment": CANARY}},
        {**data, "facebooksession": {"id": "S1", "participants": CANARY, "userData": {CANARY[:3]: CANARY}}},
        {**data, "facebooksession": {"id": "S1", "participants": [{"nickname": {"is": CANARY}}, CANARY]}},
        json.dumps(data),
        {"messageType": "FacebooksessionStateChangeMessage", "facebooksession": {"userData": {"a": CANARY}}},
        {"facebooksession": {"id": "S1", "comment": {"text": CANARY}, "receivedDate": NUMBER, "state": "A"}},
    ]


def _plant(value: Any, *, of_platform: bool) -> Any:
    """Return a sample with a canary in the place of each value that isn't the platform's own."""
    match value:
        case dict() if of_platform:
            return {
                key: inner
                if key in PLATFORM
                else _plant(inner, of_platform=key.casefold() in OBJECTS and isinstance(inner, dict | list))
                for key, inner in value.items()
            }
        case dict():
            return {key: _plant(inner, of_platform=False) for key, inner in value.items()}
        case list():
            return [_plant(inner, of_platform=of_platform and isinstance(inner, dict)) for inner in value]
        case bool():
            return value
        case int() | float():
            return NUMBER
        case _:
            return CANARY


def _renamed(data: Json, session: str) -> Json:
    """Return a notification as one of another session."""
    for key in ("facebooksessionUri", "facebooksessionPath", "chatUri"):
        if key in data:
            data[key] = f"{data[key].rpartition('/')[0]}/{session}"
    for one in (one for key in ("facebooksession", "facebooksessions") for one in _listed(data.get(key))):
        one["id"] = session
    return data


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]

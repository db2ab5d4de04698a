"""What a reply says: each question that the rules ask of one, answered whatever the server put into it."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

Reply: TypeAlias = Mapping[str, Any]
"""A reply on a /meta/ channel; nothing in it can be relied on to be there, or of the right type."""


def succeeded(reply: Reply) -> bool:
    """Say whether a reply is a success; anything but `true` is none."""
    return reply.get("successful") is True


def own_reconnect(reply: Reply) -> str | None:
    """Return `advice.reconnect` of this very reply."""
    reconnect = _part(reply.get("advice"), "reconnect")
    return reconnect if reconnect in ("retry", "handshake", "none") else None


def error_code(reply: Reply) -> int | None:
    """Return the number that a reply's `error` starts with, e.g. 402 of `402::Unknown client` [Bayeux 1.0 §4.6]."""
    found = re.match(r"[0-9]{3}(?=:)", _text(reply.get("error")))
    return int(found[0]) if found else None


def error_words(reply: Reply) -> str:
    """Return a reply's `error` without its arguments, which hold clientIds: `401 Unknown client`."""
    found = re.fullmatch(r"([0-9]{3}):[^:]*:([^:]{0,100})", _text(reply.get("error")))
    return f"{found[1]} {found[2]}" if found else str(error_code(reply) or "no reason given")


def is_ours(reply: Reply, client_id: str | None) -> bool:
    """Say whether a reply is for this session: one that names another client's is of a session long gone."""
    return bool(reply.get("clientId", client_id) == client_id)


def acknowledges(reply: Reply) -> bool:
    """Say whether the reply to a handshake agrees to acknowledgements [CometD 3, Acknowledge Extension]."""
    given = _ext_ack(reply)
    return given is True or _part(given, "enabled") is True


def batch_number(reply: Reply) -> int | None:
    """Return the number of the batch that came with the reply to a connect: the next connect acknowledges it."""
    given = _ext_ack(reply)
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def whole(value: object, otherwise: int) -> int:
    """Return a number of milliseconds as a whole number, or what else to use where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return otherwise
    return round(value)


def _ext_ack(reply: Reply) -> Any:
    return _part(reply.get("ext"), "ack")


def _part(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

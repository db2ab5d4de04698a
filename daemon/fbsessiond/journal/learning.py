"""A dictionary for a journal's own notifications, learned from them: what many sessions share, and nothing else.

A dictionary stays while anything is packed by it, which is longer than what it was learned from. So no customer's data
may be in it: of the sessions that are looked at, a quarter has to have a text for it to go in; and none goes in under a
key whose name suggests that somebody is meant. In the place of everything else stands noise.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import zstandard

from fbsessiond.journal.packing import Packing, shipped_dictionary
from fbsessiond.privacy import suggests_somebody

SAMPLES: Final = 32
"""So many notifications are looked at, each of another session: 10 ms, if they have 4 KB each."""

SAMPLE_BYTES: Final = 8_192
"""Longer ones aren't looked at."""

SHARED_BY: Final = SAMPLES // 4

_DICTIONARY_BYTES = 16_384
_SEGMENT_BYTES = 1_000  # what notifications share comes in long stretches: 50, as is usual, packs half as well
_PAYS = 0.9
_AFTER_NUMBER = 8

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_VALUE = rb"(?:%s|-?\d[\d.eE+-]*)" % _TEXT
_VALUES = rb"\[\s*%s(?:\s*,\s*%s)*\s*\]" % (_VALUE, _VALUE)
_PIECE = re.compile(rb"(%s\s*:\s*)(%s|%s)|(%s)(?=\s*:)|%s" % (_TEXT, _VALUE, _VALUES, _TEXT, _VALUE))
"""A key with its value, or with a list of such; a key before something else; or a value without a key."""

_NOISE = base64.b64encode(hashlib.shake_128(b"noise").digest(60_000))


def better_dictionary(
    present: bytes, number: int, notifications: Sequence[bytes], *, is_outlived: bool
) -> bytes | None:
    """Return the dictionary of a number that is to take the place of the present one; None where that may stay.

    It may where none packs notifications, each of another session, so much better that it is worth its room; but not
    where all that it was learned from is forgotten (`is_outlived`).
    """
    shipped = _numbered(shipped_dictionary(), number)
    candidates = filter(None, (learned(notifications, number), shipped))
    best = min(candidates, key=lambda one: _packed_bytes(one, notifications))
    pays = _packed_bytes(best, notifications) < _PAYS * _packed_bytes(present, notifications)
    return best if is_outlived or pays else None


def is_learned(dictionary: bytes) -> bool:
    """Say whether a dictionary was learned; the other one comes with the package."""
    return dictionary[_AFTER_NUMBER:] != shipped_dictionary()[_AFTER_NUMBER:]


def learned(notifications: Sequence[bytes], number: int) -> bytes | None:
    """Return a dictionary of a number, learned from notifications of different sessions; None if they are too few."""
    if len(notifications) < SAMPLES:
        return None
    found = [set(_PIECE.findall(notification)) for notification in notifications]
    pieces = Counter(piece for each in found for piece in each)
    keys = Counter(key for each in found for key in {piece[0] for piece in each})
    shared = {
        piece
        for piece, count in pieces.items()
        if count >= SHARED_BY and any(piece) and not suggests_somebody(_name(piece[0]))
    }
    drawn = 0

    def noise(text: bytes) -> bytes:
        nonlocal drawn
        begin = drawn % (len(_NOISE) - SAMPLE_BYTES)
        drawn += len(text)
        return _NOISE[begin : begin + len(text)]

    def without_data(match: re.Match[bytes]) -> bytes:
        if match.groups(b"") in shared:
            return match.group()
        key: bytes = match[1] or b""
        kept = key if keys[key] >= SHARED_BY else noise(key)
        return b'%s"%s"' % (kept, noise(match.group()[len(key) + 2 :]))

    samples: list[Any] = [_PIECE.sub(without_data, notification) for notification in notifications]
    try:
        made = zstandard.train_dictionary(
            _DICTIONARY_BYTES, samples, k=_SEGMENT_BYTES, d=8, f=16, accel=1, dict_id=number
        )
    except zstandard.ZstdError:  # of what is too short
        return None
    return made.as_bytes()


def _name(key: bytes) -> str:
    return key.rpartition(b'"')[0][1:].decode(errors="replace")


def _numbered(dictionary: bytes, number: int) -> bytes:
    """Give a dictionary another number, which stands after its magic number [RFC 8878 §5]."""
    return dictionary[: _AFTER_NUMBER - 4] + number.to_bytes(4, "little") + dictionary[_AFTER_NUMBER:]


def _packed_bytes(dictionary: bytes, notifications: Sequence[bytes]) -> int:
    packing = Packing(lambda _: dictionary)
    return sum(len(packing.pack(notification, 1)) for notification in notifications)

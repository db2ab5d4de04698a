"""Make the dictionary that a new journal begins with, from the sample notifications: `make dictionary`.

It holds what the platform's documentation prints, and nothing else.
"""

import json
from pathlib import Path
from typing import Any

import zstandard

FIXTURES = Path(__file__).parent / "fixtures"
DICTIONARY = FIXTURES.parent.parent / "daemon/fbsessiond/journal/dictionary-1"

LONGEST = "leave-leftchat.json"
"""What is at a dictionary's end is found with the least effort."""

SIZE_BYTES = 16_384
SEGMENT_BYTES = 3_000
"""The samples are few, and taken whole where they fit; the usual segments would tear them apart."""


def dictionary() -> bytes:
    """Return the dictionary, number 1. The samples count as platforms write JSON, and as Python does."""
    paths = [
        path for folder in ("synthetic", "captured", "documented") for path in sorted(FIXTURES.glob(f"{folder}/*"))
    ]
    documents = [json.loads(path.read_bytes())["data"] for path in sorted(paths, key=lambda path: path.name == LONGEST)]
    samples: list[Any] = [
        json.dumps(document, separators=separators).encode()
        for separators in ((",", ":"), (", ", ": "))
        for document in documents
    ]
    made = zstandard.train_dictionary(SIZE_BYTES, samples * 3, k=SEGMENT_BYTES, d=8, f=20, accel=1, dict_id=1)
    return made.as_bytes()


if __name__ == "__main__":
    DICTIONARY.write_bytes(dictionary())

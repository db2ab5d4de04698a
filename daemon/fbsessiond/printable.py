"""Texts with nothing in them that can't be seen: what can end a line, or move a terminal's cursor."""

import json


def printable(text: str) -> str:
    r"""Return a text with every character escaped that can't be seen: `\n`, `\x1b`, `\u202e`.

    These are control characters, line breaks of all kinds, what changes the direction of writing, and halves of
    characters.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_json(text: str) -> str:
    """Return a JSON text that means the same, every character escaped in it that can't be seen."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)

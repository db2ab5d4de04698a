import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fbsessiond.printable import printable, printable_json


@given(st.text(st.characters()))
def test_printable(text: str) -> None:
    """A printable text has nothing in it that can't be seen; what can be seen stays."""
    shown = printable(text)
    assert shown.isprintable()
    assert printable("é 漢字 🙂") == "é 漢字 🙂"
    if text.isprintable():
        assert shown == text


def test_printable_escapes() -> None:
    """What can't be seen is shown as Python writes it: controls, line breaks, marks of direction, half characters."""
    assert printable("a\nb\x1b\x9b\u2028\u202e\u200d\ud83d") == r"a\nb\x1b\x9b\u2028\u202e\u200d\ud83d"


@given(
    st.text(st.characters()) | st.lists(st.text(st.characters())) | st.dictionaries(st.text(st.characters()), st.none())
)
def test_printable_json(value: Any) -> None:
    """A printable JSON text means the same as before, and has nothing in it that can't be seen."""
    text = printable_json(json.dumps(value, ensure_ascii=False))
    assert text.isprintable()
    assert json.loads(text) == value

from collections.abc import Callable
from typing import Any

import pytest

from fbsessiond_handlers.templates import MissingFieldError, check_template, fill_in

FIELDS = {
    "session": {"id": "S1", "comment": None},
    "user_data": {"Name": "Jean", "Case": 7, "Tags": ["a", "b"], "Nested": {"Deep": True}, "Empty": "", "Zero": 0},
    "after": "LeftChat",
}

FILLED = [
    ("plain", "plain"),
    ("", ""),
    ("{after}", "LeftChat"),
    ("for {user_data.Name}, {user_data.Case}", "for Jean, 7"),
    ("{user_data.Case}", 7),
    ("{user_data.Zero}", 0),
    ("{user_data.Empty}", ""),
    ("{user_data.Tags}", ["a", "b"]),
    ("{user_data.Nested.Deep}", True),
    ("{user_data.Case} ", "7 "),
    ("{user_data.Case}{user_data.Zero}", "70"),
    ("{{user_data.Name}}", "{user_data.Name}"),
    ("{{{user_data.Name}}}", "{Jean}"),
    (5, 5),
    (None, None),
    (["{after}", {"{after}": "{after}"}], ["LeftChat", {"{after}": "LeftChat"}]),
]


@pytest.mark.parametrize(("template", "filled"), FILLED, ids=[str(template) for template, _ in FILLED])
def test_filled_in(template: Any, filled: Any) -> None:
    """Fields are filled in, as deep as the template goes; a text that is one field is that field's value."""
    check_template(template)
    assert fill_in(template, FIELDS) == filled
    assert type(fill_in(template, FIELDS)) is type(filled)


@pytest.mark.parametrize("field", ["nobody", "user_data.Nobody", "user_data.Name.first", "session.comment", "after.x"])
@pytest.mark.parametrize("around", ["", "x"])
def test_missing(field: str, around: str) -> None:
    """A field that isn't there, or says nothing, is named."""
    with pytest.raises(MissingFieldError, match=f"the session has no {field}$"):
        fill_in(f"{{{field}}}{around}", FIELDS)


WRONG = ["{", "}", "{}", "{a", "a}", "{a:>5}", "{a!r}", "{a..b}", "{.a}", "{a.}", "{user_data.{after}}"]

WITHIN: list[Callable[[str], object]] = [lambda text: text, lambda text: {"a": text}, lambda text: [1, [text]]]


@pytest.mark.parametrize("template", WRONG)
@pytest.mark.parametrize("within", WITHIN, ids=["alone", "in a table", "in a list"])
def test_wrong(template: str, within: Callable[[str], object]) -> None:
    """What isn't a path of names in braces is found before anything is filled in, as deep as it may be."""
    with pytest.raises(ValueError, match=r"a field is written as|expected '}'|unexpected '{'|Single '[{}]'"):
        check_template(within(template))


def test_values_are_no_templates() -> None:
    """What a field holds is left as it is, braces and all."""
    assert fill_in("{a} {a}", {"a": "{b}", "b": "secret"}) == "{b} {b}"


def test_no_attributes() -> None:
    """Nothing but keys of tables is looked up."""
    with pytest.raises(MissingFieldError):
        fill_in("{a.__class__}", {"a": "text"})

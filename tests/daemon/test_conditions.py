from typing import Any

import pytest
from pydantic import ValidationError

from fbsessiond.conditions import Condition, why_not
from fbsessiond.message import Origin


def check(on: dict[str, Any], before: str | None = "Chatting", after: str = "LeftChat") -> str | None:
    """Return why a live transition isn't wanted."""
    return why_not(Condition.model_validate(on), before, after, Origin.LIVE)


@pytest.mark.parametrize(
    "on",
    [
        {},
        {"from": "Chatting"},
        {"from": ["Invited", "Chatting"]},
        {"to": "LeftChat"},
        {"not_from": "Invited"},
        {"not_from": ["Invited", "Revoked"]},
        {"not_to": "Completed"},
        {"origin": "live"},
        {"origin": ["snapshot", "live"]},
        {"from": "Chatting", "to": "LeftChat", "not_from": "Invited", "not_to": "Completed", "origin": "live"},
    ],
)
def test_wanted(on: dict[str, Any]) -> None:
    """A transition that is all that a condition names is wanted; nothing named is nothing against it."""
    assert check(on) is None


@pytest.mark.parametrize(
    ("on", "reason"),
    [
        ({"from": "Invited"}, "from: was Chatting"),
        ({"from": []}, None),
        ({"to": ["Chatting", "Completed"]}, "to: was LeftChat"),
        ({"not_from": "Chatting"}, "not_from: was Chatting"),
        ({"not_to": ["LeftChat"]}, "not_to: was LeftChat"),
        ({"origin": ["snapshot", "replay"]}, "origin: was live"),
        ({"from": "Chatting", "to": "Completed"}, "to: was LeftChat"),
        ({"from": "Invited", "to": "Completed"}, "from: was Chatting"),
    ],
)
def test_not_wanted(on: dict[str, Any], reason: str | None) -> None:
    """A transition that isn't, isn't wanted: the first thing that is otherwise says why. No states are no list."""
    if reason is None:
        with pytest.raises(ValidationError):
            check(on)
    else:
        assert check(on) == reason


def test_spelling() -> None:
    """States are compared letter by letter: the platform spells them in one way."""
    assert check({"to": "leftchat"}) == "to: was LeftChat"


def test_first_sight() -> None:
    """Before a session's first sight there is no state: no `from` names it, and no `not_from` rules it out."""
    assert check({"from": "Chatting"}, before=None) == "from: was the first sight"
    assert check({"not_from": "Chatting"}, before=None) is None


@pytest.mark.parametrize(
    ("on", "key"),
    [
        ({"to": 5}, "to"),
        ({"to": {}}, "to"),
        ({"to": [5]}, "to"),
        ({"origin": "lives"}, "origin"),
        ({"from_states": "Chatting"}, "from_states"),
        ({"for": "5m"}, "for"),
    ],
)
def test_mistakes(on: dict[str, Any], key: str) -> None:
    """What is neither a state nor a list of states is refused, and so is a key that means nothing."""
    with pytest.raises(ValidationError) as refused:
        check(on)
    assert refused.value.errors()[0]["loc"][0] == key


def test_neither_a_text_nor_a_list() -> None:
    """What isn't even a list is refused in words that say what it should be."""
    with pytest.raises(ValidationError, match="should be a text or a list of texts"):
        check({"to": 5})


def test_settled_conditions() -> None:
    """What was read of the configuration stays as it was read."""
    with pytest.raises(ValidationError, match="frozen"):
        Condition().to = ("Chatting",)  # type: ignore[misc]

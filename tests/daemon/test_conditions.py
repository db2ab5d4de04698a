from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fbsessiond.conditions import UNDECIDED, Candidate, Condition, Throttle, throttle_of, why_not
from fbsessiond.message import Origin


def candidate(before: str | None = "Chatting", after: str = "LeftChat", **known: Any) -> Candidate:
    """Return a live transition; `known` is what else is known of the session."""
    return Candidate("agent1", "S1", before, after, Origin.LIVE, lambda: {"id": "S1", "state": after, **known})


def check(on: dict[str, Any], before: str | None = "Chatting", after: str = "LeftChat") -> str | None:
    """Return why a live transition isn't wanted."""
    return why_not(Condition.model_validate(on), candidate(before, after))


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
        ({"origin": []}, "origin"),
        ({"from_states": "Chatting"}, "from_states"),
        ({"for": "0s"}, "for"),
        ({"for": 5}, "for"),
        ({"lasts": "5m"}, "lasts"),
        ({"when": "before =="}, "when"),
        ({"when": "after"}, "when"),
        ({"once_within": "1h", "once_per": "customer"}, "once_per"),
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


KNOWN: dict[str, Any] = {
    "userData": {"DISP_KEY": "open", "TRIES": 3, "ContactId": "C1"},
    "participants": [{"nickname": "Vera", "type": "Customer"}],
    "capabilities": ["Complete"],
    "comment": "soon",
    "facebooksessionType": "Inbound",
    "receivedDate": "2015-09-02",
}


@pytest.mark.parametrize(
    "when",
    [
        'user_data["DISP_KEY"] == "open"',
        "user_data.TRIES > 2",
        'participants.exists(one, one.type == "Customer")',
        '"Complete" in capabilities && !("Leave" in capabilities)',
        'before == "Chatting" && after == "LeftChat" && agent == "agent1" && origin == "live"',
        'session.id == "S1" && session.state == "LeftChat" && session.comment == "soon" && session.agent == agent',
        'session.type == "Inbound" && session.received_date == "2015-09-02"',
        "session.user_data == user_data && session.participants == participants",
        "session.capabilities == capabilities",
    ],
)
def test_when(when: str) -> None:
    """An expression sees the transition, and the session as it is known after it."""
    assert why_not(Condition(when=when), candidate(**KNOWN)) is None


def test_when_nothing_is_known() -> None:
    """Where a session has no attached data, participants or comment, they are empty; before a first sight is none."""
    when = 'size(user_data) + size(participants) + size(capabilities) == 0 && session.comment == null && before == ""'
    assert why_not(Condition(when=when), candidate(before=None)) is None


def test_when_false() -> None:
    """An expression that is false says so, with the values that stood in it; states come before it."""
    on = Condition(to=("LeftChat",), when='user_data["DISP_KEY"] == "resolved"')
    assert why_not(on, candidate(**KNOWN)) == (
        'when: user_data["DISP_KEY"] == "resolved" is false; user_data["DISP_KEY"] is "open"'
    )
    assert why_not(on, candidate(after="Completed", **KNOWN)) == "to: was Completed"
    assert why_not(Condition(when="false"), candidate()) == "when: false is false"


def test_when_undecided() -> None:
    """An expression that can't be evaluated for a session counts as false, and says why."""
    reason = why_not(Condition(when='user_data.DISP_KEY == "open"'), candidate())
    assert reason == (
        f'when: user_data.DISP_KEY == "open" {UNDECIDED}: Key not found in map : "DISP_KEY"; '
        "user_data.DISP_KEY is not there"
    )


@pytest.mark.parametrize(
    ("on", "throttle"),
    [
        ({"for": "5m"}, None),
        ({"once_within": "1h"}, Throttle("2/session/agent1/S1", timedelta(hours=1), is_last=False)),
        ({"once_after": "9s"}, Throttle("2/session/agent1/S1", timedelta(seconds=9), is_last=True)),
        (
            {"once_within": "1h", "once_per": "contact"},
            Throttle("2/contact/C1", timedelta(hours=1), is_last=False),
        ),
        ({"once_within": "1h", "once_per": "agent"}, Throttle("2/agent/agent1", timedelta(hours=1), is_last=False)),
        (
            {"once_after": "9s", "once_per": "session"},
            Throttle("2/session/agent1/S1", timedelta(seconds=9), is_last=True),
        ),
    ],
)
def test_throttles(on: dict[str, Any], throttle: Throttle | None) -> None:
    """A throttle counts by session, by contact or by agent, apart for each table of `on`."""
    assert throttle_of(Condition.model_validate(on), 2, candidate(**KNOWN)) == throttle


@pytest.mark.parametrize(
    ("data", "group"),
    [
        ({"_facebookActorId": "145"}, "contact/145"),
        ({"ContactId": "", "_facebookActorId": "145"}, "contact/145"),
        ({"ContactId": None}, "session/agent1/S1"),
        (None, "session/agent1/S1"),
    ],
)
def test_contact(data: dict[str, Any] | None, group: str) -> None:
    """A contact is the platform's, else Facebook's; where there is neither, each session counts by itself."""
    assert candidate(userData=data).group("contact") == group


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ({"for": "5m", "once_within": "1h"}, "should have one of 'for', 'once_within' and 'once_after', not several"),
        ({"once_after": "5m", "once_within": "1h"}, "should have one of"),
        ({"once_per": "agent"}, "has 'once_per' without 'once_within' or 'once_after'"),
        ({"for": "5m", "once_per": "agent"}, "has 'once_per' without"),
    ],
)
def test_times(on: dict[str, Any], words: str) -> None:
    """A condition has one time at most, and what it counts by only where it counts."""
    with pytest.raises(ValidationError, match=words):
        Condition.model_validate(on)

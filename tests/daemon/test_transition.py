import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbsessiond import limits
from fbsessiond.message import Message
from fbsessiond.notification import AnyNotification, Document, InvalidNotification, SessionNotification, read
from fbsessiond.session import TERMINAL_STATES, VANISHED, session_from
from fbsessiond.testing import make_transition
from fbsessiond.transition import Change, Kind, Known, derive, merge, state_of

FIXTURES = Path(__file__).parents[1] / "fixtures"
STATE_CHANGE = "FacebooksessionStateChangeMessage"


def received(data: object, channel: str | None = "/v2/me/facebooksession") -> Sequence[AnyNotification]:
    """Return what is read of a message with this `data`."""
    return read(Message(raw=b"", channel=channel, data=json.dumps(data).encode()))


def notified(notification_type: str | None = "StatusChange", **session: object) -> SessionNotification:
    """Return the notification of a type about session S1 with these keys."""
    (notification,) = received(
        {
            "messageType": STATE_CHANGE,
            "notificationType": notification_type,
            "facebooksession": {"id": "S1", **session},
        }
    )
    assert isinstance(notification, SessionNotification)
    return notification


def known(state: str | None = "Chatting", **rest: object) -> dict[str, Any]:
    """Return what is known of session S1: its state, and these keys."""
    return {"id": "S1", **({"state": state} if state else {}), **rest}


def follow(notifications: Sequence[AnyNotification]) -> list[tuple[Known, Change, Known]]:
    """Apply notifications about one session in turn; return each change with what was known before and after it."""
    steps: list[tuple[Known, Change, Known]] = []
    last: Known = None
    for notification in notifications:
        change = derive(last, notification)
        after = change.document if change.document is not None else last
        steps.append((last, change, after))
        last = after
    return steps


# First sight.

SAMPLES = {
    "captured/remove-participant-notice.json": Kind.MESSAGES,
    "captured/send-to-agents-new-messages.json": Kind.MESSAGES,
    "documented/add-comment-properties-updated.json": Kind.TRANSITION,
    "documented/chatting-other-spelling.json": Kind.TRANSITION,
    "documented/chatting.json": Kind.TRANSITION,
    "documented/leave-leftchat.json": Kind.TRANSITION,
    "documented/participants-updated-after-accept.json": Kind.TRANSITION,
    "documented/reject-completed.json": Kind.TRANSITION,
    "documented/send-message-new-messages.json": Kind.MESSAGES,
    "documented/send-url-new-messages.json": Kind.MESSAGES,
    "siblings/call-ringing.json": Kind.OTHER,
    "siblings/chat-leave-completed.json": Kind.OTHER,
    "siblings/chat-leave-leftchat.json": Kind.OTHER,
    "siblings/chat-participants-updated.json": Kind.OTHER,
    "siblings/device-error.json": Kind.OTHER,
    "siblings/facebook-post-processing.json": Kind.OTHER,
    "synthetic/error-without-session.json": Kind.ERROR,
    "synthetic/error.json": Kind.TRANSITION,
    "synthetic/invited.json": Kind.TRANSITION,
    "synthetic/revoked.json": Kind.TRANSITION,
    "synthetic/transfer-completed.json": Kind.TRANSITION,
}


def sample(name: str) -> AnyNotification:
    """Return what is read of a sample."""
    message = json.loads((FIXTURES / name).read_bytes())
    (notification,) = received(message["data"], message["channel"])
    return notification


@pytest.mark.parametrize(("name", "kind"), SAMPLES.items())
def test_samples(name: str, kind: Kind) -> None:
    """At first sight a session's state is a transition from nothing; messages and other media change no session."""
    change = derive(None, sample(name))
    assert change.kind is kind
    assert change.before is None
    assert (change.after is not None) is (kind is Kind.TRANSITION)


def test_all_samples() -> None:
    """No sample is left out."""
    assert {path.relative_to(FIXTURES).as_posix() for path in FIXTURES.rglob("*.json")} == SAMPLES.keys()


def test_first_sight() -> None:
    """The first that is heard of a session is a transition from nothing, with all that was said of it."""
    change = derive(None, notified(state="Invited", comment="new"))
    assert change == Change(Kind.TRANSITION, "S1", None, "Invited", known("Invited", comment="new"))


def test_first_sight_without_state() -> None:
    """A session whose state isn't said is remembered, but made no transition; the first state that is said is one."""
    first, second = follow([notified(comment="new"), notified(state="Chatting")])
    assert first[1] == Change(Kind.PROPERTIES, "S1", document=known(None, comment="new"))
    assert second[1] == Change(Kind.TRANSITION, "S1", None, "Chatting", known("Chatting", comment="new"))


# Rule 1: a terminal state stands.


@pytest.mark.parametrize("terminal", sorted(TERMINAL_STATES))
@pytest.mark.parametrize("late", ["Chatting", "LeftChat", "Completed", "Revoked", "BrandNew"])
@pytest.mark.parametrize("notification_type", ["StatusChange", "ParticipantsUpdated", "PropertiesUpdated", None])
def test_terminal_state_stands(terminal: str, late: str, notification_type: str | None) -> None:
    """Whatever arrives for a finished session with another state is late: a repeat, and nothing of it is taken over."""
    if late != terminal:
        change = derive(known(terminal), notified(notification_type, state=late, comment="late"))
        assert change == Change(Kind.REPEAT, "S1")


def test_late_error() -> None:
    """An error that arrives late is still an error, and nothing of it is taken over."""
    assert derive(known("Completed"), notified("Error", state="Chatting")) == Change(Kind.ERROR, "S1")


@pytest.mark.parametrize("terminal", sorted(TERMINAL_STATES))
def test_new_life(terminal: str) -> None:
    """Invited begins a new life of a finished session, and nothing of the old one is left."""
    old = known(terminal, comment="old", userData={"DISP_KEY": "resolved"})
    change = derive(old, notified(state="Invited", capabilities=["Accept"]))
    assert change == Change(
        Kind.TRANSITION, "S1", terminal, "Invited", {"id": "S1", "state": "Invited", "capabilities": ["Accept"]}
    )


@pytest.mark.parametrize("state", ["Completed", " Completed ", None])
def test_change_after_the_end(state: str | None) -> None:
    """What still changes on a finished session, such as its disposition, is taken over: its state is the same."""
    change = derive(known("Completed", capabilities=[]), notified("PropertiesUpdated", state=state, comment="done"))
    assert (change.kind, change.before, change.after) == (Kind.PROPERTIES, None, None)
    assert change.document is not None
    assert change.document["comment"] == "done"
    assert state_of(change.document) == "Completed"


# What a snapshot shows is so.


@pytest.mark.parametrize("terminal", sorted(TERMINAL_STATES))
@pytest.mark.parametrize("after", ["Invited", "Chatting", "LeftChat", "Completed", "Revoked", "BrandNew"])
def test_snapshot_after_the_end(terminal: str, after: str) -> None:
    """A snapshot isn't late: another state after a terminal one is a new life, with nothing of the old one left."""
    if after != terminal:
        old = known(terminal, comment="old", userData={"DISP_KEY": "resolved"})
        change = derive(old, notified(None, state=after, capabilities=["Leave"]), is_current=True)
        assert change == Change(Kind.TRANSITION, "S1", terminal, after, known(after, capabilities=["Leave"]))


@pytest.mark.parametrize("state", ["Completed", " Completed ", None])
def test_snapshot_of_the_same_end(state: str | None) -> None:
    """A snapshot that shows the terminal state that is known begins no new life: what is known stays known."""
    old = known("Completed", capabilities=[], comment="old")
    assert derive(old, notified(None, state="Completed", capabilities=[]), is_current=True) == Change(Kind.REPEAT, "S1")
    change = derive(old, notified(None, state=state, disposition="resolved"), is_current=True)
    assert (change.kind, change.before, change.after) == (Kind.PROPERTIES, None, None)
    assert change.document is not None
    assert change.document["comment"] == "old"


def test_vanished() -> None:
    """A session that vanished keeps what was known of it, and isn't at its end: what arrives then is taken over."""
    gone = derive(known("Chatting", comment="x"), notified(None, state=VANISHED), is_current=True)
    assert gone == Change(Kind.TRANSITION, "S1", "Chatting", VANISHED, known(VANISHED, comment="x"))
    back = derive(gone.document, notified(state="LeftChat"))
    assert back == Change(Kind.TRANSITION, "S1", VANISHED, "LeftChat", known("LeftChat", comment="x"))


# Rule 2: a changed state is a transition.


@pytest.mark.parametrize(
    "notification_type", ["StatusChange", "ParticipantsUpdated", "PropertiesUpdated", "Error", "Unheard", None]
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Invited", "Chatting"),
        ("Chatting", "LeftChat"),
        ("LeftChat", "Completed"),
        ("Invited", "Revoked"),
        ("LeftChat", "Chatting"),
        ("Chatting", "BrandNew"),
        ("BrandNew", "Chatting"),
        ("Chatting", "Invited"),
    ],
)
def test_changed_state(notification_type: str | None, before: str, after: str) -> None:
    """A changed state is a transition, whatever type of notification brings it, and whether the state is known."""
    change = derive(known(before), notified(notification_type, state=after, capabilities=["Leave"]))
    assert change == Change(Kind.TRANSITION, "S1", before, after, known(after, capabilities=["Leave"]))


def test_blanks_around_a_state() -> None:
    """Blanks around a state make it no other one, and aren't shown."""
    assert derive(known("Chatting"), notified(state=" Chatting ")).kind is not Kind.TRANSITION
    assert derive(known(" Chatting"), notified(state="LeftChat ")).before == "Chatting"
    assert derive(known(" Chatting"), notified(state="LeftChat ")).after == "LeftChat"


# Rule 3: nothing changed.


@pytest.mark.parametrize(
    "notification_type", ["StatusChange", "ParticipantsUpdated", "PropertiesUpdated", "Unheard", None]
)
@pytest.mark.parametrize("said", [{}, {"state": "Chatting"}, {"comment": None}, {"userData": {"a": 1, "b": None}}])
def test_nothing_changed(notification_type: str | None, said: Document) -> None:
    """A notification that changes nothing is a repeat, whatever its type says."""
    before = known("Chatting", comment="x", userData={"b": None, "a": 1})
    assert derive(before, notified(notification_type, **said)) == Change(Kind.REPEAT, "S1")


@pytest.mark.parametrize("said", [{}, {"state": "Chatting"}, {"comment": "new"}])
def test_error(said: Document) -> None:
    """An error is an error, each time, even where it changes nothing; what it says of its session is taken over."""
    change = derive(known("Chatting"), notified("Error", **said))
    assert change == Change(Kind.ERROR, "S1", document={**known("Chatting"), **said})


def test_error_without_session() -> None:
    """An error that names no session changes none."""
    assert derive(None, sample("synthetic/error-without-session.json")) == Change(Kind.ERROR)


# Rule 4: what changed.


@pytest.mark.parametrize(
    ("notification_type", "said", "kind"),
    [
        ("ParticipantsUpdated", {"participants": []}, Kind.PARTICIPANTS),
        ("ParticipantsUpdated", {"comment": "new"}, Kind.PARTICIPANTS),
        ("participantsUPDATED", {"comment": "new"}, Kind.PARTICIPANTS),
        ("PropertiesUpdated", {"comment": "new"}, Kind.PROPERTIES),
        ("PropertiesUpdated", {"participants": []}, Kind.PROPERTIES),
        (" propertiesUPDATED ", {"participants": []}, Kind.PROPERTIES),
        ("StatusChange", {"participants": []}, Kind.PARTICIPANTS),
        ("StatusChange", {"comment": "new"}, Kind.PROPERTIES),
        ("Unheard", {"participants": [], "comment": "new"}, Kind.PARTICIPANTS),
        (None, {"participants": []}, Kind.PARTICIPANTS),
        (None, {"brandNew": [{"a": None}]}, Kind.PROPERTIES),
    ],
)
def test_what_changed(notification_type: str | None, said: Document, kind: Kind) -> None:
    """Without a changed state the notification's type says what changed; where that says nothing, the content does."""
    before = known("Chatting", participants=[{"participantId": "P1"}], comment="old")
    assert derive(before, notified(notification_type, **said)) == Change(kind, "S1", document={**before, **said})


def test_messages() -> None:
    """New messages name their session and leave it as it was."""
    (notification,) = received(
        {"messageType": "MessageLogUpdated", "facebooksessionPath": "/facebooksessions/S1", "messages": []}
    )
    assert derive(known("Chatting"), notification) == Change(Kind.MESSAGES, "S1")


def test_other_media() -> None:
    """Other media change no session."""
    assert derive(None, sample("siblings/chat-leave-completed.json")) == Change(Kind.OTHER)


def test_kinds() -> None:
    """A kind is spelled in the journal and in exports as outside readers know it."""
    assert {str(kind) for kind in Kind} == {
        *("transition", "participants", "properties", "messages", "error", "repeat", "other")
    }


# The session as known.


@pytest.mark.parametrize(
    ("arrived", "merged"),
    [
        ({}, {"comment": "old", "capabilities": ["Leave"], "participants": [1]}),
        ({"comment": None, "brandNew": None}, {"comment": "old", "capabilities": ["Leave"], "participants": [1]}),
        ({"comment": ""}, {"comment": "", "capabilities": ["Leave"], "participants": [1]}),
        ({"capabilities": []}, {"comment": "old", "capabilities": [], "participants": [1]}),
        ({"participants": []}, {"comment": "old", "capabilities": ["Leave"], "participants": []}),
        ({"brandNew": 0}, {"comment": "old", "capabilities": ["Leave"], "participants": [1], "brandNew": 0}),
    ],
)
def test_merge(arrived: Document, merged: Document) -> None:
    """An absent key changes nothing, nor does null; what is empty empties, and what is new is added."""
    assert merge({"comment": "old", "capabilities": ["Leave"], "participants": [1]}, arrived) == merged


def test_merge_user_data() -> None:
    """Attached data arrives whole: a key that is no longer in it is gone, and a null in it is a value."""
    assert merge({"userData": {"a": 1, "b": 2}}, {"userData": {"a": None}}) == {"userData": {"a": None}}


@pytest.mark.parametrize("terminal", sorted(TERMINAL_STATES))
@pytest.mark.parametrize("capabilities", [{}, {"capabilities": None}])
def test_merge_terminal(terminal: str, capabilities: Document) -> None:
    """A finished session allows nothing, unless it is said what it allows."""
    before = known("Chatting", capabilities=["Leave"])
    assert merge(None, known(terminal, **capabilities)) == known(terminal, capabilities=[])
    assert merge(before, known(terminal, **capabilities)) == known(terminal, capabilities=[])
    assert merge(before, known(terminal, capabilities=["SetDisposition"]))["capabilities"] == ["SetDisposition"]


def test_merge_whole() -> None:
    """What arrived and says all that is known stays the same object: the journal needn't keep it twice."""
    arrived = known("Chatting", comment="new", capabilities=[])
    assert merge(None, arrived) is arrived
    assert merge(known("Invited", comment="old"), arrived) is arrived
    assert merge(known("Invited", comment="old", capabilities=["Accept"]), arrived) is arrived
    assert merge(known("Invited", path="/facebooksessions/S1"), arrived) is not arrived


def test_merge_leaves_alone() -> None:
    """Neither what was known nor what arrived is changed by it."""
    before, arrived = known("Chatting", comment="old"), known("Completed", path=None)
    merge(before, arrived)
    assert before == known("Chatting", comment="old")
    assert arrived == known("Completed", path=None)


def test_whole_notification() -> None:
    """A notification that says all that is known of a session is what is known of it then: that same object."""
    notification = notified(state="Chatting", capabilities=[])
    assert derive(None, notification).document is notification.document


def test_id_from_an_address() -> None:
    """A session named by its address alone is known by its id."""
    (notification,) = received({"facebooksession": {"path": "/facebooksessions/S1", "state": "Invited"}})
    change = derive(None, notification)
    assert change.document == {"id": "S1", "path": "/facebooksessions/S1", "state": "Invited"}


@pytest.mark.parametrize(
    ("document", "state"), [({}, None), ({"state": None}, None), ({"state": 5}, None), ({"state": " A "}, "A")]
)
def test_state_of(document: Document, state: str | None) -> None:
    """A document's state is the text under that key, without blanks."""
    assert state_of(document) == state


# What holds for any sequence of notifications.

words = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=5)
json_values = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
sessions = st.fixed_dictionaries(
    {},
    optional={
        "state": st.none()
        | st.sampled_from(["Invited", "Chatting", " Chatting ", "LeftChat", "Completed", "Revoked", " Revoked"])
        | words,
        "capabilities": st.none() | st.lists(words, max_size=2),
        "participants": st.none() | st.lists(st.fixed_dictionaries({"participantId": words}), max_size=2),
        "userData": st.none() | st.dictionaries(words, json_values, max_size=2),
        "comment": st.none() | words,
        "brandNew": json_values,
    },
)
types = st.none() | st.sampled_from(["StatusChange", "ParticipantsUpdated", "PropertiesUpdated", "Error", "Unheard"])
single_notifications = st.tuples(types, sessions).map(lambda parts: notified(parts[0], **parts[1]))
sequences = st.lists(single_notifications, min_size=1, max_size=8)


@given(sequences)
def test_every_before(sequence: list[SessionNotification]) -> None:
    """A transition leads from the last known state to another one; nothing else leads anywhere."""
    state: str | None = None
    for before, change, _ in follow(sequence):
        assert state_of(before or {}) == state
        if change.kind is Kind.TRANSITION:
            assert change.before == state
            assert change.after not in {None, state}
            state = change.after
        else:
            assert (change.before, change.after) == (None, None)


@given(sequences)
def test_every_known_state(sequence: list[SessionNotification]) -> None:
    """The state that is known is always the one that the last transition led to."""
    state: str | None = None
    for _, change, after in follow(sequence):
        state = change.after or state
        assert state_of(after or {}) == state


@given(sequences)
def test_every_terminal_state(sequence: list[SessionNotification]) -> None:
    """No transition leads out of a terminal state but the one to Invited."""
    for _, change, _ in follow(sequence):
        assert change.before not in TERMINAL_STATES or change.after == "Invited"


@given(sequences)
def test_every_repeat(sequence: list[SessionNotification]) -> None:
    """A notification that comes a second time is a repeat, or the same error again, and changes nothing."""
    *_, (_, _, last) = follow(sequence)
    *_, (_, again, after) = follow([*sequence, sequence[-1]])
    assert again.kind in {Kind.REPEAT, Kind.ERROR}
    assert after == last


@given(sequences)
def test_every_document(sequence: list[SessionNotification]) -> None:
    """Each change that isn't late takes over all that was said, forgets nothing else, and can be worked with."""
    for notification, (before, change, after) in zip(sequence, follow(sequence), strict=True):
        if change.document is None:
            assert after == before
            continue
        said = notification.document or {}
        is_new_life = change.before in TERMINAL_STATES
        for key in change.document.keys() - {"capabilities"}:
            expected = said.get(key)
            if expected is None and not is_new_life:
                expected = (before or {}).get(key)
            assert change.document[key] == expected
        session = session_from(change.document, "agent1")
        assert session.state == (state_of(change.document) or "")


@given(sequences, single_notifications)
def test_every_snapshot(sequence: list[SessionNotification], shown: SessionNotification) -> None:
    """After a snapshot the session is in the state that it shows, whatever was known; a second one is a repeat."""
    *_, (_, _, last) = follow(sequence)
    change = derive(last, shown, is_current=True)
    after = change.document if change.document is not None else last
    expected = state_of(shown.document or {}) or state_of(last or {})
    assert state_of(after or {}) == expected
    assert (change.kind is Kind.TRANSITION) == (expected != state_of(last or {}))
    assert derive(after, shown, is_current=True).kind in {Kind.REPEAT, Kind.ERROR}


@given(sequences, single_notifications)
def test_every_snapshot_of_what_goes_on(sequence: list[SessionNotification], shown: SessionNotification) -> None:
    """As long as a session isn't at its end, a snapshot changes what a notification would."""
    *_, (_, _, last) = follow(sequence)
    if state_of(last or {}) not in TERMINAL_STATES:
        assert derive(last, shown, is_current=True) == derive(last, shown)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
odd_keys = st.sampled_from(["id", "state", "capabilities", "participants", "userData", "comment", "path", "brandNew"])
oddities = st.dictionaries(odd_keys, anything, max_size=2)
odd_sessions = st.tuples(sessions, oddities).map(lambda parts: {"id": "S1", **parts[0], **parts[1]})
odd_messages = st.fixed_dictionaries(
    {"facebooksession": odd_sessions | st.lists(odd_sessions, max_size=2)},
    optional={"messageType": anything, "notificationType": types | anything, "referenceId": anything},
)


@given(st.lists(odd_messages, max_size=5))
def test_anything(messages: list[Document]) -> None:
    """Whatever can be read can be derived from, whatever was known before."""
    last: Known = None
    for message in messages:
        try:
            notifications = received(message)
        except InvalidNotification:
            continue
        for notification in notifications:
            change = derive(last, notification)
            assert change.session == notification.session_id
            last = change.document or last


def test_deep_session() -> None:
    """A session nested as deep as can be read can be compared, merged and written."""
    deep: object = []
    for _ in range(limits.NESTING - 5):
        deep = [deep]
    first, second = (notified(state="Chatting", userData={"deep": deep}, comment=comment) for comment in ("x", "y"))
    steps = follow([first, first, second])
    assert [change.kind for _, change, _ in steps] == [Kind.TRANSITION, Kind.REPEAT, Kind.PROPERTIES]
    document = steps[-1][2]
    assert document is not None
    assert session_from(document, "agent1").model_dump_json()


def test_notification() -> None:
    """A transition's notification is decoded when it is asked for, once."""
    transition = make_transition("LeftChat", "Chatting")
    assert transition.notification["facebooksession"]["state"] == "LeftChat"
    assert transition.notification is transition.notification

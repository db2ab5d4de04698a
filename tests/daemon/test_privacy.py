import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fbsessiond.message import Message
from fbsessiond.notification import SessionNotification, read
from fbsessiond.privacy import SHORTEST_PART, FieldClass, class_of, redact, redact_raw, scrub, suggests_somebody, token

KEY = b"a journal's own"
OTHER_KEY = b"another journal's"
FIXTURES = sorted((Path(__file__).parents[1] / "fixtures").glob("*/*.json"))

CANARY = "Zoë Q'\"\\\n\u202e⌘"
"""A customer's value in which everything stands that is written in another way somewhere."""

texts = st.text(st.characters(codec="utf-8"), min_size=3, max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def planted(canary: Any) -> dict[str, Any]:
    """Return a notification with a customer's value at every place where one can stand."""
    return {
        "messageType": "FacebooksessionStateChangeMessage",
        "notificationType": "StatusChange",
        "errorMessage": canary,
        "unknownKey": {"state": canary, "id": [canary]},
        "facebooksession": {
            "id": "0002DaAVKJ0V0095",
            "state": "LeftChat",
            "capabilities": ["Complete"],
            "comment": canary,
            "userData": {
                "FirstName": canary,
                "id": canary,
                "type": [canary, {"state": canary}],
                "nested": {"facebooksession": {"id": canary}, "uri": canary},
            },
            "participants": [
                {"nickname": canary, "participantId": "0073", "type": "Customer", "unknown": canary},
                canary,
            ],
            "metrics": {"customer": canary},
            "receivedDate": {"by": canary},
            "unknownKey": [[canary], {"uri": canary}],
        },
        "messages": [{"text": canary, "url": canary, "from": {"nickname": canary}}, {"from": canary}, canary],
    }


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_samples(path: Path) -> None:
    """A redacted sample says the same of its session, with tokens for what a customer wrote or is."""
    message = json.loads(path.read_bytes())
    redacted = redact(message["data"], KEY)
    before = read(Message(b"", message["channel"], json.dumps(message["data"]).encode()))
    after = read(Message(b"", message["channel"], json.dumps(redacted).encode()))
    assert [type(one) for one in after] == [type(one) for one in before]
    for one, other in zip(before, after, strict=True):
        assert one.session_id == other.session_id
        if isinstance(one, SessionNotification) and isinstance(other, SessionNotification):
            assert one.notification_type == other.notification_type
            assert outline(one) == outline(other)


def outline(notification: SessionNotification) -> object:
    """Return what the daemon goes by."""
    session = notification.facebooksession
    return session and (session.state, session.capabilities, len(session.participants or ()))


def test_documented_sample() -> None:
    """In the documented notification of Leave no name, address, id or text of the customer's is left."""
    path = next(path for path in FIXTURES if path.name == "leave-leftchat.json")
    redacted = redact(json.loads(path.read_bytes())["data"], KEY)
    customer = {"Vitaliy", "VitaliyOnv", "Hello my friend!", "1457374047909438", "Iamcrazyaboutmytest", "117"}
    assert not customer & set(leaves(redacted))
    session = redacted["facebooksession"]
    assert session["userData"]["FirstName"] == token("FirstName", "Vitaliy", KEY)
    assert session["userData"]["UserData2"] == token("UserData2", 123456789, KEY)
    assert session["userData"]["RRequestedSkills"] is None
    assert session["userData"]["EmailAddress"] == ""
    assert session["receivedDate"] == "2015-09-0215:39:22.000+0300"
    assert session["participants"][0]["participantId"] == "007355E6EDFA0107"


@given(st.one_of(texts, st.integers(min_value=1_000), st.floats(min_value=1_000, allow_infinity=False)))
@example(CANARY)
@example("https://customer.example/?a=b")
def test_no_value_survives(canary: str | float) -> None:
    """Wherever a customer's value stands, and under whatever key, redaction leaves a token there."""
    mark = object()
    places = sum(leaf is mark for leaf in leaves(planted(mark)))
    left = list(leaves(redact(planted(canary), KEY)))
    assert sum(leaf.endswith(f"{token('', canary, KEY)[-10:]}") for leaf in left) == places
    assert canary not in left


def leaves(value: Any) -> Iterator[Any]:
    """Yield each value of a document that is neither an object nor a list."""
    match value:
        case dict():
            for inner in value.values():
                yield from leaves(inner)
        case list():
            for inner in value:
                yield from leaves(inner)
        case _:
            yield value


@given(st.dictionaries(texts, values, max_size=5), values)
def test_shape(user_data: dict[str, Any], unknown: Any) -> None:
    """Keys, lists, nulls, truth values and empty texts stay: the notification validates as before."""
    session = {"id": "S1", "state": "Chatting", "userData": user_data, "unknownKey": unknown}
    document = {"messageType": "Any", "facebooksession": session}
    redacted = redact(document, KEY)
    (one,) = read(Message(b"", "/v2/me/facebooksession", json.dumps(redacted).encode()))
    assert one.session_id == "S1"
    assert shape(redacted) == shape(document)


def shape(value: Any) -> Any:
    """Return a document without its values."""
    match value:
        case dict():
            return {key: shape(inner) for key, inner in value.items()}
        case list():
            return [shape(inner) for inner in value]
        case None | bool() | "":
            return value
        case _:
            return "value"


@pytest.mark.parametrize("key", ["facebooksession", "facebooksessions", "FacebookSession"])
def test_spellings(key: str) -> None:
    """A session is looked into in each spelling of its key that is understood, and in lists."""
    session = {"id": "S1", "state": "Chatting", "comment": "Iamcrazyaboutmytest"}
    hidden = {**session, "comment": token("comment", "Iamcrazyaboutmytest", KEY)}
    assert redact({key: session}, KEY) == {key: hidden}
    assert redact({key: [session]}, KEY) == {key: [hidden]}


@pytest.mark.parametrize("document", ["a text", 5, ["a text"]])
def test_no_object(document: Any) -> None:
    """What is no object at all is hidden as a whole."""
    assert redact(document, KEY) in (token("", document, KEY), [token("", "a text", KEY)])


def test_tokens() -> None:
    """A value has one token in one journal, whatever its field, and another one in each other journal."""
    assert token("nickname", "Vitaliy", KEY) == token("nickname", "Vitaliy", KEY)
    assert token("nickname", "Vitaliy", KEY)[-9:] == token("FirstName", "Vitaliy", KEY)[-9:]
    assert token("nickname", "Vitaliy", KEY) != token("nickname", "Vitaliy", OTHER_KEY)
    assert token("nickname", "Vitaliy", KEY) != token("nickname", "Vitali", KEY)
    assert token("text", "\ud800", KEY).startswith("[content:")


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("EmailAddress", FieldClass.CONTACT),
        ("_facebookHomeTownLocation", FieldClass.CONTACT),
        ("text", FieldClass.CONTENT),
        ("comment", FieldClass.FREE_TEXT),
        ("Subject", FieldClass.CONTENT),
        ("nickname", FieldClass.IDENTITY),
        ("_facebookBirthdayDate", FieldClass.IDENTITY),
        ("ContactId", FieldClass.IDENTITY),
        ("RTenant", FieldClass.OPAQUE),
        ("", FieldClass.OPAQUE),
    ],
)
def test_classes(field: str, kind: FieldClass) -> None:
    """A token says what kind of data it stands for, as far as the field's name tells."""
    assert class_of(field) is kind
    assert token(field, "x", KEY).startswith(f"[{kind}:")


CLASSES = {
    FieldClass.IDENTITY: """
        nickname from contactId ContactId FirstName LastName MiddleName firstname LCA_EmplID_facebook
        LCA_EmplID_facebooksession LastCalledAgent_EmployeeID _facebookActorId _facebookActorName
        _facebookBirthdayDate _facebookLanguages _facebookLocale _facebookSex _facebookTimezone
        _facebookPMMessageId _facebookPMThreadId _facebookSourceNickName
    """,
    FieldClass.CONTACT: """
        phoneNumber EmailAddress FromAddress _facebookCurrentLocation _facebookHomeTownLocation _facebookPMInboxUrl
    """,
    FieldClass.CONTENT: "text url subject Subject _facebookMessageText _facebookActorXML",
    FieldClass.FREE_TEXT: "comment errorMessage",
    FieldClass.OPAQUE: """
        CBR-IT-path_DBIDs CBR-Interaction_cost CBR-actual_volume CBR-contract_DBIDs ChatServerAppName ChatServerDBID
        ChatServerHost ChatServerPort Classify_Actionability_CtgId Classify_Actionability_CtgName
        Classify_Actionability_CtgRelevancy Classify_Sentiment_CtgId Classify_Sentiment_CtgName
        Classify_Sentiment_CtgRelevancy CustomerSegment DISP_KEY IxnAlreadyCreatedInUCS LCA_TimeStamp_facebook
        LCA_TimeStamp_facebooksession LastCalledAgent_TimeStamp PegAGSocialMediaAgentGroup RRequestedSkillCombination
        RRequestedSkills RStrategyDBID RStrategyName RTargetAgentGroup RTargetAgentSelected RTargetObjSelDBID
        RTargetObjectSelected RTargetPlaceSelected RTargetRequested RTargetRuleSelected RTargetTypeSelected RTenant
        RVQDBID RVQID Screen_Actionability_CtgName Screen_Actionability_CtgRelevancy
        Screen_Actionability_ScreenRuleName Screen_Sentiment_CtgName Screen_Sentiment_CtgRelevancy
        Screen_Sentiment_ScreenRuleName ServiceObjective ServiceType UserData2 _facebookActorObjectType
        _facebookCreatedTime _facebookDriverVersion _facebookInQueueAtTarget _facebookItxType _facebookPMActionId
        _facebookPMThreadNMessages _facebookSourceId _facebookSourceObjectType _facebookSourceXML desktop_actionable
        desktop_expand desktop_sentiment duration facebookType nodeProcessingTimeNanos serverGenerationTimestamp
        serverProcessingTimeTotalMs devicePath deviceUri
    """,
}
"""Each key of the samples whose values are hidden, by its class; those that the platform attaches for itself, too."""

CLASS_OF = {name: kind for kind, names in CLASSES.items() for name in names.split()}


@pytest.mark.parametrize(("name", "kind"), CLASS_OF.items())
def test_classes_of_the_samples(name: str, kind: FieldClass) -> None:
    """Each key that occurs in a sample is classed as what it is."""
    assert class_of(name) is kind


def hidden_keys(before: Any, after: Any, name: str = "") -> Iterator[str]:
    """Yield the keys whose values are hidden, or would be if they weren't empty."""
    match before:
        case dict():
            for key, value in before.items():
                yield from hidden_keys(value, after[key], key)
        case list():
            for value, hidden in zip(before, after, strict=True):
                yield from hidden_keys(value, hidden, name)
        case _:
            if before != after:
                yield name


def test_classes_are_complete() -> None:
    """No key of a sample is hidden without a class in this table; nothing of the platform's own is."""
    found: set[str] = set()
    for path in FIXTURES:
        data = json.loads(path.read_bytes())["data"]
        found.update(hidden_keys(data, redact(data, KEY)))
    shown_elsewhere = {"id", "state", "type", "uri", "path", "capabilities", "participantId", "receivedDate"}
    assert found <= CLASS_OF.keys() | shown_elsewhere  # those of another medium's resources


def test_documented_classes() -> None:
    """The page on privacy has each class, and for each a few keys that are classed so."""
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()
    rows = {row[0]: row[1] for row in re.findall(r"^\| `([a-z-]+)` \|.*\|(.*)\|$", page, re.MULTILINE)}
    assert rows.keys() == set(FieldClass)
    for kind, names in rows.items():
        assert {class_of(name).value for name in re.findall(r"`([^`]+)`", names)} == {kind}


@pytest.mark.parametrize("raw", [b"no JSON Vitaliy", b'{"data": "Vitaliy', b"\xff", b"[" * 100_000, b'"\\ud800"'])
def test_redact_raw_of_no_json(raw: bytes) -> None:
    """A message that isn't JSON becomes one token."""
    assert re.fullmatch(r"\[opaque:[0-9a-f]{8}\]", redact_raw(raw, KEY))


@pytest.mark.parametrize("document", [5, "Vitaliy", ["Vitaliy"], {"comment": "Vitaliy"}])
def test_redact_raw_without_envelope(document: Any) -> None:
    """What has no envelope is redacted like a notification."""
    assert json.loads(redact_raw(json.dumps(document).encode(), KEY)) == redact(document, KEY)


def test_redact_raw() -> None:
    """Of an envelope the channel stays, the notification in it is redacted as anywhere, and all else is hidden."""
    document = {"channel": "/v2/me/x", "clientId": "c1", "data": planted("Vitaliy"), "ext": {"id": "Vitaliy"}}
    shown = json.loads(redact_raw(json.dumps(document).encode(), KEY))
    assert list(shown) == ["channel", "clientId", "ext", "data"]
    assert (shown["channel"], shown["data"]) == ("/v2/me/x", redact(planted("Vitaliy"), KEY))
    assert shown["clientId"] == token("clientId", "c1", KEY)
    assert "Vitaliy" not in str(shown)


@pytest.mark.parametrize("value", ["Zoë", "Vitaliy Onv", "a\nb", "x" * 301, "", 15551234567, ["S1", "Vitaliy Onv"]])
def test_redact_raw_trusts_no_key(value: Any) -> None:
    """In a message that doesn't validate, what stands under the platform's keys is hidden unless it looks so."""
    session = {"id": value, "state": "LeftChat", "path": "/facebooksessions/0002DaAVKJ0V0095", "receivedDate": value}
    shown = json.loads(redact_raw(json.dumps({"data": {"facebooksession": session}}).encode(), KEY))
    found = shown["data"]["facebooksession"]
    assert (found["state"], found["path"]) == (session["state"], session["path"])
    if value:
        assert found["id"] != value
        assert found["receivedDate"] != value


@given(texts, texts)
@example(CANARY, "at ")
def test_scrub(canary: str, around: str) -> None:
    """No value that a notification's redaction hides survives in a text, whichever way the text spells it."""
    document = planted(canary)
    spelled = (
        *(canary, repr(canary)[1:-1], ascii(canary)[1:-1], json.dumps(canary)[1:-1]),
        *(html.escape(canary), quote(canary), quote_plus(canary), canary.upper(), canary.lower()),
    )
    for text in spelled:
        assert scrub(text, document, KEY) == token("errorMessage", canary, KEY)
        scrubbed = scrub(f"{around}{text}{around}", {"comment": canary}, KEY)
        assert canary not in scrubbed.replace(token("comment", canary, KEY), "")


def test_scrub_keys_that_are_shown_elsewhere() -> None:
    """What stands in attached data is scrubbed under whatever key, also one that is the platform's own elsewhere."""
    document = {"facebooksession": {"id": "S1", "userData": {"id": "passport 4711", "state": "bankrupt"}}}
    text = scrub("S1: passport 4711 is bankrupt", document, KEY)
    assert text == f"S1: {token('id', 'passport 4711', KEY)} is {token('state', 'bankrupt', KEY)}"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_scrub_base64(encode: Callable[[bytes], bytes]) -> None:
    """A value is found in Base64, too."""
    encoded = encode("Zoë Quill??>".encode()).decode()
    expected = f"name={token('comment', 'Zoë Quill??>', KEY)}"
    assert scrub(f"name={encoded}", {"comment": "Zoë Quill??>"}, KEY).rstrip("=") == expected


def test_scrub_letters_that_grow() -> None:
    """A letter whose other form is longer moves nothing."""
    assert scrub("İİ Vitaliy ßß STRASSE", {"a": "vitaliy", "b": "straße"}, KEY) == (
        f"İİ {token('a', 'vitaliy', KEY)} ßß {token('b', 'straße', KEY)}"
    )


def test_scrub_numbers() -> None:
    """A number is found in a text, too."""
    assert scrub("no 1441197555607 here", {"n": 1441197555607}, KEY) == f"no {token('n', 1441197555607, KEY)} here"


def test_scrub_the_longest_first() -> None:
    """A value that is a part of another doesn't tear the other's token, nor any token."""
    document = {"comment": "content", "userData": {"FirstName": "content of a box", "x": "box"}}
    text = scrub("content of a box, box, content", document, KEY)
    expected = (("FirstName", "content of a box"), ("x", "box"), ("comment", "content"))
    assert text == ", ".join(token(field, value, KEY) for field, value in expected)


def test_scrub_parts() -> None:
    """A value that was cut, as errors do with long ones, is scrubbed where a longer part of it stands."""
    document = {"comment": "Hello my friend, I live in Elm Street 5", "userData": {"FirstName": "Vitaliy"}}
    text = scrub("input_value='Hello my fri...Elm Street 5' at Elm", document, KEY)
    assert text == (
        f"input_value='{token('comment', 'Hello my fri', KEY)}...{token('comment', 'Elm Street 5', KEY)}' at Elm"
    )
    cut = "Hello my friend"[:SHORTEST_PART]
    assert scrub(cut, document, KEY) == token("comment", cut, KEY)
    assert scrub(cut[:-1], document, KEY) == cut[:-1]


@pytest.mark.parametrize("text", ["", "ab", "KeyError at h.py:3", "a text without any of it"])
def test_scrub_nothing(text: str) -> None:
    """A text without a customer's values stays; so do values of one or two characters, which say nothing."""
    assert scrub(text, {"comment": "ab", "x": None, "y": True, "z": ""}, KEY) == text
    assert scrub(text, {}, KEY) == text


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("FirstName", True),
        ("crm_email", True),
        ("comment", True),
        ("nickname", True),
        ("state", False),
        ("messageType", False),
        ("uri", False),
        ("ServiceType", False),
        ("SiteAttribute", False),
    ],
)
def test_suggests_somebody(field: str, expected: bool) -> None:
    """A key's name suggests that somebody is meant, or nothing; the platform's own keys never do."""
    assert suggests_somebody(field) is expected

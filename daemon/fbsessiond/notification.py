"""What arrives: a tolerant model of GWS notifications.

Unknown keys, states, capabilities and types are kept, never an error by themselves. What a notification's kind
can't do without is checked; where it is missing, `read` raises `InvalidNotification` and the message goes to the
quarantine, word for word.

The channel is only a hint: which medium a notification is about shows in its content, since the documentation spells
the session's channel, message type and resource key in several ways. [GWS 8.5.2, FacebookPMMessageType, Accept]
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from fbsessiond import limits
from fbsessiond.dates import from_timestamp_seconds, parse_date
from fbsessiond.message import Message

Document: TypeAlias = dict[str, Any]
"""A JSON object in the platform's own keys."""

SESSION_KEYS = ("facebooksession", "facebooksessions")
SESSION_ADDRESSES = ("facebooksessionPath", "facebooksessionUri", "chatPath", "chatUri")
_STATE_CHANGE = "facebooksessionstatechangemessage"
_MESSAGE_LOG = "messagelogupdated"
_TOO_DEEP = f"is nested more than {limits.NESTING} deep"
_OUR_PATH = re.compile(r"/facebooksessions?/", re.IGNORECASE)
_OUR_CHANNEL = re.compile(r"(^|/)facebooksessions?$", re.IGNORECASE)


class InvalidNotification(ValueError):  # noqa: N818  a verdict on what arrived, not a fault of ours
    """A message lacks what its kind needs. The text says what, where, in plain words, and without customer data."""


SessionId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}$")]
"""A session's id; it becomes part of an address, so that it must not hold a slash, a blank or a percent sign."""

Word: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
"""A state or a capability. Sibling media send them with blanks around. [GWS 8.5.2, IMSessionMessageType]"""

Label: TypeAlias = Annotated[
    str | None, BeforeValidator(lambda value: value.strip() if isinstance(value, str) else None)
]
"""A notification's type, without blanks. No kind needs it: one that isn't a text counts as absent."""


class _Arriving(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, validate_by_alias=True, validate_by_name=True
    )


class Participant(_Arriving):
    """Somebody who takes part in a session: the same person can be there twice, so the key is `participant_id`."""

    participant_id: str = Field(validation_alias=AliasChoices("participantId", "participant_id", "id"), min_length=1)
    """Who it is, in this session."""
    type: str | None = None
    """E.g. `Agent` or `Customer`."""
    nickname: str | None = None
    """The name that the others see."""
    visibility: str | None = None
    """Who sees that they are there: `All`, or `Agents`."""


class SessionDocument(_Arriving):
    """A session as a notification or a snapshot shows it, perhaps in part: None means that the key was absent."""

    id: SessionId
    """The session's id; where it is absent, the last segment of `path` or `uri` is."""
    state: Word | None = None
    """E.g. `Invited`, `Chatting`, `LeftChat`, `Completed` or `Revoked`; others are taken as they come."""
    capabilities: Annotated[list[Word], Field(max_length=limits.CAPABILITIES)] | None = None
    """The operations that GWS allows now."""
    participants: Annotated[list[Participant], Field(max_length=limits.PARTICIPANTS)] | None = None
    """All who take part now."""
    user_data: Annotated[dict[str, Any], Field(max_length=limits.USER_DATA_KEYS)] | None = None
    """Attached data."""
    comment: str | None = None
    """What agents wrote down about the session."""
    received_date: str | None = None
    """When the platform received the interaction, e.g. `2015-09-02 15:39:22.000+0300`."""
    facebooksession_type: str | None = None
    """E.g. `Inbound`."""

    @model_validator(mode="before")
    @classmethod
    def _id_from_path(cls, value: object) -> object:
        """Take the id from the last segment of the path or the address, where there is no id of its own."""
        if not isinstance(value, Mapping):
            return value
        found = id_in(value)
        return dict(value) if found is None else {**value, "id": found}


class Sender(_Arriving):
    """Who wrote a message."""

    participant_id: str | None = None
    """Which of the participants."""
    type: str | None = None
    """E.g. `Agent` or `Customer`."""
    nickname: str | None = None
    """The name that the others see."""


class LoggedMessage(_Arriving):
    """An entry of a session's message log."""

    index: int | None = None
    """Not its place: gaps between them are normal. [remark in a .NET client of GWS]"""
    type: str | None = None
    """E.g. `Text`."""
    sender: Sender | None = Field(default=None, alias="from")
    """Who wrote it."""
    text: str | None = None
    """What was written."""
    url: str | None = None
    """The address that was sent."""
    visibility: str | None = None
    """Who sees it: `All`, or `Agents`."""
    timestamp: str | None = None
    """When it was written, e.g. `2015-09-02 15:39:40.000+0300`."""
    timestamp_seconds: float | None = None
    """The same as a number: seconds since 1970, or milliseconds, since both are seen."""

    @property
    def at(self) -> datetime | None:
        """When it was written, in UTC; None where the platform doesn't say."""
        if self.timestamp_seconds is not None:
            return from_timestamp_seconds(self.timestamp_seconds)
        return parse_date(self.timestamp) if self.timestamp else None


class Notification(_Arriving):
    """What every notification can have."""

    message_type: Label = None
    """What the notification is about."""
    notification_type: Label = None
    """What happened to it."""
    reference_id: Annotated[int | None, BeforeValidator(lambda value: value if type(value) is int else None)] = None
    """Links a notification to the request that caused it; often absent. [GWS 8.5.2, FacebookPMMessageType]"""


class SessionNotification(Notification):
    """A `FacebooksessionStateChangeMessage`: a session's state, participants or properties, or an error."""

    facebooksession: SessionDocument | None
    """The session, as far as the notification shows it."""
    document: SkipJsonSchema[Document | None] = Field(default=None, exclude=True)
    """The session's own part, in the platform's keys; None for an error that names no session."""

    @model_validator(mode="after")
    def _has_session(self) -> "SessionNotification":
        if self.facebooksession is None and not self.is_error:
            raise ValueError("needs the session itself, an object under the key 'facebooksession'")
        return self

    @property
    def session_id(self) -> str | None:
        """The session's id."""
        return self.facebooksession.id if self.facebooksession else None

    @property
    def is_error(self) -> bool:
        """Whether this says that an operation failed [GWS 8.5.2, FacebookPMMessageType]."""
        return (self.notification_type or "").casefold() == "error"


class MessagesNotification(Notification):
    """A `MessageLogUpdated` of a session: new messages. It carries no session, only its address."""

    session_id: SkipJsonSchema[SessionId]
    """The last segment of the session's address."""
    messages: list[LoggedMessage]
    """What is new in the log."""


class OtherNotification(Notification):
    """Anything else under `/v2/me/*`: calls, chats, public posts, devices, and types that aren't known yet."""

    session_id: ClassVar[None] = None


AnyNotification: TypeAlias = SessionNotification | MessagesNotification | OtherNotification


def read(message: Message) -> Sequence[AnyNotification]:
    """Decode a message: one notification, or one for each session where a list of sessions stands in it.

    Raises `InvalidNotification` where the message isn't JSON, or lacks what its kind needs.
    """
    data = _decode(message)
    if not isinstance(data, dict):
        if message.channel is not None and not _OUR_CHANNEL.search(message.channel):
            return (OtherNotification(),)
        raise InvalidNotification(f"data: must be an object, not {_json_word(data)}")
    try:
        return tuple(_read_document(data, message.channel))
    except ValidationError as error:
        raise InvalidNotification(in_plain_words(error)) from None


def parts_of(data: Document) -> list[Document]:
    """Return the sessions' own parts of a notification that `read` let through, without reading them again."""
    return [part for part in _parts(data, _session_key(data)) if isinstance(part, dict)]


def id_in(part: Mapping[str, Any]) -> Any:
    """Return the id of the session that a part shows: its own, or where its path or its address ends."""
    if (own := part.get("id")) is not None:
        return own
    addresses = (address for key in ("path", "uri") if isinstance(address := part.get(key), str))
    return next(map(last_segment, addresses), None)


def last_segment(address: str) -> str:
    """Return the last segment of a path or an address, without its query."""
    return re.split(r"[?#]", address, maxsplit=1)[0].rpartition("/")[2].strip()


def in_plain_words(error: ValidationError) -> str:
    """Say what doesn't fit and where, without the values, which may be a customer's."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    words = (f"{_place(problem['loc'])}{_words(problem['type'], problem['msg'])}" for problem in problems)
    return "; ".join(words)[: limits.PROBLEM_CHARACTERS]


def is_too_deep(value: object) -> bool:
    """Say whether objects and lists stand in each other deeper than anything here reads."""
    level: list[Any] = [value]
    for _ in range(limits.NESTING):
        inside = (inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer))
        level = [inner for inner in inside if isinstance(inner, (dict, list))]
    return bool(level)


def _decode(message: Message) -> object:
    if message.data is None:
        _parse(message.raw, "the message")
        raise InvalidNotification("data: is missing; a notification needs it")
    if len(message.data) > limits.NOTIFICATION_BYTES:
        raise InvalidNotification(f"data: {len(message.data)} bytes; at most {limits.NOTIFICATION_BYTES} are decoded")
    return _parse(message.data, "data:")


def _parse(text: bytes, subject: str) -> object:
    try:
        value = msgspec.json.decode(text)
    except UnicodeDecodeError:  # its own words show a byte
        raise InvalidNotification(f"{subject} isn't JSON: not UTF-8") from None
    except RecursionError:
        raise InvalidNotification(f"{subject} {_TOO_DEEP}") from None
    except msgspec.DecodeError as error:
        raise InvalidNotification(f"{subject} isn't JSON: {error}") from None
    if text.count(b"{") + text.count(b"[") > limits.NESTING and is_too_deep(value):
        raise InvalidNotification(f"{subject} {_TOO_DEEP}")
    return value


def _read_document(data: Document, channel: str | None) -> Iterator[AnyNotification]:
    kind = str(data.get("messageType") or "").strip().casefold()
    key = _session_key(data)
    if key is not None or kind == _STATE_CHANGE:
        yield from _sessions(data, key)
    elif kind == _MESSAGE_LOG and (address := _session_address(data, channel)) is not None:
        yield MessagesNotification.model_validate({**data, "sessionId": last_segment(address)})
    else:
        yield OtherNotification.model_validate(data)


def _sessions(data: Document, key: str | None) -> Iterator[SessionNotification]:
    """Yield a notification for each session under the key: both spellings, an object or a list of objects."""
    rest = {name: item for name, item in data.items() if name != key}
    for part in _parts(data, key):
        document = part if isinstance(part, dict) else None
        yield SessionNotification.model_validate({**rest, "facebooksession": part, "document": document})


def _session_key(data: Document) -> str | None:
    return next((key for key in data if key.casefold() in SESSION_KEYS and data[key] is not None), None)


def _parts(data: Document, key: str | None) -> list[Any]:
    value = data.get(key) if key is not None else None
    return value if isinstance(value, list) and value else [value]


def _session_address(data: Document, channel: str | None) -> str | None:
    """Return the address of the session that a message log belongs to; None where it is another medium's.

    SendUrl's sample carries a session's address under the key `chatUri`. [GWS 8.5.2, SendUrl]
    """
    addresses = [(key, value) for key in SESSION_ADDRESSES if isinstance(value := data.get(key), str)]
    for key, address in addresses:
        if key.startswith("facebooksession") or _OUR_PATH.search(address):
            return address
    if addresses or (channel is not None and not _OUR_CHANNEL.search(channel)):
        return None
    raise InvalidNotification("facebooksessionPath: is missing; new messages need the address of their session")


def _place(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(part) for part in location)}: " if location else ""


def _words(kind: str, text: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "string_pattern_mismatch":
        return "isn't an id: letters, digits, '.', '_', '~' and '-', at most 128"
    if kind in {"model_type", "dict_type"}:
        return "should be an object"
    return text.removeprefix("Value error, ").replace("Input should be", "should be")


def _json_word(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a number"

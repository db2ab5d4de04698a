"""The operations of GWS on a Facebook session, as a table.

GWS answers a request with "passed on" (HTTP 200, `statusCode` 0); whether it took effect shows later, in a notification
or in the session itself, or never. So each operation says here what it needs, how its effect shows, and whether reading
the session back can tell that it already happened.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

from pydantic import TypeAdapter, ValidationError

from fbsessiond.notification import (
    AnyNotification,
    Document,
    LoggedMessage,
    MessagesNotification,
    SessionId,
    SessionNotification,
)
from fbsessiond.session import TERMINAL_STATES, Session

Parameters: TypeAlias = Mapping[str, Any]
"""An operation's parameters, by the platform's names for them."""

DEFAULT_DISPOSITION_KEY: Final = "DISP_KEY"
"""The key of the user data under which a disposition is kept, unless the site configured another one."""

_SESSION_ID = TypeAdapter[str](SessionId)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one session, as a handler asks for it. It is checked when it is made."""

    name: str
    session: str
    """The session's id; the request goes to the configured platform, never to an address in a notification."""
    parameters: Parameters = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.check()

    @classmethod
    def unchecked(cls, name: str, session: str, parameters: Parameters) -> Self:
        """Return one that was written down; where another version did that, this one may not know it."""
        operation = object.__new__(cls)
        for field_name, value in (("name", name), ("session", session), ("parameters", parameters)):
            object.__setattr__(operation, field_name, value)
        return operation

    def check(self) -> None:
        """Raise `ValueError` for an operation that there isn't, or that couldn't be written down or sent."""
        kind = OPERATIONS.get(self.name)
        if kind is None:
            raise ValueError(f"there is no operation {self.name!r}; there are {', '.join(OPERATIONS)}")
        try:
            _SESSION_ID.validate_python(self.session)
        except ValidationError:
            raise ValueError(f"{self.name} needs a session's id, not {self.session!r}") from None
        kind.check(self.parameters)
        try:
            json.dumps(self.body, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.name} has a parameter that JSON has no words for: {error}") from error

    @property
    def kind(self) -> "OperationKind":
        """What is known of this operation."""
        return OPERATIONS[self.name]

    @property
    def body(self) -> Document:
        """What is sent."""
        return {"operationName": self.name, **self.parameters}

    @classmethod
    def accept(cls, session: Session | str, nickname: str) -> Self:
        """Enter a session that the agent is invited to."""
        return cls("Accept", _id(session), {"nickname": nickname})

    @classmethod
    def reject(cls, session: Session | str) -> Self:
        """Turn an invitation down."""
        return cls("Reject", _id(session))

    @classmethod
    def leave(cls, session: Session | str) -> Self:
        """Leave a session. Alone in it, that ends the chat for the customer; in a conference, only for the agent."""
        return cls("Leave", _id(session))

    @classmethod
    def complete(cls, session: Session | str, queue_name: str | None = None) -> Self:
        """Close a session, or put it into a queue."""
        return cls("Complete", _id(session), _given(queueName=queue_name))

    @classmethod
    def send_message(cls, session: Session | str, text: str) -> Self:
        """Write to the customer."""
        return cls("SendMessage", _id(session), {"text": text})

    @classmethod
    def send_to_agents(cls, session: Session | str, text: str) -> Self:
        """Write to the agents in the session; the customer doesn't see it."""
        return cls("SendToAgents", _id(session), {"text": text})

    @classmethod
    def send_url(cls, session: Session | str, url: str) -> Self:
        """Send an address to the customer."""
        return cls("SendUrl", _id(session), {"url": url})

    @classmethod
    def add_comment(cls, session: Session | str, comment: str) -> Self:
        """Set the session's comment, in the place of the one it has."""
        return cls("AddComment", _id(session), {"comment": comment})

    @classmethod
    def consult(cls, session: Session | str, target_path: str) -> Self:
        """Ask another agent, or a queue, in: `/users/…` or `/queues/…`."""
        return cls("Consult", _id(session), {"targetPath": target_path})

    @classmethod
    def transfer(cls, session: Session | str, target_path: str) -> Self:
        """Hand the session to another agent, or a queue: `/users/…` or `/queues/…`."""
        return cls("Transfer", _id(session), {"targetPath": target_path})

    @classmethod
    def remove_participant(cls, session: Session | str, target_uri: str) -> Self:
        """Remove another agent from a conference."""
        return cls("RemoveParticipantFromConference", _id(session), {"targetUri": target_uri})

    @classmethod
    def set_disposition(cls, session: Session | str, disposition: str, key: str | None = None) -> Self:
        """Set how the session ended; the key of the user data is the site's, unless it is given."""
        return cls("SetDisposition", _id(session), _given(disposition=disposition, dispositionKey=key))

    @classmethod
    def set_in_focus(cls, session: Session | str) -> Self:
        """Mark the session as the one that the agent looks at."""
        return cls("SetInFocus", _id(session))

    @classmethod
    def attach_user_data(cls, session: Session | str, data: Mapping[str, Any]) -> Self:
        """Add keys to the user data."""
        return cls("AttachUserData", _id(session), {"userData": dict(data)})

    @classmethod
    def update_user_data(cls, session: Session | str, data: Mapping[str, Any]) -> Self:
        """Overwrite keys of the user data."""
        return cls("UpdateUserData", _id(session), {"userData": dict(data)})

    @classmethod
    def delete_user_data(cls, session: Session | str, keys: Sequence[str]) -> Self:
        """Remove keys from the user data."""
        return cls("DeleteUserData", _id(session), {"keys": list(keys)})

    @classmethod
    def start_typing(cls, session: Session | str) -> Self:
        """Show the customer that the agent types."""
        return cls("SendStartTypingNotification", _id(session))

    @classmethod
    def stop_typing(cls, session: Session | str) -> Self:
        """Show the customer that the agent doesn't type any more."""
        return cls("SendStopTypingNotification", _id(session))


@dataclass(frozen=True, slots=True)
class Parameter:
    """What an operation needs to know."""

    name: str
    kind: "Callable[[object], bool]"
    words: str
    is_needed: bool = True


InSession: TypeAlias = Callable[[Parameters, Document], bool | None]
InMessage: TypeAlias = Callable[[Parameters, LoggedMessage], bool]


@dataclass(frozen=True, slots=True)
class OperationKind:
    """What is known of an operation, with its source."""

    name: str
    does: str
    source: str
    capabilities: tuple[str, ...]
    """Any of these has to be among the session's; older servers spell one differently. None: no sample shows one."""
    parameters: tuple[Parameter, ...] = ()
    one_of: bool = False
    """One of the parameters is enough."""
    in_session: InSession | None = None
    """Whether a session shows that it happened; None: no session can tell."""
    in_message: InMessage | None = None
    """Whether a message of the session's log is its effect."""
    by_type: str | None = None
    """A type of notification that follows it, where nothing in it tells more."""
    ends_session: bool = False
    """A session that is gone shows that it happened."""
    succeeds: str = ""
    """What counts as its success, for the documentation."""

    @property
    def is_confirmed(self) -> bool:
        """Whether anything at all shows that it took effect."""
        return self.in_session is not None or self.in_message is not None or self.by_type is not None

    @property
    def can_be_read_back(self) -> bool:
        """Whether the session itself can tell that it already happened."""
        return self.in_session is not None

    def check(self, parameters: Parameters) -> None:
        """Raise `ValueError` for parameters that GWS would refuse, or that it doesn't know."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in parameters.items():
            if name not in known:
                there_are = f"it has {', '.join(known)}" if known else "it has none"
                raise ValueError(f"{self.name} has no parameter {name!r}; {there_are}")
            if not known[name].kind(value):
                raise ValueError(f"{self.name}: {name} should be {known[name].words}")
        missing = [
            parameter.name for parameter in self.parameters if parameter.is_needed and parameter.name not in parameters
        ]
        if missing and not (self.one_of and len(missing) < len(known)):
            raise ValueError(f"{self.name} needs {' or '.join(missing) if self.one_of else ', '.join(missing)}")

    def is_allowed(self, capabilities: frozenset[str]) -> bool:
        """Say whether a session with these capabilities allows it."""
        return not self.capabilities or not capabilities.isdisjoint(self.capabilities)

    def shows_in(self, parameters: Parameters, session: Document | None) -> bool | None:
        """Say whether a session, read back, shows that it happened: None where that can't tell.

        A session that is gone (None) shows it for an operation that ends sessions, and can't tell for any other.
        """
        if session is None:
            return True if self.ends_session else None
        return None if self.in_session is None else self.in_session(parameters, session)

    def is_confirmed_by(self, parameters: Parameters, notification: AnyNotification) -> bool:
        """Say whether a notification of the same session, received after the request, shows that it happened."""
        if isinstance(notification, MessagesNotification):
            return self.in_message is not None and any(
                self.in_message(parameters, message) for message in notification.messages
            )
        if not isinstance(notification, SessionNotification) or notification.is_error:
            return False
        if self.by_type is not None and (notification.notification_type or "").casefold() == self.by_type:
            return True
        document = notification.document
        return self.in_session is not None and document is not None and bool(self.in_session(parameters, document))


def _id(session: Session | str) -> str:
    return session if isinstance(session, str) else session.id


def _given(**parameters: Any) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


# Parameters.

MOST_TEXT = 100_000


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_TEXT


def _is_web_address(value: object) -> bool:
    return _is_text(value) and str(value).startswith(("http://", "https://")) and " " not in str(value)


def _is_data(value: object) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and all(isinstance(key, str) and key for key in value)


def _is_keys(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(key, str) and key for key in value)


def _text(name: str, *, is_needed: bool = True) -> Parameter:
    return Parameter(name, _is_text, f"a text, at most {MOST_TEXT} characters", is_needed)


_USER_DATA = Parameter("userData", _is_data, "a table of keys and values")
_KEYS = Parameter("keys", _is_keys, "a list of keys")
_TARGETS = (_text("targetUri"), _text("targetPath"))


# How an effect shows.


def _in_state(*states: str) -> InSession:
    return lambda _, session: session.get("state") in states


def _has_comment(parameters: Parameters, session: Document) -> bool:
    return bool(session.get("comment") == parameters["comment"])


def _has_disposition(parameters: Parameters, session: Document) -> bool | None:
    """Where no key is given the site's own counts, which may be another than the usual one: then nothing can tell."""
    data: Document = session.get("userData") or {}
    key = parameters.get("dispositionKey")
    if key is None and DEFAULT_DISPOSITION_KEY not in data:
        return None
    return bool(data.get(key or DEFAULT_DISPOSITION_KEY) == parameters["disposition"])


def _has_data(parameters: Parameters, session: Document) -> bool:
    data: Document = session.get("userData") or {}
    return all(data.get(key) == value for key, value in parameters["userData"].items())


def _lacks_keys(parameters: Parameters, session: Document) -> bool:
    data = session.get("userData")
    return isinstance(data, dict) and not any(key in data for key in parameters["keys"])


def _is_written(field_name: str, visibility: str | None = None) -> InMessage:
    def is_it(parameters: Parameters, message: LoggedMessage) -> bool:
        is_seen = visibility is None or message.visibility == visibility
        return is_seen and getattr(message, field_name) == parameters[field_name]

    return is_it


_LEFT = ("LeftChat", *sorted(TERMINAL_STATES))

_KINDS = (
    OperationKind(
        "Accept", "enter a session that the agent is invited to", "GWS 8.5.2, FacebookPMAccept", ("Accept",),
        (_text("nickname"),), in_session=_in_state("Chatting"), succeeds="Chatting",
    ),
    OperationKind(
        "Reject", "turn an invitation down", "GWS 8.5.2, FacebookPMReject", ("Reject",),
        in_session=_in_state(*sorted(TERMINAL_STATES)), ends_session=True, succeeds="Completed or Revoked, or gone",
    ),
    OperationKind(
        "Leave", "leave the session: alone in it, that ends the chat for the customer", "GWS 8.5.2, FacebookPMLeave",
        ("Leave",), in_session=_in_state(*_LEFT), ends_session=True,
        succeeds="LeftChat (alone), Completed (in a conference) or Revoked, or gone",
    ),
    OperationKind(
        "Complete", "close the session, or put it into a queue", "GWS 8.5.2, FacebookPMComplete", ("Complete",),
        (_text("queueName", is_needed=False),), in_session=_in_state(*sorted(TERMINAL_STATES)), ends_session=True,
        succeeds="Completed or Revoked, or gone",
    ),
    OperationKind(
        "SendMessage", "write to the customer", "GWS 8.5.2, FacebookPMSendMessage", ("SendMessage",), (_text("text"),),
        in_message=_is_written("text"), succeeds="the message in the log",
    ),
    OperationKind(
        "SendToAgents", "write to the agents in the session", "GWS 8.5.2, FacebookPMSendToAgents",
        (), (_text("text"),), in_message=_is_written("text", "Agents"),
        succeeds="the message in the log, visible to agents",
    ),
    OperationKind(
        "SendUrl", "send an address to the customer", "GWS 8.5.2, FacebookPMSendUrl", ("SendMessage",),
        (Parameter("url", _is_web_address, "an address that begins with http:// or https://"),),
        in_message=_is_written("url"), succeeds="the address in the log",
    ),
    OperationKind(
        "AddComment", "set the comment", "GWS 8.5.2, FacebookPMAddComment",
        (), (_text("comment"),), in_session=_has_comment, succeeds="the comment",
    ),
    OperationKind(
        "Consult", "ask another agent, or a queue, in", "GWS 8.5.2, FacebookPMConsult", (),
        _TARGETS, one_of=True, by_type="participantsupdated", succeeds="ParticipantsUpdated",
    ),
    OperationKind(
        "Transfer", "hand the session to another agent, or a queue", "GWS 8.5.2, FacebookPMTransfer", ("Transfer",),
        _TARGETS, one_of=True, in_session=_in_state(*_LEFT), ends_session=True,
        succeeds="LeftChat, Completed or Revoked, or gone",
    ),
    OperationKind(
        "RemoveParticipantFromConference", "remove another agent", "GWS 8.5.2, FacebookPMRemovePart",
        (), (_text("targetUri"),), by_type="participantsupdated",
        succeeds="ParticipantsUpdated",
    ),
    OperationKind(
        "SetDisposition", "set how the session ended", "GWS 8.5.2, FacebookPMSetDisposition",
        ("SetDisposition",), (_text("disposition"), _text("dispositionKey", is_needed=False)),
        in_session=_has_disposition, succeeds=f"the key in the user data, by default {DEFAULT_DISPOSITION_KEY}",
    ),
    OperationKind(
        "SetInFocus", "mark the session as looked at", "capabilities in GWS 8.5.2, FacebookPMLeave",
        ("SetInFocus", "InFocus"), succeeds="nothing shows it",
    ),
    OperationKind(
        "AttachUserData", "add keys to the user data", "capabilities in GWS 8.5.2, FacebookPMLeave",
        ("AttachUserData",),
        (_USER_DATA,), in_session=_has_data, succeeds="the keys with their values",
    ),
    OperationKind(
        "UpdateUserData", "overwrite keys of the user data", "GWS 8.5.2, FacebookPMUpdateUserData",
        ("UpdateUserData",), (_USER_DATA,), in_session=_has_data, succeeds="the keys with their values",
    ),
    OperationKind(
        "DeleteUserData", "remove keys from the user data", "GWS 8.5.2, FacebookPMDeleteUserData",
        ("DeleteUserData",), (_KEYS,), in_session=_lacks_keys, succeeds="the keys are gone",
    ),
    OperationKind(
        "SendStartTypingNotification", "show that the agent types", "capabilities in GWS 8.5.2, FacebookPMAccept",
        ("SendStartTypingNotification",), succeeds="nothing shows it",
    ),
    OperationKind(
        "SendStopTypingNotification", "show that the agent stopped typing",
        "capabilities in GWS 8.5.2, FacebookPMAccept",
        ("SendStopTypingNotification",), succeeds="nothing shows it",
    ),
)  # fmt: skip

OPERATIONS: Final[Mapping[str, OperationKind]] = {kind.name: kind for kind in _KINDS}
"""Every operation, by its name."""

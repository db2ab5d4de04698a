"""What a notification changes: transitions, derived from a session's last known state.

The rules, in this order:

1. A terminal state stands: whatever arrives for a finished session with another state is late, and a `repeat`.
   Only `Invited` begins a new life of the same id: the platform offers an interaction that went back to a queue
   again under its old id. A snapshot isn't late: what it shows is so.
2. A changed state is a `transition`, whatever type of notification brings it. [a .NET client of GWS remarks that
   ParticipantsUpdated "can update other fields (like state)"]
3. A notification that changes nothing is a `repeat`.
4. Otherwise its own type says what changed; where that says nothing, the content does.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

import msgspec

from fbsessiond.gap import Gap
from fbsessiond.message import Origin
from fbsessiond.notification import AnyNotification, Document, MessagesNotification, SessionNotification
from fbsessiond.session import INVITED, TERMINAL_STATES, Session


class Kind(StrEnum):
    """What an entry of the journal says about its session."""

    TRANSITION = "transition"
    PARTICIPANTS = "participants"
    PROPERTIES = "properties"
    MESSAGES = "messages"
    ERROR = "error"
    REPEAT = "repeat"
    OTHER = "other"


@dataclass(frozen=True)
class Transition:
    """A session's change of state, as a handler sees it."""

    seq: int
    """Its entry in the journal."""
    at: datetime
    """When the notification was received, in UTC."""
    origin: Origin
    agent: str
    session: Session
    """The session after the change."""
    before: str | None
    """The state before; None at first sight."""
    after: str
    raw: bytes = field(repr=False)
    """The notification word for word, as JSON."""
    gap: Gap | None = None
    """Where a snapshot found the change: the gap in which it happened; the states in between aren't known."""

    @cached_property
    def notification(self) -> Document:
        """The notification as it was received; of origin `snapshot`, the session as the agent's list showed it."""
        document: Document = msgspec.json.decode(self.raw)
        return document


@dataclass(frozen=True, slots=True)
class Change:
    """What one notification changes."""

    kind: Kind
    session: str | None = None
    before: str | None = None
    after: str | None = None
    document: Document | None = None
    """The session as it is known now; None where this notification leaves it as it was."""


Known: TypeAlias = Document | None
"""A session's merged document as last known; None before its first sight."""


def derive(known: Known, notification: AnyNotification, *, is_current: bool = False) -> Change:
    """Say what a notification changes, given what is known of its session; `is_current`: it is from a snapshot."""
    if isinstance(notification, MessagesNotification):
        return Change(Kind.MESSAGES, notification.session_id)
    if not isinstance(notification, SessionNotification):
        return Change(Kind.OTHER)
    if notification.facebooksession is None or notification.document is None:
        return Change(Kind.ERROR)
    arrived, session = notification.document, notification.facebooksession.id
    return _derive_session(known, notification, arrived, session, is_current=is_current)


def _derive_session(
    known: Known, notification: SessionNotification, arrived: Document, session: str, *, is_current: bool
) -> Change:
    before = state_of(known) if known else None
    after = state_of(arrived) or before
    is_new_life = before in TERMINAL_STATES and after != before and (after == INVITED or is_current)
    if before in TERMINAL_STATES and after != before and not is_new_life:
        return Change(Kind.ERROR if notification.is_error else Kind.REPEAT, session)
    document = merge(
        None if is_new_life else known, arrived if arrived.get("id") == session else {**arrived, "id": session}
    )
    if after != before:
        return Change(Kind.TRANSITION, session, before, after, document)
    if notification.is_error:
        return Change(Kind.ERROR, session, document=document)
    if document == known:
        return Change(Kind.REPEAT, session)
    return Change(_what_changed(known, document, notification), session, document=document)


def merge(known: Known, arrived: Document) -> Document:
    """Lay what arrived over what is known: an absent key, or null, changes nothing; an empty list is empty.

    A terminal state without capabilities has none: a finished session allows nothing. [GWS 8.5.2, Reject]
    Where what arrived says it all, the result is that same object.
    """
    lists_all = state_of(arrived) not in TERMINAL_STATES or arrived.get("capabilities") is not None
    if lists_all and (known or {}).keys() <= arrived.keys() and None not in arrived.values():
        return arrived
    document = {**(known or {}), **{key: value for key, value in arrived.items() if value is not None}}
    return document if lists_all else {**document, "capabilities": []}


def state_of(document: Document) -> str | None:
    """Return a document's state without the blanks that some media put around it."""
    state = document.get("state")
    return state.strip() if isinstance(state, str) else None


def _what_changed(known: Known, document: Document, notification: SessionNotification) -> Kind:
    match (notification.notification_type or "").casefold():
        case "participantsupdated":
            return Kind.PARTICIPANTS
        case "propertiesupdated":
            return Kind.PROPERTIES
        case _:
            is_same = (known or {}).get("participants") == document.get("participants")
            return Kind.PROPERTIES if is_same else Kind.PARTICIPANTS

"""The notifications of a Facebook session, each in the shape of its sample.

Which samples carry a `referenceId`, which the few keys of a session and which all of them, and which address new
messages have, follows no rule; so it is a matter of each operation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from fbsessiond.simulator.interaction import Document, Entry, Interaction, platform_date

CHANNEL = "/v2/me/facebooksession"
"""Singular, although the REST resource is plural. [GWS 8.5.2, FacebookPMMessageType; a capture in SendToAgents]"""


@dataclass(frozen=True, slots=True)
class Notification:
    """What one agent is to be told."""

    agent: str
    session: str
    data: Document


class Change(StrEnum):
    """`notificationType` of a `FacebooksessionStateChangeMessage` [GWS 8.5.2, FacebookPMMessageType]."""

    STATUS = "StatusChange"
    PARTICIPANTS = "ParticipantsUpdated"
    PROPERTIES = "PropertiesUpdated"
    ERROR = "Error"


def changed(
    change: Change,
    interaction: Interaction,
    agent: str,
    document: Document | None = None,
    *,
    reference: int | None = None,
    **more: str,
) -> Notification:
    """Return a `FacebooksessionStateChangeMessage`, by default with all that is known of the session."""
    data = {
        **({} if reference is None else {"referenceId": reference}),
        "messageType": "FacebooksessionStateChangeMessage",
        "notificationType": change.value,
        **more,
        "facebooksession": interaction.full(agent) if document is None else document,
    }
    return Notification(agent, interaction.id, data)


Spelling: TypeAlias = Callable[[Entry, Interaction], Document]
"""How a message of the log is written."""


def plain(entry: Entry, _: Interaction) -> Document:
    """Write a message as in [GWS 8.5.2, SendMessage]."""
    return _message(entry, entry.sender.brief(), _moment(entry))


def captured(entry: Entry, interaction: Interaction) -> Document:
    """Write a message as in the captures of [GWS 8.5.2, SendToAgents, RemoveParticipantFromConference]."""
    return _message(entry, entry.sender.full(interaction.address), _moment(entry))


def history(entry: Entry, _: Interaction) -> Document:
    """Write a message as in [GWS 8.5.2, Accept]: with a T in its date, and without `timestampSeconds`."""
    return _message(entry, entry.sender.brief(), {"timestamp": platform_date(entry.at, "T")})


def pushed_url(entry: Entry, interaction: Interaction) -> Document:
    """Write a message as in [GWS 8.5.2, SendUrl]: a sender with an address, but neither `id` nor `path`."""
    sender = {**entry.sender.full(interaction.address)}
    return _message(entry, {key: sender[key] for key in sender if key not in ("id", "path")}, _moment(entry))


ADDRESSES: dict[Spelling, Callable[[Interaction], Document]] = {
    plain: lambda interaction: {"facebooksessionUri": interaction.uri},
    captured: lambda interaction: {"facebooksessionUri": interaction.uri, "facebooksessionPath": interaction.path},
    history: lambda interaction: {"facebooksessionUri": interaction.uri},
    pushed_url: lambda interaction: {"chatUri": interaction.uri},
}
"""Which keys say the session that new messages belong to: nothing else does."""


def new_messages(interaction: Interaction, agent: str, entries: Iterable[Entry], spelling: Spelling) -> Notification:
    """Return a `MessageLogUpdated`: it carries no session, only its address [GWS 8.5.2, SendMessage]."""
    data = {
        "messages": [spelling(entry, interaction) for entry in entries],
        "notificationType": "NewMessages",
        "messageType": "MessageLogUpdated",
        **ADDRESSES[spelling](interaction),
    }
    return Notification(agent, interaction.id, data)


def _message(entry: Entry, sender: Document, moment: Document) -> Document:
    return {
        "index": entry.index,
        "from": sender,
        **entry.content,
        "visibility": entry.visibility,
        **moment,
        "type": entry.type,
    }


def _moment(entry: Entry) -> Document:
    """Return both spellings of a time; `timestampSeconds` is in milliseconds [GWS 8.5.2, SendMessage]."""
    return {"timestamp": platform_date(entry.at), "timestampSeconds": int(entry.at.timestamp() * 1000)}

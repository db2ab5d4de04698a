"""What each operation does to an interaction, and what it tells whom. No checks here: `platform` did them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from fbsessiond.simulator.interaction import CUSTOMER, Entry, Interaction, Participant
from fbsessiond.simulator.notifications import (
    Change,
    Notification,
    Spelling,
    captured,
    changed,
    history,
    new_messages,
    plain,
    pushed_url,
)
from fbsessiond.simulator.operations import Parameters
from fbsessiond.simulator.states import State

DISPOSITION_KEY = "DISP_KEY"
"""The key of `userData` that a disposition is kept under, unless the request names another: a server's option."""


@dataclass(frozen=True, slots=True)
class Order:
    """A request that GWS took: to be carried out by the back end."""

    interaction: Interaction
    agent: str
    operation: str
    parameters: Parameters
    reference: int
    by: str
    """`http`, or `desktop` for the agents of the scenario."""
    target: str | None = None
    """The agent that Consult, Transfer and RemoveParticipantFromConference name; None for a queue."""


Told: TypeAlias = list[Notification]
Effect: TypeAlias = Callable[[Order, datetime, Callable[[str], Participant]], Told]
"""Carries an order out at a time. The last makes a participant of an agent."""


def _accept(order: Order, at: datetime, participant: Callable[[str], Participant]) -> Told:
    """Three notifications, the first without participants [GWS 8.5.2, Accept]."""
    interaction, agent = order.interaction, order.agent
    others = interaction.chatting
    interaction.states[agent] = State.CHATTING
    joined = _renamed(participant(agent), str(order.parameters["nickname"]))
    interaction.participants[agent] = joined
    entry = interaction.add("ParticipantJoined", joined, at)
    first = {**interaction.brief(agent), "participants": []}
    return [
        changed(Change.STATUS, interaction, agent, first, reference=order.reference),
        changed(Change.PARTICIPANTS, interaction, agent, interaction.brief(agent)),
        new_messages(interaction, agent, interaction.log, history),
        *_participants_updated(interaction, others),
        *(new_messages(interaction, other, [entry], plain) for other in others),
    ]


def _reject(order: Order, *_: object) -> Told:
    """[GWS 8.5.2, Reject]; the interaction is offered again."""
    order.interaction.waiting = not order.interaction.chatting
    return _finish(order)


def _leave(order: Order, at: datetime, _: object) -> Told:
    """Alone: LeftChat, and the chat ends for the customer; in a conference the others go on [GWS 8.5.2, Leave]."""
    interaction, agent = order.interaction, order.agent
    alone = not interaction.in_conference
    interaction.states[agent] = State.LEFT_CHAT if alone else State.COMPLETED
    entry = interaction.add("ParticipantLeft", interaction.participants.pop(agent), at)
    others = interaction.chatting
    return [
        changed(Change.STATUS, interaction, agent, None if alone else interaction.brief(agent)),
        *_participants_updated(interaction, others),
        *(new_messages(interaction, other, [entry], plain) for other in others),
    ]


def _complete(order: Order, *_: object) -> Told:
    """[GWS 8.5.2, Complete]; with `queueName` the interaction goes into that queue."""
    interaction, agent = order.interaction, order.agent
    interaction.waiting = order.parameters.get("queueName") is not None
    interaction.states[agent] = State.COMPLETED
    interaction.participants.pop(agent, None)
    told = changed(Change.STATUS, interaction, agent, reference=order.reference)
    return [told, *_participants_updated(interaction, interaction.chatting)]


def _transfer(order: Order, *_: object) -> Told:
    """The agent's session is over, and another begins; the page's samples of it are missing [GWS 8.5.2, Transfer]."""
    interaction = order.interaction
    interaction.waiting = order.target is None
    return [*_finish(order), *_invite(interaction, order.target)]


def _consult(order: Order, *_: object) -> Told:
    """One ParticipantsUpdated now, a second one when the other has accepted [GWS 8.5.2, Consult]."""
    interaction = order.interaction
    return [changed(Change.PARTICIPANTS, interaction, order.agent), *_invite(interaction, order.target)]


def _remove(order: Order, at: datetime, _: object) -> Told:
    """A notice to both agents, then the changes [GWS 8.5.2, RemoveParticipantFromConference]."""
    interaction, agent, removed = order.interaction, order.agent, str(order.target)
    user = str(interaction.participants[removed].path).removeprefix("/users/")
    notice = interaction.add(
        "Notice",
        interaction.participants[agent],
        at,
        visibility="Agents",
        text=f"REMOVE_PARTICIPANT_FROM_CONFERENCE{user}",
    )
    told = [new_messages(interaction, each, [notice], captured) for each in interaction.chatting]
    interaction.states[removed] = State.COMPLETED
    interaction.participants.pop(removed)
    return [
        *told,
        changed(Change.PARTICIPANTS, interaction, agent, reference=order.reference),
        changed(Change.STATUS, interaction, removed, interaction.brief(removed)),
    ]


def _add_comment(order: Order, *_: object) -> Told:
    """[GWS 8.5.2, AddComment]."""
    interaction, agent = order.interaction, order.agent
    interaction.comment = str(order.parameters["comment"])
    document = {**interaction.brief(agent), "comment": interaction.comment}
    return [changed(Change.PROPERTIES, interaction, agent, document, reference=order.reference)]


def _set_disposition(order: Order, *_: object) -> Told:
    """It is processed by updating the key in `userData` [GWS 8.5.2, SetDisposition]."""
    key = order.parameters.get("dispositionKey") or DISPOSITION_KEY
    return _data_changed(order, {**order.interaction.user_data, key: order.parameters["disposition"]})


def _set_user_data(order: Order, *_: object) -> Told:
    """[GWS 8.5.2, AttachUserData, UpdateUserData]."""
    return _data_changed(order, {**order.interaction.user_data, **order.parameters["userData"]})


def _delete_user_data(order: Order, *_: object) -> Told:
    """[GWS 8.5.2, DeleteUserData]."""
    gone = order.parameters["keys"]
    return _data_changed(order, {key: value for key, value in order.interaction.user_data.items() if key not in gone})


def _nothing_told(*_: object) -> Told:
    """Do something that no notification is known of."""
    return []


def _writes(kind: str, spelling: Spelling, content: str | None = None, visibility: str = "All") -> Effect:
    """Return the effect of an operation that adds a message of this kind to the log."""

    def write(order: Order, at: datetime, _: object) -> Told:
        interaction = order.interaction
        said: dict[str, Any] = {} if content is None else {content: order.parameters[content]}
        entry = interaction.add(kind, interaction.participants[order.agent], at, visibility=visibility, **said)
        return [new_messages(interaction, agent, [entry], spelling) for agent in interaction.chatting]

    return write


EFFECTS: Mapping[str, Effect] = {
    "Accept": _accept,
    "Reject": _reject,
    "Leave": _leave,
    "Complete": _complete,
    "SendMessage": _writes("Text", plain, "text"),
    "SendToAgents": _writes("Text", captured, "text", "Agents"),
    "SendUrl": _writes("PushUrl", pushed_url, "url"),
    "AddComment": _add_comment,
    "Consult": _consult,
    "Transfer": _transfer,
    "RemoveParticipantFromConference": _remove,
    "SetDisposition": _set_disposition,
    "SetInFocus": _nothing_told,
    "AttachUserData": _set_user_data,
    "UpdateUserData": _set_user_data,
    "DeleteUserData": _delete_user_data,
    # Types of messages as in a sibling medium [GWS 8.5.2, SMSResources]
    "SendStartTypingNotification": _writes("TypingStarted", plain),
    "SendStopTypingNotification": _writes("TypingStopped", plain),
}


def invite(interaction: Interaction, agent: str) -> Notification:
    """Offer an interaction to an agent. No sample shows it; it is modelled on the chat medium."""
    interaction.waiting = False
    interaction.offers += 1
    interaction.states[agent] = State.INVITED
    return changed(Change.STATUS, interaction, agent)


def revoke(interaction: Interaction, agent: str) -> Notification:
    """Take an offer back that wasn't answered. No sample shows it; Genesys' mobile client knows the word."""
    interaction.waiting = not interaction.chatting
    interaction.states[agent] = State.REVOKED
    return changed(Change.STATUS, interaction, agent, interaction.brief(agent))


def customer_writes(interaction: Interaction, text: str, at: datetime) -> Told:
    """Let the customer say something."""
    entry: Entry = interaction.add("Text", interaction.participants[CUSTOMER], at, text=text)
    return [new_messages(interaction, agent, [entry], plain) for agent in interaction.chatting]


def customer_leaves(interaction: Interaction, at: datetime) -> Told:
    """Let the customer go; the agents stay in the chat until they leave."""
    entry = interaction.add("ParticipantLeft", interaction.participants.pop(CUSTOMER), at)
    agents = interaction.chatting
    return [
        *(new_messages(interaction, agent, [entry], plain) for agent in agents),
        *_participants_updated(interaction, agents),
    ]


def _finish(order: Order) -> Told:
    """End the agent's session as in [GWS 8.5.2, Reject], and tell those who stay."""
    interaction, agent = order.interaction, order.agent
    interaction.states[agent] = State.COMPLETED
    interaction.participants.pop(agent, None)
    told = changed(Change.STATUS, interaction, agent, interaction.brief(agent), reference=order.reference)
    return [told, *_participants_updated(interaction, interaction.chatting)]


def _invite(interaction: Interaction, agent: str | None) -> Told:
    return [] if agent is None else [invite(interaction, agent)]


def _participants_updated(interaction: Interaction, agents: list[str]) -> Told:
    return [changed(Change.PARTICIPANTS, interaction, agent, interaction.brief(agent)) for agent in agents]


def _data_changed(order: Order, user_data: dict[str, Any]) -> Told:
    order.interaction.user_data = user_data
    return [changed(Change.PROPERTIES, order.interaction, order.agent, reference=order.reference)]


def _renamed(participant: Participant, nickname: str) -> Participant:
    return Participant(participant.id, participant.type, nickname, participant.path, participant.visibility)

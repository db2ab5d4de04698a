"""An interaction: one customer's conversation, and the session that each agent has of it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from fbsessiond.simulator.customers import Customer
from fbsessiond.simulator.states import FINISHED, State, capabilities

Document: TypeAlias = dict[str, Any]
"""A JSON object in the platform's own keys."""

CUSTOMER = ""
"""The key of the customer among the participants; an agent's is the username."""


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in the chat."""

    id: str
    type: str
    nickname: str
    path: str | None = None
    """An agent's `/users/…`."""
    visibility: str = "All"

    def brief(self) -> Document:
        """Return the three keys of [GWS 8.5.2, Accept, SendMessage]."""
        return {"nickname": self.nickname, "type": self.type, "participantId": self.id}

    def full(self, address: str) -> Document:
        """Return the keys of [GWS 8.5.2, Leave, SendToAgents]."""
        where = {"uri": f"{address}/api/v2{self.path}", "path": self.path} if self.path else {}
        return {**self.brief(), "id": self.id, "visibility": self.visibility, **where}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the message log."""

    index: int
    type: str
    at: datetime
    sender: Participant
    content: Document = field(default_factory=dict[str, Any])
    """`text` or `url`, where its type has one."""
    visibility: str = "All"


@dataclass(slots=True)
class Interaction:
    """One conversation. It begins and waits without an agent; each agent who is offered it has a session of it."""

    id: str
    address: str
    """Where GWS says that it is: what the documents' `uri` begin with."""
    customer: Customer
    user_data: Document
    received_at: datetime
    comment: str | None = None
    states: dict[str, State] = field(default_factory=dict[str, State])
    """Of each agent's session."""
    participants: dict[str, Participant] = field(default_factory=dict[str, Participant])
    log: list[Entry] = field(default_factory=list[Entry])
    waiting: bool = True
    """In a queue: to be offered to an agent."""
    offers: int = 0

    @property
    def chatting(self) -> list[str]:
        """The agents who are in the chat."""
        return [agent for agent, state in self.states.items() if state is State.CHATTING]

    @property
    def is_over(self) -> bool:
        """Whether nobody has to do with it any more."""
        return not self.waiting and all(state in FINISHED for state in self.states.values())

    @property
    def path(self) -> str:
        """Its `path` in the platform's documents."""
        return f"/facebooksessions/{self.id}"

    @property
    def uri(self) -> str:
        """Its `uri`: without `/me`, other than the address that operations are sent to [GWS 8.5.2, SendToAgents]."""
        return f"{self.address}/api/v2{self.path}"

    @property
    def in_conference(self) -> bool:
        """Whether more than one agent is in the chat."""
        return len(self.chatting) > 1

    def add(self, kind: str, sender: Participant, at: datetime, *, visibility: str = "All", **content: Any) -> Entry:
        """Append to the message log. Indices begin with 1 [GWS 8.5.2, Accept]."""
        entry = Entry(len(self.log) + 1, kind, at, sender, content, visibility)
        self.log.append(entry)
        return entry

    def brief(self, agent: str) -> Document:
        """Return the few keys of [GWS 8.5.2, Accept, AddComment]; a finished session's lack capabilities [Reject]."""
        state = self.states[agent]
        return {
            "state": state.value,
            **self._capabilities(agent),
            "id": self.id,
            "uri": self.uri,
            "participants": [] if state in FINISHED else [each.brief() for each in self._participants()],
        }

    def full(self, agent: str) -> Document:
        """Return all keys of [GWS 8.5.2, Leave]."""
        state = self.states[agent]
        participants = [] if state in FINISHED else [each.full(self.address) for each in self._participants()]
        return {
            **({} if self.comment is None else {"comment": self.comment}),
            "userData": dict(self.user_data),
            "receivedDate": platform_date(self.received_at),
            "facebooksessionType": "Inbound",
            "uri": self.uri,
            **self._capabilities(agent),
            "suggestedQueueUris": [f"{self.address}/api/v2/queues/41cc5016-2d18-4a91-93ec-000000000000"],
            "state": state.value,
            "revelantResponseTemplateGroups": [],
            "participants": participants,
            "id": self.id,
        }

    def _capabilities(self, agent: str) -> Document:
        state = self.states[agent]
        return {} if state in FINISHED else {"capabilities": capabilities(state, conference=self.in_conference)}

    def _participants(self) -> list[Participant]:
        """Return the agents, then the customer, as the samples do."""
        return sorted(self.participants.values(), key=lambda participant: participant.type)


def platform_date(at: datetime, separator: str = " ") -> str:
    """Return a date as the platform spells it: `2015-07-16 10:22:05.000+0000` [GWS 8.5.2, Facebook message types]."""
    return f"{at:%Y-%m-%d}{separator}{at:%H:%M:%S}.{at.microsecond // 1000:03d}{at:%z}"

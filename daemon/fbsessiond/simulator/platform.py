"""The platform's own side, without I/O: agents, sessions, operations, and a count of each effect.

An operation takes two steps, as on a real GWS: `request` checks it against what is known now and answers; `carry_out`
does it later, in the back end, where it can still fail. What an agent learns of it comes by notification alone.
[GWS 8.5.2, Asynchronous Events]
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.simulator import effects
from fbsessiond.simulator.customers import Customer, invent, user_data
from fbsessiond.simulator.effects import EFFECTS, Order, Told
from fbsessiond.simulator.happening import Chronicle, What
from fbsessiond.simulator.interaction import CUSTOMER, Document, Interaction, Participant
from fbsessiond.simulator.notifications import Change, changed
from fbsessiond.simulator.operations import Parameters, Refusal, StatusCode, check
from fbsessiond.simulator.states import FINISHED, State, allows

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NOT_FOUND = Refusal(StatusCode.NOT_FOUND, "The requested resource could not be found")


@dataclass(frozen=True, slots=True)
class Applied:
    """What an effect is counted by."""

    agent: str
    session: str
    operation: str
    by: str


class Platform:
    """All agents and what they have to do with."""

    def __init__(self, agents: Sequence[str], clock: Clock, chance: Chance, chronicle: Chronicle) -> None:
        self.agents = tuple(agents)
        self.address = "http://127.0.0.1"
        """Where GWS says that it is; new interactions carry it in their documents."""
        self.effects: Counter[Applied] = Counter()
        """How often each effect was applied: a repeated one counts twice."""
        self._clock = clock
        self._chance = chance
        self._chronicle = chronicle
        self._interactions: dict[str, Interaction] = {}
        self._count = 0
        self._references = 0

    def arrive(self, customer: Customer | None = None) -> str:
        """Let a customer write to the page; return the id that each session of this interaction has."""
        self._count += 1
        customer, now = customer or invent(self._chance), self._clock.now()
        interaction = Interaction(self._new_id(), self.address, customer, user_data(customer, self._count, now), now)
        joined = Participant(self._new_id_of_participant(), "Customer", customer.nickname)
        interaction.participants[CUSTOMER] = joined
        interaction.add("ParticipantJoined", joined, now)
        interaction.add("Text", joined, now, text=customer.question)
        self._interactions[interaction.id] = interaction
        self._chronicle.tell(What.WAITING, session=interaction.id, customer=customer.nickname)
        return interaction.id

    def invite(self, agent: str, session: str) -> Told:
        """Offer a waiting interaction to an agent."""
        interaction = self._interactions[session]
        told = [effects.invite(interaction, agent)]
        self._chronicle.tell(What.INVITED, agent, session, customer=interaction.customer.nickname)
        return told

    def revoke(self, agent: str, session: str) -> Told:
        """Take back an offer, if it is still open."""
        if self.state(agent, session) is not State.INVITED:
            return []
        interaction = self._interactions[session]
        told = [effects.revoke(interaction, agent)]
        self._chronicle.tell(What.REVOKED, agent, session)
        self._after(interaction, waited=False)
        return told

    def abandon(self, session: str) -> None:
        """Let the customer of a waiting interaction go."""
        self._interactions[session].waiting = False
        self._chronicle.tell(What.ABANDONED, session=session)
        self._after(self._interactions[session], waited=False)

    def customer_writes(self, session: str, text: str) -> Told:
        """Let the customer say something, if anybody listens."""
        interaction = self._in_chat(session)
        return effects.customer_writes(interaction, text, self._clock.now()) if interaction else []

    def customer_leaves(self, session: str) -> Told:
        """Let the customer leave the chat."""
        interaction = self._in_chat(session)
        return effects.customer_leaves(interaction, self._clock.now()) if interaction else []

    def request(self, agent: str, session: str, parameters: Parameters, *, by: str = "http") -> Order | Refusal:
        """Check an operation: an order for the back end, or why it isn't taken. Nothing is changed yet."""
        outcome = self._checked(agent, session, parameters, by)
        name = str(parameters.get("operationName"))
        if isinstance(outcome, Refusal):
            details = {"status_code": outcome.status.value, "because": outcome.message}
            self._chronicle.tell(What.REFUSED, agent, session, operation=name, by=by, **details)
        else:
            self._chronicle.tell(What.ACCEPTED, agent, session, operation=name, by=by)
        return outcome

    def carry_out(self, order: Order) -> Told:
        """Apply an order, and return what it tells whom: an error, where it has become invalid meanwhile."""
        interaction, agent, operation = order.interaction, order.agent, order.operation
        if not self._is_valid(order):
            self._chronicle.tell(What.FAILED, agent, interaction.id, operation=operation, by=order.by)
            document, message = interaction.brief(agent), f"{operation} failed."
            return [
                changed(Change.ERROR, interaction, agent, document, reference=order.reference, errorMessage=message)
            ]
        waited = interaction.waiting
        told = EFFECTS[operation](order, self._clock.now(), self._participant)
        self.effects[Applied(agent, interaction.id, operation, order.by)] += 1
        state = interaction.states[agent].value
        self._chronicle.tell(What.EFFECT, agent, interaction.id, operation=operation, by=order.by, state=state)
        self._after(interaction, waited=waited)
        if order.target and interaction.states.get(order.target) is State.INVITED:
            nickname = interaction.customer.nickname
            self._chronicle.tell(What.INVITED, order.target, interaction.id, customer=nickname)
        return told

    def count(self, session: str, operation: str, *, by: str | None = None) -> int:
        """Return how often an operation took effect on a session, whoever asked for it."""
        return sum(
            times
            for applied, times in self.effects.items()
            if (applied.session, applied.operation) == (session, operation) and by in (None, applied.by)
        )

    def state(self, agent: str, session: str) -> State | None:
        """Return the state of an agent's session; None where there is no such session (any more)."""
        interaction = self._interactions.get(session)
        return interaction.states.get(agent) if interaction else None

    def open_sessions(self, agent: str) -> list[str]:
        """Return the ids of an agent's sessions that aren't finished."""
        return [interaction.id for interaction in self._open(agent)]

    def sessions(self, agent: str) -> list[Document]:
        """Return what `GET /me/facebooksessions?fields=*` lists."""
        return [interaction.full(agent) for interaction in self._open(agent)]

    def waiting(self, session: str) -> int | None:
        """Return how often an interaction in the queue was offered; None where it isn't there."""
        interaction = self._interactions.get(session)
        return interaction.offers if interaction and interaction.waiting else None

    def user_id(self, agent: str) -> str:
        """Return the id of an agent's user: 32 hexadecimal digits."""
        return hashlib.blake2s(agent.encode(), digest_size=16).hexdigest()

    def _checked(self, agent: str, session: str, parameters: Parameters, by: str) -> Order | Refusal:
        if refusal := check(parameters):
            return refusal
        operation = str(parameters["operationName"])
        interaction = self._interactions.get(session)
        if interaction is None or interaction.states.get(agent, State.COMPLETED) in FINISHED:
            return _NOT_FOUND
        target: str | None = None
        if operation != "Complete" and (address := parameters.get("targetUri") or parameters.get("targetPath")):
            target = self._agent_at(str(address))
            if target is None and (operation != "Transfer" or "/users/" in str(address)):
                return _NOT_FOUND
        self._references += 1
        order = Order(interaction, agent, operation, parameters, self._references, by, target)
        if self._is_valid(order):
            return order
        state = interaction.states[agent].value
        return Refusal(StatusCode.INVALID_IN_STATE, f"{operation} is not valid in state {state}")

    def _is_valid(self, order: Order) -> bool:
        interaction, state = order.interaction, order.interaction.states[order.agent]
        if not allows(state, order.operation, conference=interaction.in_conference):
            return False
        if order.operation == "RemoveParticipantFromConference":
            return order.target != order.agent and order.target in interaction.chatting
        if order.target is not None:
            return interaction.states.get(order.target, State.COMPLETED) in FINISHED
        return True

    def _after(self, interaction: Interaction, *, waited: bool) -> None:
        """Forget what is over; tell of what waits again."""
        if interaction.is_over:
            del self._interactions[interaction.id]
        elif interaction.waiting and not waited:
            self._chronicle.tell(What.WAITING, session=interaction.id, customer=interaction.customer.nickname)

    def _in_chat(self, session: str) -> Interaction | None:
        interaction = self._interactions.get(session)
        there = interaction and interaction.chatting and CUSTOMER in interaction.participants
        return interaction if there else None

    def _open(self, agent: str) -> Iterator[Interaction]:
        for interaction in self._interactions.values():
            if interaction.states.get(agent, State.COMPLETED) not in FINISHED:
                yield interaction

    def _agent_at(self, address: str) -> str | None:
        """Return the agent whom an address or a path names by the user's id or name."""
        name = address.rpartition("/")[2]
        return next((agent for agent in self.agents if name in (agent, self.user_id(agent))), None)

    def _participant(self, agent: str) -> Participant:
        return Participant(self._new_id_of_participant(), "Agent", agent, f"/users/{self.user_id(agent)}")

    def _new_id(self) -> str:
        """Return an id of 16 characters, such as `0002SaT7Q2K90001`: with the time, so that a new run has new ones."""
        return f"0002Sa{_base_36(int(self._clock.now().timestamp()), 6)}{_base_36(self._count, 4)}"

    def _new_id_of_participant(self) -> str:
        """Return an id such as `007355E6EDFA0107`, of which the middle is the time [GWS 8.5.2, Leave]."""
        self._references += 1
        return f"0073{int(self._clock.now().timestamp()):08X}{self._references % 0x10000:04X}"


def _base_36(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits

"""Faults that can be switched on, while it runs too: each strikes with a probability, a number of times, or both."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fbsessiond.chance import Chance, happens
from fbsessiond.durations import Duration
from fbsessiond.simulator.happening import Chronicle, What


class Where(StrEnum):
    """What a request is about."""

    OPERATIONS = "operations"
    READS = "reads"
    NOTIFICATIONS = "notifications"
    """CometD."""


class FaultKind(StrEnum):
    """What goes wrong. The first nine strike requests, the others what is behind them."""

    DROP = "drop"
    """The connection is cut in place of the answer: what was asked for has happened."""
    CUT = "cut"
    """The connection is cut after half of the answer's body: what was asked for has happened."""
    DROP_REQUEST = "drop-request"
    """The connection is cut before anything happens."""
    HANG = "hang"
    """The request is never answered, and nothing happens: the client waits until it hangs up."""
    SLOW = "slow"
    """The answer waits for `pause`."""
    SERVER_ERROR = "5xx"
    """500 or 503, and nothing happens."""
    UNAUTHORIZED = "401"
    """401 without a body, and nothing happens."""
    FORBIDDEN = "forbidden"
    """403 with a text that isn't about CSRF, and nothing happens."""
    NOT_SIGNED_IN = "403"
    """The HTTP session is over: the request is answered as without authentication."""
    UNKNOWN_CLIENT = "402"
    """At a connect, CometD has forgotten the client, and what waited for it."""
    REFUSE_SUBSCRIPTION = "refuse-subscription"
    """CometD refuses a subscription: `403::subscribe_denied`."""
    UNSUBSCRIBE = "unsubscribe"
    """At a connect, CometD has forgotten the client's subscriptions: it goes on connecting, and hears nothing."""
    ADVICE = "advice"
    """A connect succeeds, with advice that makes no sense then: to handshake, to give up, to come back later."""
    NO_LIST = "no-list"
    """The sessions are listed with success, and without a list, as where GWS's multimedia part is down."""
    DUPLICATE = "duplicate"
    """A notification is sent twice."""
    LOSE = "lose"
    """A notification isn't sent."""
    IGNORE = "ignore"
    """An operation is accepted, and nothing happens."""


class Fault(BaseModel):
    """How often a fault strikes, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float = Field(default=1.0, ge=0, le=1)
    count: int | None = Field(default=None, ge=1)
    """How many times at most; then it is over."""
    on: list[Where] | None = None
    """Which requests it strikes; by default all."""
    pause: Duration = timedelta(seconds=3)
    """How long `slow` takes."""


class FaultTable(BaseModel):
    """A setting for each fault; one that is null, or not there, is switched off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    drop: Fault | None = None
    cut: Fault | None = None
    drop_request: Fault | None = Field(default=None, alias="drop-request")
    hang: Fault | None = None
    slow: Fault | None = None
    server_error: Fault | None = Field(default=None, alias="5xx")
    unauthorized: Fault | None = Field(default=None, alias="401")
    forbidden: Fault | None = None
    not_signed_in: Fault | None = Field(default=None, alias="403")
    unknown_client: Fault | None = Field(default=None, alias="402")
    refuse_subscription: Fault | None = Field(default=None, alias="refuse-subscription")
    unsubscribe: Fault | None = None
    advice: Fault | None = None
    no_list: Fault | None = Field(default=None, alias="no-list")
    duplicate: Fault | None = None
    lose: Fault | None = None
    ignore: Fault | None = None

    def given(self) -> Iterator[tuple[FaultKind, Fault | None]]:
        """Yield each fault that is mentioned."""
        for name in sorted(self.model_fields_set):
            yield FaultKind(type(self).model_fields[name].alias or name), getattr(self, name)


class Faults:
    """Which faults are on, and how often each struck."""

    def __init__(self, table: FaultTable, chance: Chance, chronicle: Chronicle) -> None:
        self.struck: Counter[FaultKind] = Counter()
        self._chance = chance
        self._chronicle = chronicle
        self._on: dict[FaultKind, Fault] = {}
        self._left: dict[FaultKind, int | None] = {}
        self.switch(table)

    def switch(self, table: FaultTable) -> None:
        """Switch each fault that the table mentions on, or off; the others stay as they are."""
        for kind, fault in table.given():
            self._on.pop(kind, None)
            if fault is not None:
                self._on[kind] = fault
                self._left[kind] = fault.count

    def strikes(self, kind: FaultKind, where: Where | None = None, **about: Any) -> Fault | None:
        """Say whether a fault strikes now, and how; that counts as one of its times."""
        fault = self._on.get(kind)
        if fault is None or (where is not None and fault.on is not None and where not in fault.on):
            return None
        if not happens(self._chance, fault.probability):
            return None
        left = self._left[kind]
        if left is not None:
            self._left[kind] = left - 1
            if left == 1:
                del self._on[kind]
        self.struck[kind] += 1
        self._chronicle.tell(What.FAULT, kind=kind.value, **({"on": where.value} if where else {}), **about)
        return fault

    def state(self) -> dict[str, Any]:
        """Return what is on, with how many times are left, and how often each fault struck."""
        on = {
            kind.value: {"probability": fault.probability, "left": self._left[kind]} for kind, fault in self._on.items()
        }
        return {"on": on, "struck": {kind.value: times for kind, times in self.struck.items()}}

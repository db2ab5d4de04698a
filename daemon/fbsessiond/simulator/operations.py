"""The operations of the Facebook Private Messaging API: what each needs, and what GWS answers to one that won't do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

Parameters: TypeAlias = Mapping[str, Any]


class StatusCode(IntEnum):
    """GWS's `statusCode` [GWS 8.6.0, Return Values]."""

    OK = 0
    MISSING_PARAMETER = 1
    INVALID_IN_STATE = 2
    INTERNAL_ERROR = 4
    NOT_FOUND = 6
    INVALID_INPUT = 10
    NOT_AUTHENTICATED = 20


HTTP_STATUS: Mapping[StatusCode, int] = {
    StatusCode.OK: 200,
    # Seen in a log of a real server: 500 and 503 with 4, 403 with 20. The others are only likely.
    StatusCode.INTERNAL_ERROR: 500,
    StatusCode.NOT_AUTHENTICATED: 403,
    StatusCode.MISSING_PARAMETER: 400,
    StatusCode.INVALID_IN_STATE: 400,
    StatusCode.INVALID_INPUT: 400,
    StatusCode.NOT_FOUND: 404,
}
"""The HTTP status that goes with each."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why GWS doesn't take a request: nothing was changed [GWS 8.6.0, Return Values]."""

    status: StatusCode
    message: str


@dataclass(frozen=True, slots=True)
class Need:
    """A parameter: one of these names has to be there, with a value of this type."""

    names: tuple[str, ...]
    kind: type[object] = str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation needs, and whether the answer to its request carries a `referenceId`."""

    needs: tuple[Need, ...] = ()
    answers_reference: bool = False


_USER_DATA = Operation((Need(("userData",), dict),))

OPERATIONS: Mapping[str, Operation] = {
    "Accept": Operation((Need(("nickname",)),)),
    "Reject": Operation(),
    "Leave": Operation(),
    "Complete": Operation((Need(("queueName",), optional=True),)),
    "SendMessage": Operation((Need(("text",)),)),
    "SendToAgents": Operation((Need(("text",)),)),
    "SendUrl": Operation((Need(("url",)),)),
    "AddComment": Operation((Need(("comment",)),)),
    "Consult": Operation((Need(("targetUri", "targetPath")),), answers_reference=True),
    "Transfer": Operation((Need(("targetUri", "targetPath")),), answers_reference=True),
    "RemoveParticipantFromConference": Operation((Need(("targetUri",)),)),
    "SetDisposition": Operation((Need(("disposition",)), Need(("dispositionKey",), optional=True))),
    "SetInFocus": Operation(),
    "AttachUserData": _USER_DATA,
    "UpdateUserData": _USER_DATA,
    "DeleteUserData": Operation((Need(("keys",), list),)),
    "SendStartTypingNotification": Operation(),
    "SendStopTypingNotification": Operation(),
}
"""Each with its page's parameters [GWS 8.5.2, the page of each]. SetInFocus and the two about typing have no page:
they are named in `capabilities` alone, and by Genesys' mobile client for chats."""


def check(parameters: Parameters) -> Refusal | None:
    """Say what is wrong with a request's own parameters; None where nothing is."""
    name = parameters.get("operationName")
    if name is None:
        return _missing("operationName")
    if not isinstance(name, str) or (operation := OPERATIONS.get(name)) is None:
        return Refusal(StatusCode.INVALID_INPUT, "There is no such operation")
    for need in operation.needs:
        values = [parameters[known] for known in need.names if parameters.get(known) is not None]
        if not values and not need.optional:
            return _missing(" or ".join(need.names))
        if not all(isinstance(value, need.kind) for value in values):
            return Refusal(StatusCode.INVALID_INPUT, f"Parameter {need.names[0]} has the wrong type")
    return None


def _missing(name: str) -> Refusal:
    return Refusal(StatusCode.MISSING_PARAMETER, f"Required parameter {name} is missing")

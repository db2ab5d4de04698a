"""What became of a request to the REST API, for whoever counts it or traces it."""

from dataclasses import dataclass
from enum import StrEnum

from fbsessiond.gws.answers import PASSED_ON, Answer


class RequestResult(StrEnum):
    """What became of a request."""

    PASSED_ON = "passed on"
    """GWS took it; or answered, where it was to answer."""
    REFUSED = "refused"
    """GWS says with a status code why it doesn't do it."""
    NOT_SIGNED_IN = "not signed in"
    """The HTTP session is over, or its CSRF token is old: the agent is signed in, and it is sent once more."""
    NO_STATUS_CODE = "no status code"
    """An answer that isn't GWS's own: a proxy's, or an error page."""
    NO_CONNECTION = "no connection"
    """It never got there."""
    NO_ANSWER = "no answer"
    """It was sent, and no answer came in time."""
    CUT = "cut"
    """It was sent, and the answer broke off, or was too long."""


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """A request was answered, or wasn't."""

    method: str
    operation: str | None
    """Which operation was asked for; None: it only read."""
    result: RequestResult
    status: int | None
    """The answer's HTTP status, where there was one."""
    seconds: float


def result_of(answer: Answer) -> RequestResult:
    """Return what an answer says of its request."""
    if answer.is_not_signed_in or answer.is_without_csrf_token:
        return RequestResult.NOT_SIGNED_IN
    if answer.code is None:
        return RequestResult.NO_STATUS_CODE
    return RequestResult.PASSED_ON if answer.code in PASSED_ON else RequestResult.REFUSED

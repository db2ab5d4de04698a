"""What GWS answers to a request, and what that means for trying again.

Every answer carries a `statusCode`; where it isn't 0, the request changed nothing [GWS 8.6.0, Return values]. An answer
that can't be read says nothing about that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from fbsessiond.notification import Document


@dataclass(frozen=True, slots=True)
class StatusCode:
    """A `statusCode` of the platform's table [GWS 8.6.0, Return values]."""

    code: int
    means: str
    again: bool = False
    """Trying again, later, can help."""


STATUS_CODES: Final[Mapping[int, StatusCode]] = {
    each.code: each
    for each in (
        StatusCode(0, "passed on"),
        StatusCode(1, "a required parameter is missing"),
        StatusCode(2, "a parameter isn't valid for the current state"),
        StatusCode(3, "the operation is forbidden"),
        StatusCode(4, "an internal error, of GWS or of a server behind it", again=True),
        StatusCode(5, "no permission"),
        StatusCode(6, "the resource wasn't found"),
        StatusCode(7, "partially successful"),
        StatusCode(8, "the password has to be changed"),
        StatusCode(9, "the processing is incomplete", again=True),
        StatusCode(10, "an input doesn't validate"),
        StatusCode(11, "a property can only be read"),
        StatusCode(12, "the resource can't be retrieved", again=True),
        StatusCode(13, "the resource can't be created"),
        StatusCode(14, "the resource can't be deleted"),
        StatusCode(15, "the resource can't be updated"),
        StatusCode(16, "the resource can't be assigned"),
        StatusCode(17, "the resource can't be unassigned"),
        StatusCode(18, "the resource exists already"),
        StatusCode(19, "the resource is in use already"),
        StatusCode(20, "not signed in", again=True),
    )
}

PASSED_ON: Final = frozenset({0, 7})
NOT_SIGNED_IN: Final = 20

LARGEST_CODE: Final = 999
"""A larger number isn't told: nobody knows what it is."""


class GwsError(Exception):
    """A request that didn't lead to what was asked."""


class NotPerformed(GwsError):  # noqa: N818  says what is known, which is what a caller reacts to
    """The request changed nothing: GWS says so, or it never got there."""

    def __init__(self, words: str, *, code: int | None = None, again: bool) -> None:
        super().__init__(words)
        self.code = code
        """The platform's `statusCode`; None where there was no answer."""
        self.again = again
        """Trying again, later, can help."""


class InDoubt(GwsError):  # noqa: N818  the same
    """The request was sent, and no answer tells what became of it: look before trying again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What GWS said."""

    http: int
    body: Document | None
    """None: no JSON object."""
    text: str
    """The beginning of a body that is no JSON."""

    @property
    def code(self) -> int | None:
        """The `statusCode`."""
        code = (self.body or {}).get("statusCode")
        return code if type(code) is int else None  # a bool is an int, too

    @property
    def is_not_signed_in(self) -> bool:
        """Whether the HTTP session is over: 403 with `statusCode` 20, or a plain 401 [a log of GWS 8.5.202]."""
        return self.code == NOT_SIGNED_IN or (self.http == 401 and self.code is None)  # noqa: PLR2004

    @property
    def is_without_csrf_token(self) -> bool:
        """Whether the CSRF token was missing or old: 403 with a plain text [GWS 8.5.2, CSRF protection]."""
        return self.http == 403 and self.code is None and "csrf" in self.text.casefold()  # noqa: PLR2004

    @property
    def reference_id(self) -> int | None:
        """What links the notification to come to this request; often absent."""
        reference = (self.body or {}).get("referenceId")
        return reference if type(reference) is int else None


def read_answer(http: int, content: bytes) -> Answer:
    """Read a response, whatever its status: bodies come with 4xx and 5xx too [GWS 8.5.2, Error handling]."""
    try:
        body: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    return Answer(http, body if isinstance(body, dict) else None, content[:200].decode(errors="replace"))


def check_performed(answer: Answer) -> Answer:
    """Return an answer that says "passed on". Raises `NotPerformed` or `InDoubt` for any other."""
    code = answer.code
    if code in PASSED_ON:
        return answer
    if code is not None:
        if (known := STATUS_CODES.get(code)) is None:
            number = f" {code}" if 0 <= code <= LARGEST_CODE else ""
            raise NotPerformed(f"status code{number}: a status code that isn't in the table", code=code, again=False)
        raise NotPerformed(f"status code {code}: {known.means}", code=code, again=known.again)
    if 400 <= answer.http < 500:  # noqa: PLR2004  the server, or a proxy, refused to take it
        raise NotPerformed(f"HTTP {answer.http}, without a status code", again=answer.http in {408, 425, 429})
    raise InDoubt(f"HTTP {answer.http}, and a body that isn't GWS's")

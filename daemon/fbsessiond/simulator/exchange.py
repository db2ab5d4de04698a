"""What GWS is asked by HTTP and what it answers, as values, and the JSON in both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fbsessiond.simulator.operations import HTTP_STATUS, Refusal, StatusCode


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names in lower case."""
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: bool = False
    """Send half of the body, and cut the connection."""


def decoded(body: bytes) -> Any:
    """Return what a request's body says; None where it isn't JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def ok(**attributes: Any) -> Response:
    """Return a success, with what was asked for."""
    return answered(200, {"statusCode": StatusCode.OK, **attributes})


def refused(refusal: Refusal) -> Response:
    """Say why, without any other attributes [GWS 8.6.0, Return Values]."""
    return answered(HTTP_STATUS[refusal.status], {"statusCode": refusal.status, "statusMessage": refusal.message})


def answered(status: int, content: object) -> Response:
    """Return an answer in JSON."""
    return Response(status, msgspec.json.encode(content))

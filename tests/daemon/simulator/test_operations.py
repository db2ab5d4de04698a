"""fbsessiond.simulator.operations: what each operation needs."""

from typing import Any

import pytest

from fbsessiond.simulator.operations import HTTP_STATUS, OPERATIONS, Refusal, StatusCode, check

COMPLETE: dict[str, dict[str, Any]] = {
    "Accept": {"nickname": "First"},
    "SendMessage": {"text": "Hello"},
    "SendToAgents": {"text": "Hello"},
    "SendUrl": {"url": "http://page.invalid/"},
    "AddComment": {"comment": "Kind"},
    "Consult": {"targetPath": "/users/1"},
    "Transfer": {"targetUri": "/users/1"},
    "RemoveParticipantFromConference": {"targetUri": "/users/1"},
    "SetDisposition": {"disposition": "resolved"},
    "AttachUserData": {"userData": {"a": 1}},
    "UpdateUserData": {"userData": {"a": 1}},
    "DeleteUserData": {"keys": ["a"]},
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_with_its_parameters_an_operation_is_right(name: str) -> None:
    """What its page demands is enough."""
    assert check({"operationName": name, **COMPLETE.get(name, {})}) is None


@pytest.mark.parametrize("name", COMPLETE)
def test_a_missing_parameter_is_named(name: str) -> None:
    """Without a parameter, or with null, the status code is 1."""
    refusal = check({"operationName": name, **dict.fromkeys(COMPLETE[name])})
    assert isinstance(refusal, Refusal)
    assert refusal.status is StatusCode.MISSING_PARAMETER
    assert next(iter(COMPLETE[name])) in refusal.message


@pytest.mark.parametrize("name", COMPLETE)
def test_a_parameter_of_the_wrong_type_is_invalid(name: str) -> None:
    """A number is no text, list or object: the status code is 10."""
    refusal = check({"operationName": name, **dict.fromkeys(COMPLETE[name], 7)})
    assert isinstance(refusal, Refusal)
    assert refusal.status is StatusCode.INVALID_INPUT


def test_optional_parameters_are_checked_where_they_are_there() -> None:
    """A queue's name may be missing, but not be a number."""
    assert check({"operationName": "Complete", "queueName": "Later"}) is None
    refusal = check({"operationName": "Complete", "queueName": 7})
    assert refusal == Refusal(StatusCode.INVALID_INPUT, "Parameter queueName has the wrong type")


def test_the_operation_itself_has_to_be_named() -> None:
    """No name is a missing parameter; a name that nobody knows, or that is none, is invalid."""
    assert check({}) == Refusal(StatusCode.MISSING_PARAMETER, "Required parameter operationName is missing")
    assert check({"operationName": "Explode"}) == Refusal(StatusCode.INVALID_INPUT, "There is no such operation")
    assert check({"operationName": 7}) == Refusal(StatusCode.INVALID_INPUT, "There is no such operation")


def test_each_status_code_has_an_http_status() -> None:
    """Not authenticated is 403, never 401; success is 200."""
    assert HTTP_STATUS.keys() == set(StatusCode)
    assert HTTP_STATUS[StatusCode.OK] == 200
    assert HTTP_STATUS[StatusCode.NOT_AUTHENTICATED] == 403

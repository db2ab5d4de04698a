from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from fbsessiond.follow_up import Webhook
from fbsessiond.handler import STATE_DIRECTORY, Defer, Delivery, Done, Handler, Outcome, Reject, StatePath, misfit
from fbsessiond.operations import Operation
from fbsessiond.reveal import Reveal
from fbsessiond.testing import EPOCH, make_delivery, make_transition


class Greet(Handler):
    """Say hello when an agent enters a session."""

    path: StatePath = Path("greetings")
    greeting: str = "hello"
    patience: timedelta = timedelta(minutes=1)

    async def handle(self, delivery: Delivery) -> Outcome:
        """Greet who is there, wait for who isn't yet, and refuse a session that is over."""
        match delivery.transition.after:
            case "Chatting":
                return Done()
            case "Invited":
                return Defer(self.patience)
            case state:
                return Reject(f"no {self.greeting} in state {state}")


def delivery(after: str) -> Delivery:
    """Return the delivery of a session that came into a state."""
    return make_delivery(make_transition(after))


def test_options() -> None:
    """A handler's fields are its options, with their defaults, read from what the configuration gives."""
    assert Greet().greeting == "hello"
    assert Greet.model_validate({"greeting": "good morning", "patience": "PT5M"}) == Greet(
        greeting="good morning", patience=timedelta(minutes=5)
    )


@pytest.mark.parametrize("options", [{"greating": "hello"}, {"greeting": 5}])
def test_wrong_options(options: dict[str, object]) -> None:
    """An option that isn't known, or doesn't fit, is refused when the handler is made."""
    with pytest.raises(ValidationError):
        Greet.model_validate(options)


def test_fixed_options() -> None:
    """Options don't change while the handler runs."""
    with pytest.raises(ValidationError, match="frozen"):
        Greet().greeting = "goodbye"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("greetings.txt", "/state/greetings.txt"),
        ("/var/log/greetings.txt", "/var/log/greetings.txt"),
        ("~/greetings.txt", "/home/operator/greetings.txt"),
    ],
)
def test_state_path(monkeypatch: pytest.MonkeyPatch, given: str, path: str) -> None:
    """A file's relative path counts from the state directory; an absolute one, or one from home, stays."""
    monkeypatch.setenv("HOME", "/home/operator")
    handler = Greet.model_validate({"path": given}, context={STATE_DIRECTORY: Path("/state")})
    assert handler.path == Path(path)


def test_state_path_without_state_directory() -> None:
    """Where no state directory is said, a file's relative path counts from the working directory."""
    assert Greet.model_validate({"path": "greetings.txt"}).path == Path("greetings.txt")


def test_without_handle() -> None:
    """A class that doesn't say how it handles a delivery is no handler."""

    class Idle(Handler):
        pass

    with pytest.raises(TypeError, match="handle"):
        Idle()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ("Chatting", Done()),
        ("Invited", Defer(timedelta(minutes=1))),
        ("Revoked", Reject("no hello in state Revoked")),
    ],
)
async def test_outcomes(after: str, outcome: Outcome) -> None:
    """An outcome is a value: settled, not now, or never; two that say the same are equal."""
    assert await Greet().handle(delivery(after)) == outcome


def test_follow_ups() -> None:
    """A settled delivery asks for any number of follow-ups, in their order."""
    disposition, completion = Operation.set_disposition("S1", "resolved"), Operation.complete("S1")
    assert Done().follow_ups == ()
    assert Done(disposition, completion).follow_ups == (disposition, completion)
    assert Done(disposition, completion) != Done(completion, disposition)


async def test_revealed() -> None:
    """A handler that keeps no record has no use for who had customer data shown."""
    await Greet().revealed(Reveal("journal/reveals/1", EPOCH, "alice", "export --reveal"))


def test_verify() -> None:
    """A handler that keeps nothing has nothing wrong in it."""
    assert list(Greet().verify()) == []


async def test_running() -> None:
    """A handler that needs nothing while the daemon runs has nothing to say about it."""
    async with Greet().running():
        pass


async def test_running_with_a_resource() -> None:
    """A handler that needs a client or a file takes it before its first delivery, and gives it back after its last."""
    happened: list[str] = []

    class Careful(Greet):
        @asynccontextmanager
        async def running(self) -> AsyncGenerator[None, None]:
            happened.append("taken")
            yield
            happened.append("given back")

    async with (handler := Careful()).running():
        await handler.handle(delivery("Chatting"))
        happened.append("handled")
    assert happened == ["taken", "handled", "given back"]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (delivery("Chatting"), "attempt"),
        (delivery("Chatting").transition, "after"),
        (Done(), "follow_ups"),
        (Defer(timedelta()), "pause"),
        (Reject("never"), "reason"),
    ],
)
def test_fixed_values(value: object, field: str) -> None:
    """A handler can't change the delivery that it gets, nor an outcome once given: others see the same objects."""
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)


async def test_webhook_to_a_handler_that_posts_none() -> None:
    """A handler that posts no webhooks refuses those that another one asks for, and says what it is."""
    transition = make_transition("Chatting")
    refused = await Greet().post(Webhook("greet", transition.session.id), "journal/1/greet/1", transition.at)
    assert refused == Reject("greet posts no webhooks: it is a Greet")


@pytest.mark.parametrize(
    "outcome", [Done(), Done(Operation.complete("S1"), Webhook("crm", "S1")), Defer(timedelta(minutes=1)), Reject("no")]
)
def test_outcomes_that_fit(outcome: Outcome) -> None:
    """What a handler may return fits."""
    assert misfit(outcome) is None


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (None, "NoneType"),
        (True, "bool"),
        (Done("complete"), "Done with what is no follow-up"),  # type: ignore[arg-type]
        (Defer(5), "Defer without a timedelta"),  # type: ignore[arg-type]
    ],
)
def test_misfits(returned: object, what: str) -> None:
    """Anything else is told, with what would fit."""
    assert misfit(returned) == f"handle() returned {what}; it returns Done(…), Defer(…) or Reject(…)"

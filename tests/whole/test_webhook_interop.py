"""Webhooks against other projects' libraries: npm's `standardwebhooks` verifies them, npm's `cloudevents` reads them.

In binary mode the latter doesn't undo the percent-encoding of headers as [CloudEvents 1.0.2, HTTP §3.1.3.2] wants it:
there a delivery's id reads as it is only where the handler's name is plain.
"""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cometd_servers import NodeServer
from fbsessiond import Delivery, Done, Outcome, Reject
from fbsessiond.clock import SystemClock
from fbsessiond.testing import EPOCH, make_delivery, make_transition
from fbsessiond_handlers.webhook import Webhook

pytestmark = pytest.mark.node

MODES = ["structured", "binary"]
SECRETS = {name: f"whsec_{base64.b64encode(name.encode() * 16).decode()}" for name in ("NEW", "OLD", "OTHER")}


@asynccontextmanager
async def receiving(secret: str) -> AsyncGenerator[NodeServer]:
    """Run a receiver that knows one secret."""
    server = await NodeServer.start("webhook", secret=SECRETS[secret])
    try:
        yield server
    finally:
        await server.kill()


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)


def now_due(handler: str = "hook", **known: Any) -> Delivery:
    """Return a delivery that is tried now, with a time that a receiver takes for now."""
    transition = make_transition("Chatting", "Invited", **known)
    return make_delivery(transition, handler=handler, late=SystemClock().now() - EPOCH)


async def posted(server: NodeServer, secrets: list[str], delivery: Delivery, **options: Any) -> tuple[Outcome, Any]:
    """Return the outcome of a delivery, and what the receiver made of it."""
    webhook = Webhook.model_validate(
        {
            "url": f"http://127.0.0.1:{server.port}/",
            "secrets": [{"env": name} for name in secrets],
            "allow_private": True,
            **options,
        }
    )
    async with webhook.running():
        outcome = await webhook.handle(delivery)
    return outcome, (await server.order("received"))["received"][-1]


@pytest.mark.parametrize("mode", MODES)
async def test_verified_and_read(mode: str) -> None:
    """Another project's libraries verify the signature, and find in the event what was put into it."""
    delivery = now_due(comment="Zoë's 🐈", userData={"a": None, "b": [1.5, {}]})
    async with receiving("NEW") as server:
        outcome, seen = await posted(server, ["NEW"], delivery, mode=mode, data="notification")
    assert (outcome, seen["verified"]) == (Done(), True)
    event = seen["event"]
    assert event.pop("time").startswith("2026-01-01T00:00:00")
    assert event.pop("data")["notification"] == delivery.transition.notification
    assert event == {
        "specversion": "1.0",
        "id": delivery.key,
        "source": "/fbsessiond/agent1",
        "type": "fbsessiond.session.transition.v1",
        "subject": "0002DaAVKJ0V0095",
        "datacontenttype": "application/json",
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("knows", ["NEW", "OLD"])
async def test_rotation(mode: str, knows: str) -> None:
    """While secrets are rotated, receivers verify with whichever they know; a handler's name may be any."""
    async with receiving(knows) as server:
        outcome, seen = await posted(server, ["NEW", "OLD"], now_due("wrap up: Zoë."), mode=mode)
    assert (outcome, seen["verified"]) == (Done(), True)


@pytest.mark.parametrize("mode", MODES)
async def test_another_secret(mode: str) -> None:
    """A receiver with another secret refuses what comes, and that is a dead letter."""
    async with receiving("OTHER") as server:
        outcome, seen = await posted(server, ["NEW", "OLD"], now_due(), mode=mode)
    assert (outcome, seen["verified"]) == (Reject("the receiver answered 401"), False)

"""fbsessiond.simulator.bayeux_client: one client's subscriptions and queue."""

import asyncio
from collections.abc import Callable

import pytest

from fbsessiond.simulator.bayeux_client import Client, Sent
from fbsessiond.testing import EPOCH, run_virtual

CHANNEL = "/v2/me/facebooksession"


def in_loop(test: Callable[[Client], None], *, acknowledges: bool = True) -> None:
    """Run a test with a client, whose event belongs to a loop."""

    async def scenario() -> None:
        test(Client("c1", "agent1", EPOCH, acknowledges=acknowledges))

    run_virtual(scenario())


def sent(number: int) -> Sent:
    """Return a numbered message."""
    return Sent(number, "agent1", "c1", {"data": number})


@pytest.mark.parametrize(
    ("subscription", "wanted"),
    [
        (CHANNEL, True),
        ("/v2/me/*", True),
        ("/v2/me/**", True),
        ("/v2/**", True),
        ("/**", True),
        ("/*", False),
        ("/v2/*", False),
        ("/v2/me/facebooksessions", False),
        ("/v2/me/facebooksession/*", False),
    ],
)
def test_wildcards(subscription: str, wanted: bool) -> None:
    """One star stands for one segment, two for any number of them; the plural spelling is another channel."""

    def test(client: Client) -> None:
        client.subscriptions.add(subscription)
        assert client.wants(CHANNEL) is wanted

    in_loop(test)


def test_what_is_not_acknowledged_is_sent_again() -> None:
    """A closed batch comes with the next one until its number, or a later one, is named."""

    def test(client: Client) -> None:
        client.offer(sent(1))
        assert client.close_batch() == (1, [{"data": 1}])
        client.offer(sent(2))
        assert client.close_batch() == (2, [{"data": 1}, {"data": 2}])
        assert client.acknowledged(1) == [sent(1)]
        client.offer(sent(3))
        assert client.close_batch() == (3, [{"data": 2}, {"data": 3}])
        assert client.acknowledged(3) == [sent(2), sent(3)]
        assert client.queued == 0
        assert client.close_batch() == (4, [])

    in_loop(test)


@pytest.mark.parametrize("number", [None, -1, 0, "1", True, 0.5])
def test_what_is_no_batch_number_acknowledges_nothing(number: object) -> None:
    """A client's first connect has none, or -1."""

    def test(client: Client) -> None:
        client.offer(sent(1))
        client.close_batch()
        assert client.acknowledged(number) == []
        assert client.queued == 1

    in_loop(test)


def test_what_is_taken_is_gone() -> None:
    """Without acknowledgements nothing is sent again."""

    def test(client: Client) -> None:
        client.offer(sent(1))
        assert client.changed.is_set()
        assert client.take() == [{"data": 1}]
        assert client.take() == []

    in_loop(test, acknowledges=False)


def test_a_client_knows_what_became_of_it() -> None:
    """It was handshaken, nothing else happened yet, and it is gone as soon as there is a time for that."""

    def test(client: Client) -> None:
        assert client.handshaken_at == EPOCH
        assert client.subscribed_at is None
        assert client.connected_at is None
        assert not client.is_gone
        client.gone_at = EPOCH
        assert client.is_gone

    in_loop(test)


def test_a_client_is_kept_while_it_connects() -> None:
    """Its timer is stopped, if one runs."""

    async def scenario() -> None:
        client = Client("c1", "agent1", EPOCH, acknowledges=True)
        client.keep()
        client.expiry = asyncio.get_running_loop().call_later(1, client.subscriptions.clear)
        client.keep()
        assert client.expiry.cancelled()

    run_virtual(scenario())

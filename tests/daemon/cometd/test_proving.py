"""fbsessiond.cometd.proving: what a conversation proves, and where another process takes it up."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import pytest

from fbsessiond.cometd.proving import GAP_CAUSES, LEAST_KEPT, Chain, Position, read_position
from fbsessiond.cometd.rules import Cause
from fbsessiond.gap import Break, GapCause, Proof
from fbsessiond.testing import EPOCH

URL = "http://gws.example/notifications"
POSITION = Position(
    url=URL,
    whose="agent1",
    client="client-1",
    transport="long-polling",
    acknowledges=True,
    batch=7,
    channels=("/a", "/b"),
    chain="client-1/2",
    since=EPOCH,
    until=EPOCH + timedelta(seconds=50),
    before=EPOCH + timedelta(seconds=20),
    access=b'{"cookies":[]}',
    hold_ms=15_000,
)


def at(seconds: float) -> datetime:
    """Return a moment."""
    return EPOCH + timedelta(seconds=seconds)


def listening(*, acknowledges: bool = True) -> Chain:
    """Return the chain of a session that the server sends everything to since second 1."""
    chain = Chain()
    chain.begun("client-1", acknowledges=acknowledges)
    chain.listening(at(1))
    return chain


def connected(chain: Chain, seconds: float) -> Proof:
    """Return what a connect proves where all is subscribed."""
    proof = chain.connected(at(seconds), is_listening=True)
    assert proof is not None
    return proof


def test_before_the_first_session_nothing_is_proved() -> None:
    """A server that isn't reached is news then, too, and there is nothing to doubt."""
    for cause in (Cause.UNREACHABLE, Cause.CUT):
        chain = Chain()
        assert (chain.name, chain.since, chain.before) == ("/0", None, None)
        assert chain.lost(cause, at_once=True) == Break(GapCause.NETWORK)


def test_each_connect_proves_the_time_since_the_last_subscription() -> None:
    """The chain is the same, and each proof reaches further."""
    chain = listening()
    chain.listening(at(2))
    assert chain.since == at(1)
    assert connected(chain, 3) == Proof("client-1/0", at(1), at(3))
    assert connected(chain, 30) == Proof("client-1/0", at(1), at(30))


def test_nothing_is_proved_while_a_subscription_is_missing() -> None:
    """A connect that succeeds says only that the session is there."""
    chain = Chain()
    chain.begun("client-1", acknowledges=True)
    assert chain.since is None
    assert chain.connected(at(1), is_listening=False) is None
    assert chain.since is None
    chain.listening(at(5))
    assert connected(chain, 6) == Proof("client-1/0", at(5), at(6))


def test_a_new_session_is_another_chain() -> None:
    """What was proved before says nothing about it, nor do the breaks of the one before."""
    chain = listening(acknowledges=False)
    chain.lost(Cause.CUT)
    chain.begun("client-2", acknowledges=True)
    assert (chain.name, chain.since) == ("client-2/0", None)
    chain.listening(at(9))
    assert connected(chain, 10) == Proof("client-2/0", at(9), at(10))


@pytest.mark.parametrize("cause", Cause)
def test_with_acknowledgements_a_failed_exchange_costs_nothing(cause: Cause) -> None:
    """What it brought comes again: the chain holds, though until then nobody knows that."""
    chain = listening()
    assert chain.lost(cause) == Break(GAP_CAUSES[cause])
    assert connected(chain, 9) == Proof("client-1/0", at(1), at(9))


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.UNREACHABLE])
def test_without_acknowledgements_a_failed_exchange_ends_the_chain(cause: Cause) -> None:
    """Its response may be lost: only what follows the next one is proved, under another name."""
    chain = listening(acknowledges=False)
    assert connected(chain, 2) == Proof("client-1/0", at(1), at(2))
    assert chain.lost(cause) == Break(GAP_CAUSES[cause])
    assert chain.since is None
    assert connected(chain, 9) == Proof("client-1/1", at(9), at(9))
    chain.lost(cause)
    assert connected(chain, 12) == Proof("client-1/2", at(12), at(12))


def test_where_there_was_no_connection_nothing_can_be_lost() -> None:
    """Without acknowledgements, too: nothing was sent."""
    chain = listening(acknowledges=False)
    assert chain.lost(Cause.UNREACHABLE) == Break(GapCause.NETWORK)
    assert connected(chain, 9) == Proof("client-1/0", at(1), at(9))


def test_only_the_first_break_is_news() -> None:
    """Whatever else goes wrong after it has its cause in it; after a proof the next one is news again."""
    chain = listening()
    assert chain.lost(Cause.SESSION_GONE) == Break(GapCause.SESSION_LOST)
    assert chain.lost(Cause.CUT) is None
    chain.begun("client-2", acknowledges=True)
    assert chain.refused() is None
    assert chain.connected(at(4), is_listening=False) is None
    assert chain.lost(Cause.CUT) is None
    connected(chain, 5)
    assert chain.lost(Cause.CUT) == Break(GapCause.NETWORK)


def test_a_session_that_is_gone_at_once_was_gone_before() -> None:
    """The server may have dropped it while it held the last connect: what that one proved counts no more."""
    chain = listening()
    connected(chain, 3)
    connected(chain, 30)
    assert chain.before == at(3)
    assert chain.lost(Cause.SESSION_GONE, at_once=True) == Break(GapCause.SESSION_LOST, at(3))
    assert chain.lost(Cause.SESSION_GONE, at_once=True) is None
    chain = listening()
    connected(chain, 30)
    assert chain.lost(Cause.SESSION_GONE, at_once=True) == Break(GapCause.SESSION_LOST), "the first isn't held"


def test_a_session_that_was_there_is_not_doubted() -> None:
    """A connect that was held, or failed otherwise, says nothing about the one before; a new session knows none."""
    for cause in Cause:
        chain = listening()
        connected(chain, 3)
        connected(chain, 30)
        assert chain.lost(cause, at_once=cause is not Cause.SESSION_GONE) == Break(GAP_CAUSES[cause])
        assert chain.lost(Cause.SESSION_GONE, at_once=True) is None
    chain = listening()
    connected(chain, 3)
    connected(chain, 30)
    assert chain.lost(Cause.SESSION_GONE) == Break(GapCause.SESSION_LOST)
    chain = listening()
    connected(chain, 30)
    chain.begun("client-2", acknowledges=True)
    assert chain.before is None
    assert connected(chain, 40).chain == "client-2/0"
    assert chain.before is None
    assert chain.lost(Cause.SESSION_GONE, at_once=True) == Break(GapCause.SESSION_LOST)


def test_doubts_end_where_the_chain_began() -> None:
    """Without acknowledgements a failed exchange begins another one: the gap before it is known already."""
    chain = listening(acknowledges=False)
    connected(chain, 3)
    chain.lost(Cause.CUT)
    connected(chain, 9)
    assert chain.lost(Cause.SESSION_GONE, at_once=True) == Break(GapCause.SESSION_LOST)


def test_another_process_doubts_the_last_proof_of_the_one_before() -> None:
    """Its first connect is the very next one; after a success it doubts its own, not the whole chain."""
    for acknowledges in (True, False):
        position = msgspec.structs.replace(POSITION, acknowledges=acknowledges)
        chain = Chain()
        chain.resumed(position, at(55), is_listening=True)
        assert chain.lost(Cause.SESSION_GONE, at_once=True) == Break(GapCause.SESSION_LOST, at(20))
        chain = Chain()
        chain.resumed(position, at(55), is_listening=True)
        connected(chain, 60)
        doubted = Break(GapCause.SESSION_LOST, at(50) if acknowledges else None)
        assert chain.lost(Cause.SESSION_GONE, at_once=True) == doubted


def test_a_session_that_may_have_lapsed_is_not_doubted() -> None:
    """After a long stop a server has forgotten the session as it should: the last proof stands."""
    chain = Chain()
    chain.resumed(POSITION, POSITION.until + LEAST_KEPT, is_listening=True)
    assert chain.lost(Cause.SESSION_GONE, at_once=True) == Break(GapCause.SESSION_LOST)


def test_a_refused_subscription_is_a_break() -> None:
    """It is told once, until there is a proof again."""
    chain = Chain()
    chain.begun("client-1", acknowledges=True)
    assert chain.refused() == Break(GapCause.SUBSCRIPTION)
    assert chain.refused() is None
    assert chain.lost(Cause.CUT) is None
    chain.listening(at(5))
    assert connected(chain, 6).since == at(5)


def test_every_cause_has_its_gap() -> None:
    """A lost session, a refusal and the network are told apart."""
    assert set(GAP_CAUSES) == set(Cause)
    assert {cause for cause, gap in GAP_CAUSES.items() if gap is GapCause.REFUSED} == {
        Cause.REFUSED,
        Cause.FORBIDDEN,
        Cause.UNWANTED,
    }


def test_another_process_goes_on_with_the_chain() -> None:
    """With acknowledgements nothing is lost between the two."""
    chain = Chain()
    chain.resumed(POSITION, at(55), is_listening=True)
    assert connected(chain, 60) == Proof("client-1/2", EPOCH, at(60))
    chain.lost(Cause.CUT)
    assert connected(chain, 61) == Proof("client-1/2", EPOCH, at(61))


def test_another_process_begins_another_chain_without_acknowledgements() -> None:
    """The last response may have been sent to a process that is gone; further failures end this one, too."""
    chain = Chain()
    chain.resumed(msgspec.structs.replace(POSITION, acknowledges=False), at(55), is_listening=True)
    assert connected(chain, 60) == Proof("client-1/3", at(60), at(60))
    chain.lost(Cause.CUT)
    assert connected(chain, 61) == Proof("client-1/4", at(61), at(61))


def test_a_channel_that_is_new_begins_another_chain() -> None:
    """The process before didn't hear it, so that its proofs say less."""
    chain = Chain()
    chain.resumed(POSITION, at(55), is_listening=False)
    assert chain.since is None
    assert chain.connected(at(59), is_listening=False) is None
    chain.listening(at(60))
    assert connected(chain, 61) == Proof("client-1/3", at(60), at(61))


@pytest.mark.parametrize(
    ("name", "next_name"), [("a/b/4", "a/b/5"), ("a/x", "a/1"), ("a/²", "a/1"), ("a", "/1")], ids=str
)
def test_a_strange_name_of_a_chain(name: str, next_name: str) -> None:
    """A clientId may hold anything, and a name that isn't ours still leads to another one."""
    chain = Chain()
    chain.resumed(msgspec.structs.replace(POSITION, chain=name), at(55), is_listening=False)
    assert chain.name == next_name


def reading(
    encoded: bytes | None,
    url: str = URL,
    whose: str = "agent1",
    transports: Sequence[str] = ("long-polling", "websocket"),
    channels: Sequence[str] = ("/a", "/b", "/c"),
) -> Position | None:
    """Read a position with a configuration."""
    return read_position(encoded, url, whose, transports=transports, channels=channels)


def test_a_position_is_read_as_it_was_written() -> None:
    """Every field comes back."""
    assert reading(POSITION.encoded()) == POSITION
    assert reading(POSITION.encoded(), channels=("/b", "/a")) == POSITION


def test_a_position_elsewhere_is_none() -> None:
    """Another server doesn't know the session, nobody else may have it, and what isn't wanted any more isn't taken."""
    encoded = POSITION.encoded()
    assert reading(encoded, url=f"{URL}/elsewhere") is None
    assert reading(encoded, whose="agent2") is None
    assert reading(encoded, transports=("websocket",)) is None
    assert reading(encoded, channels=("/a",)) is None
    assert reading(None) is None


def older() -> bytes:
    """Return a position from before there was one of its fields."""
    fields = msgspec.json.decode(POSITION.encoded())
    del fields["chain"]
    return msgspec.json.encode(fields)


@pytest.mark.parametrize("encoded", [b"", b"\xff\x00", b"{}", b"[]", b"null", POSITION.encoded()[:-5], older()])
def test_a_position_that_can_not_be_read_is_none(encoded: bytes) -> None:
    """Garbage and other versions' are worth a new session, not an error."""
    assert reading(encoded) is None

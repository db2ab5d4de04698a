"""fbsessiond.cometd.rules: what to do next after each reply and each failure."""

from itertools import pairwise

import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.cometd.rules import (
    DEFAULT_HOLD_MS,
    LONGEST_HOLD_MS,
    LONGEST_INTERVAL_MS,
    Advice,
    Cause,
    Conversation,
    Do,
    Step,
    Subscriptions,
    limit_seconds,
    step_seconds,
)

SUCCESS = {"successful": True}
UNKNOWN_CLIENT = {"successful": False, "error": "402::Unknown client", "advice": {"reconnect": "handshake"}}


def conversation(*, connected_at: float | None = 0.0) -> Conversation:
    """Return a conversation in mid-session, or one where nothing has succeeded yet."""
    talk = Conversation(SeededChance(1))
    if connected_at is not None:
        talk.handshaken(connected_at)
        talk.connected(SUCCESS, Advice(), connected_at)
    return talk


def test_advice_is_in_milliseconds_and_merged() -> None:
    """What a reply doesn't mention stays, and what isn't a number doesn't count."""
    advice = Advice().merged({"advice": {"timeout": 20_000, "interval": 250}})
    assert (advice.hold_ms, advice.interval_ms) == (20_000, 250)
    assert advice.merged({"advice": {"interval": "soon"}}) == advice
    assert advice.merged({"advice": {"timeout": 10_000}}).interval_ms == 250
    assert advice.merged({}) is advice
    assert Advice().hold_ms == DEFAULT_HOLD_MS


def test_advice_beyond_reason_is_clamped() -> None:
    """Neither a negative time nor a day is followed, and the advice says so."""
    advice = Advice().merged({"advice": {"timeout": 86_400_000, "interval": 86_400_000}})
    assert (advice.hold_ms, advice.interval_ms, advice.clamped) == (LONGEST_HOLD_MS, LONGEST_INTERVAL_MS, True)
    advice = advice.merged({"advice": {"timeout": -1, "interval": -1}})
    assert (advice.hold_ms, advice.interval_ms, advice.clamped) == (0, 0, True)
    assert not advice.merged({"advice": {"timeout": 1}}).clamped


def test_several_clients_under_one_cookie_are_noticed() -> None:
    """The server's word for it is kept until the next advice."""
    advice = Advice().merged({"advice": {"multiple-clients": True, "interval": 2000}})
    assert (advice.shared, advice.interval_ms) == (True, 2000)
    assert not advice.merged({"advice": {"interval": 0}}).shared


def test_a_connect_follows_a_success_after_the_interval() -> None:
    """250 ms are a quarter of a second, not four minutes."""
    talk = conversation()
    assert talk.connected(SUCCESS, Advice(interval_ms=250), 1.0) == Step(Do.CONNECT, 0.25)
    assert talk.handshaken(2.0) == Step(Do.CONNECT)


def test_a_success_proves_the_conversation_and_a_failure_ends_that() -> None:
    """Only what succeeded last proves anything; the session may go on all the same."""
    talk = conversation(connected_at=None)
    assert (talk.session, talk.proven) == (False, False)
    talk.handshaken(0.0)
    assert (talk.session, talk.proven) == (True, False)
    talk.connected(SUCCESS, Advice(), 0.0)
    assert (talk.session, talk.proven) == (True, True)
    talk.failed(Cause.CUT, 1.0)
    assert (talk.session, talk.proven) == (True, False)


def test_pauses_grow_only_after_the_server_has_dropped_the_session() -> None:
    """0.1 s, then half a second to one for 15 s, then slowly longer, up to half a minute; a success starts anew."""
    talk = conversation()
    now, pauses = 0.0, []
    while now < 2400:
        step = talk.failed(Cause.UNREACHABLE, now)
        pauses.append((now, step.pause_seconds))
        now += step.pause_seconds
    assert pauses[0] == (0.0, 0.1)
    steady = [pause for at, pause in pauses[1:] if at < 15]
    assert all(0.5 <= pause <= 1.0 for pause in steady)
    assert len(set(steady)) > 10
    later = [(at, pause) for at, pause in pauses if at >= 15]
    longest = [(min(max(at / 40, 1), 30), pause) for at, pause in later]
    assert all(limit / 2 <= pause <= limit for limit, pause in longest)
    assert all(pause <= 1.5 for at, pause in later if at <= 60)
    assert max(pause for _, pause in later) > 25
    assert all(one < two for (one, _), (two, _) in pairwise(later))
    talk.handshaken(now)
    talk.connected(SUCCESS, Advice(), now)
    assert talk.failed(Cause.UNREACHABLE, now) == Step(Do.CONNECT, 0.1, Cause.UNREACHABLE)


def test_a_failed_connect_is_repeated_until_no_server_keeps_the_session() -> None:
    """For a minute the session goes on; then a handshake is tried."""
    talk = conversation()
    assert talk.failed(Cause.TIMED_OUT, 10.0).do is Do.CONNECT
    assert talk.failed(Cause.TIMED_OUT, 69.9).do is Do.CONNECT
    assert talk.failed(Cause.TIMED_OUT, 70.0).do is Do.HANDSHAKE
    assert not talk.session


def test_a_failed_handshake_is_repeated() -> None:
    """Without a session there is nothing else to do."""
    assert conversation(connected_at=None).failed(Cause.STATUS, 0.0) == Step(Do.HANDSHAKE, 0.1, Cause.STATUS)


def test_a_response_that_is_too_long_ends_the_session() -> None:
    """The same session would send the same response again."""
    talk = conversation()
    assert talk.failed(Cause.TOO_LONG, 1.0) == Step(Do.HANDSHAKE, 0.1, Cause.TOO_LONG)
    assert not talk.session


@pytest.mark.parametrize(("now", "pause"), [(100.0, 0.0), (5.0, 0.0), (3.0, 2.0)])
def test_an_unknown_client_shakes_hands_at_once_but_not_in_a_storm(now: float, pause: float) -> None:
    """A handshake that the server asks for waits only until the last one is five seconds old."""
    talk = conversation()
    assert talk.connected(UNKNOWN_CLIENT, Advice(), now) == Step(Do.HANDSHAKE, pause, Cause.SESSION_GONE)
    assert not talk.session


def test_a_402_without_advice_is_an_unknown_client() -> None:
    """The error's number counts where no advice says more."""
    reply = {"successful": False, "error": "402::Unknown client"}
    assert conversation().connected(reply, Advice(), 9.0) == Step(Do.HANDSHAKE, 0.0, Cause.SESSION_GONE)


def test_another_servers_number_for_an_unknown_client_is_no_refusal() -> None:
    """401 and 403 with the advice to shake hands are about the session, not about the credentials."""
    reply = {"successful": False, "error": "403::Unknown client", "advice": {"reconnect": "handshake"}}
    assert conversation().connected(reply, Advice(), 9.0) == Step(Do.HANDSHAKE, 0.0, Cause.SESSION_GONE)


def test_advice_to_retry_keeps_the_session() -> None:
    """An unsuccessful connect is repeated after the server's interval, or ours if that is longer."""
    reply = {"successful": False, "error": "402::Busy", "advice": {"reconnect": "retry"}}
    talk = conversation()
    assert talk.connected(reply, Advice(interval_ms=7000), 9.0) == Step(Do.CONNECT, 7.0, Cause.UNSUCCESSFUL)
    assert talk.connected(reply, Advice(), 9.1).pause_seconds >= 0.5


def test_an_old_advice_to_shake_hands_is_not_followed_again() -> None:
    """Only what the very reply advises counts: a declined handshake without advice waits its time."""
    talk = conversation()
    talk.connected(UNKNOWN_CLIENT, Advice(), 9.0)
    assert talk.declined({"successful": False}, Advice(), 9.0) == Step(Do.HANDSHAKE, 0.1, Cause.UNSUCCESSFUL)
    assert talk.declined({"successful": False}, Advice(), 9.1).pause_seconds >= 0.5
    assert talk.declined(UNKNOWN_CLIENT, Advice(), 9.6).pause_seconds >= 0.5


def test_a_server_that_wants_no_more_is_left_alone_for_a_while() -> None:
    """`reconnect: none` is followed by a handshake after 20 s: a daemon has nobody else to start it anew."""
    reply = {"successful": False, "advice": {"reconnect": "none"}}
    assert conversation().connected(reply, Advice(), 9.0) == Step(Do.HANDSHAKE, 20.0, Cause.UNWANTED)


def test_a_successful_connect_can_ask_for_a_handshake() -> None:
    """Its advice is followed like a failure's."""
    reply = {"successful": True, "advice": {"reconnect": "handshake"}}
    assert conversation().connected(reply, Advice(), 9.0) == Step(Do.HANDSHAKE, 0.0, Cause.SESSION_GONE)


@pytest.mark.parametrize("code", ["401", "403"])
def test_credentials_refused_at_the_first_handshake(code: str) -> None:
    """They were freshly sent: to send them again could lock the account."""
    reply = {"successful": False, "error": f"{code}::no"}
    step = conversation(connected_at=None).declined(reply, Advice(), 0.0)
    assert (step.do, step.cause) == (Do.GIVE_UP, Cause.REFUSED)


def refused_for(talk: Conversation, began: float) -> list[float]:
    """Refuse whatever is sent until the conversation gives up, and return when something was sent."""
    sent, now = [began], began
    while (step := talk.failed(Cause.REFUSED, now)).do is not Do.GIVE_UP:
        assert (step.do, step.cause, step.afresh) == (Do.HANDSHAKE, Cause.REFUSED, True)
        now += step.pause_seconds
        sent.append(now)
    return sent


def test_credentials_that_were_good_are_tried_again_for_a_minute() -> None:
    """At once, and then every four seconds: a server refuses all while what checks them restarts."""
    sent = refused_for(conversation(), 100.0)
    assert sent == [100.0, *(100.0 + 4 * times for times in range(16))]


def test_a_success_gives_the_credentials_another_minute() -> None:
    """What was refused before it doesn't count any more; a handshake alone is none."""
    talk = conversation()
    for now in range(100, 150, 10):
        assert talk.failed(Cause.REFUSED, now).do is Do.HANDSHAKE
    talk.handshaken(150.0)
    talk.connected(SUCCESS, Advice(), 151.0)
    assert refused_for(talk, 200.0)[-1] == 260.0
    talk = conversation()
    talk.failed(Cause.REFUSED, 100.0)
    talk.handshaken(150.0)
    assert talk.failed(Cause.REFUSED, 160.0).do is Do.GIVE_UP


def test_credentials_of_another_process_are_sent_afresh_once() -> None:
    """In a session that is taken up they may not have been sent at all; they weren't good yet in this process."""
    talk = conversation(connected_at=None)
    assert talk.resumed() == Step(Do.CONNECT)
    assert (talk.session, talk.proven) == (True, False)
    assert talk.failed(Cause.FORBIDDEN, 1.0) == Step(Do.HANDSHAKE, 0.0, Cause.REFUSED, afresh=True)
    assert talk.failed(Cause.REFUSED, 1.0).do is Do.GIVE_UP


def test_a_session_that_is_taken_up_and_unknown_is_replaced_at_once() -> None:
    """There was no handshake that the next one could storm after."""
    talk = conversation(connected_at=None)
    talk.resumed()
    assert talk.connected(UNKNOWN_CLIENT, Advice(), 0.1) == Step(Do.HANDSHAKE, 0.0, Cause.SESSION_GONE)


def test_a_wish_for_a_new_session_is_followed_at_once() -> None:
    """However young the old one is, and whether or not there is one."""
    for talk in (conversation(), conversation(connected_at=None)):
        assert talk.renewed() == Step(Do.HANDSHAKE)
        assert (talk.session, talk.proven) == (False, False)


def test_a_handshake_alone_does_not_prove_the_credentials() -> None:
    """A server that shakes hands with anybody refuses at the first connect: that is final too."""
    talk = conversation(connected_at=None)
    talk.handshaken(0.0)
    assert talk.connected({"successful": False, "error": "401::no"}, Advice(), 0.0).do is Do.GIVE_UP


def test_authenticating_afresh_is_rate_limited() -> None:
    """A server that accepts the credentials and refuses them again gets them every four seconds at most."""
    talk = conversation()
    assert talk.failed(Cause.REFUSED, 100.0).pause_seconds == 0.0
    talk.handshaken(101.0)
    talk.connected(SUCCESS, Advice(), 101.0)
    assert talk.connected({"successful": False, "error": "401::no"}, Advice(), 102.0).pause_seconds == 2.0
    talk.handshaken(105.0)
    talk.connected(SUCCESS, Advice(), 105.0)
    assert talk.failed(Cause.REFUSED, 105.0).pause_seconds == 3.0


def test_a_403_about_something_else_is_no_refusal() -> None:
    """In mid-session it is worth fresh cookies; at a handshake it is a failure like others, for ever."""
    talk = conversation()
    assert talk.failed(Cause.FORBIDDEN, 100.0) == Step(Do.HANDSHAKE, 0.0, Cause.REFUSED, afresh=True)
    assert talk.failed(Cause.FORBIDDEN, 101.0) == Step(Do.HANDSHAKE, 0.1, Cause.FORBIDDEN)
    assert talk.failed(Cause.FORBIDDEN, 102.0).do is Do.HANDSHAKE


def test_subscriptions_are_tried_once_a_second_until_each_is_confirmed() -> None:
    """What is refused stays wanted, and doesn't hinder the others."""
    subscriptions = Subscriptions(("/a", "/b"))
    assert subscriptions.due(0.0) == ("/a", "/b")
    subscriptions.accepted("/a")
    assert [subscriptions.was_refused("/b"), subscriptions.was_refused("/b")] == [1, 2]
    assert subscriptions.due(0.9) == ()
    assert subscriptions.due(1.0) == ("/b",)
    subscriptions.accepted("/b")
    assert subscriptions.missing == ()
    assert subscriptions.was_refused("/b") == 1


def test_a_new_session_has_no_subscriptions() -> None:
    """All are wanted again, at once."""
    subscriptions = Subscriptions(("/a",))
    subscriptions.due(0.0)
    subscriptions.accepted("/a")
    subscriptions.lapsed()
    assert subscriptions.due(0.1) == ("/a",)


def test_another_process_subscriptions_are_taken_up() -> None:
    """What it hadn't subscribed is due, and what isn't wanted any more isn't counted."""
    subscriptions = Subscriptions(("/a", "/b", "/c"))
    subscriptions.resumed(("/c", "/old", "/a"))
    assert (subscriptions.acknowledged, subscriptions.missing) == (("/a", "/c"), ("/b",))
    assert subscriptions.due(0.0) == ("/b",)
    subscriptions.accepted("/b")
    assert subscriptions.acknowledged == ("/a", "/b", "/c")


def test_how_long_the_server_is_asked_to_hold_a_connect() -> None:
    """Not at all for a proof, a second while a subscription is missing, and as it likes otherwise."""
    subscriptions = Subscriptions(("/a",))
    assert subscriptions.hold_ms(Advice(), proven=False) == 0
    assert subscriptions.hold_ms(Advice(), proven=True) == 1000
    assert subscriptions.hold_ms(Advice(hold_ms=500), proven=True) == 500
    subscriptions.accepted("/a")
    assert subscriptions.hold_ms(Advice(), proven=True) is None


def test_every_request_has_a_limit() -> None:
    """A connect has the server's hold and some slack, and nothing waits for ever."""
    assert limit_seconds("/meta/connect", 30_000) == 35.0
    assert limit_seconds("/meta/connect", 0) == 10.0
    assert limit_seconds("/meta/handshake", 30_000) == 10.0
    assert limit_seconds("/meta/disconnect", 30_000) == 2.0


def test_a_step_has_a_limit() -> None:
    """A step is a connect after all subscriptions, or sign-in, handshake and what goes with it."""
    assert step_seconds(30_000, 1) == 65.0
    assert step_seconds(0, 3) == 60.0

"""fbsessiond.simulator.http_sessions: who is signed in."""

import base64

import pytest

from fbsessiond.chance import SeededChance
from fbsessiond.gws.access import Basic, Bearer
from fbsessiond.simulator import http_sessions
from fbsessiond.simulator.http_sessions import HttpSessions, token_of

PASSWORD = "simulated"  # noqa: S105  of agents that don't exist


def sessions() -> HttpSessions:
    """Return the sessions of two agents."""
    return HttpSessions(("agent1", "agent2"), PASSWORD, SeededChance(1))


def basic(agent: str, password: str = PASSWORD) -> str:
    """Return a header as the daemon sends it."""
    return Basic(agent, password).authorization()


@pytest.mark.parametrize("header", [basic("agent1"), Bearer(token_of("agent1")).authorization()])
def test_right_credentials_begin_a_session(header: str) -> None:
    """By password or by token; the scheme's case doesn't matter."""
    for spelling in (header, header.replace("Basic", "basic").replace("Bearer", "BEARER")):
        session = sessions().find(None, spelling)
        assert session is not None
        assert session.agent == "agent1"
        assert len(session.id) == len(session.csrf) == 32


@pytest.mark.parametrize(
    "header",
    [
        basic("agent1", "wrong"),
        basic("agent9"),
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff").decode(),
        "Bearer token-of-agent9",
        "Digest x",
        "",
    ],
)
def test_wrong_credentials_are_refused(header: str) -> None:
    """Even beside the cookie of a session."""
    all_ = sessions()
    session = all_.find(None, basic("agent1"))
    assert session is not None
    assert all_.find(None, header) is None
    assert all_.find(session.id, header) is None


def test_the_cookie_is_enough() -> None:
    """A session goes on without credentials, and with them under the same id."""
    all_ = sessions()
    session = all_.find(None, basic("agent1"))
    assert session is not None
    assert all_.find(session.id, None) is session
    assert all_.find(session.id, basic("agent1")) is session


def test_nobody_is_signed_in_without_either() -> None:
    """Nor with a cookie that isn't known."""
    assert sessions().find(None, None) is None
    assert sessions().find("never", None) is None


def test_another_agents_credentials_begin_another_session() -> None:
    """The cookie doesn't count then."""
    all_ = sessions()
    session = all_.find(None, basic("agent1"))
    assert session is not None
    other = all_.find(session.id, basic("agent2"))
    assert other is not None
    assert (other.agent, other.id != session.id) == ("agent2", True)


def test_an_ended_session_is_unknown() -> None:
    """To end it twice is nothing."""
    all_ = sessions()
    session = all_.find(None, basic("agent1"))
    assert session is not None
    all_.end(session)
    all_.end(session)
    assert all_.find(session.id, None) is None


def test_all_sessions_can_end_at_once() -> None:
    """No cookie is worth anything then, and credentials begin another session."""
    all_ = sessions()
    begun = [all_.find(None, basic(agent)) for agent in ("agent1", "agent2")]
    all_.end_all()
    assert [all_.find(session and session.id, None) for session in begun] == [None, None]
    session = all_.find(None, basic("agent1"))
    assert session is not None
    assert session not in begun


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest unused goes."""
    monkeypatch.setattr(http_sessions, "KEPT_SESSIONS", 2)
    all_ = sessions()
    first, second = (all_.find(None, basic("agent1")) for _ in range(2))
    assert first is not None
    assert second is not None
    all_.find(first.id, None)
    all_.find(None, basic("agent1"))
    assert all_.find(first.id, None) is first
    assert all_.find(second.id, None) is None

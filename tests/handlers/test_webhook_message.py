import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cloudevents.core.bindings.http import from_http_event
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook, WebhookVerificationError

from fbsessiond import Delivery
from fbsessiond import Webhook as Told
from fbsessiond.clock import SystemClock
from fbsessiond.testing import make_delivery, make_transition
from fbsessiond.trace_context import TraceContext, current
from fbsessiond_handlers.webhook_message import Envelope, Mode, UnusableSecretError, event_of


def now() -> datetime:
    """Return the time of day: a receiver takes no message that is older than five minutes."""
    return SystemClock().now()


AT = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)


def secret(letter: bytes, length: int = 32) -> str:
    """Return a signing secret as receivers are given it."""
    return f"whsec_{base64.b64encode(letter * length).decode()}"


OLD, NEW = secret(b"o"), secret(b"n")


def delivery(agent: str = "agent1", handler: str = "hook") -> Delivery:
    """Return a delivery with something of the customer's."""
    return make_delivery(make_transition("Chatting", at=AT, agent=agent, comment="Zoë's cat"), handler=handler)


def test_event() -> None:
    """The event's id is the delivery's key, its subject the session, its time the transition's."""
    attributes = event_of(delivery(), "state").get_attributes()
    assert attributes == {
        "specversion": "1.0",
        "id": f"{'0' * 32}/1/hook",
        "source": "/fbsessiond/agent1",
        "type": "fbsessiond.session.transition.v1",
        "subject": "0002DaAVKJ0V0095",
        "time": AT,
        "datacontenttype": "application/json",
    }


def test_source() -> None:
    """The source is a URI reference, whatever the agent is called."""
    assert event_of(delivery("Zoë / 1?"), "state").get_source() == "/fbsessiond/Zo%C3%AB%20%2F%201%3F"


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("agent", ["agent1", "Zoë / 1?"])
def test_modes(mode: Mode, agent: str) -> None:
    """In either mode the event comes out again as it went in."""
    message = Envelope([NEW], mode, "notification").seal(delivery(agent), now())
    event = from_http_event(message)
    assert isinstance(event, CloudEvent)
    assert event.get_attributes() == event_of(delivery(agent), "notification").get_attributes()
    assert event.get_data() == event_of(delivery(agent), "notification").get_data()


def test_structured() -> None:
    """In structured mode all of it is in the body, and the media type says so. [CloudEvents 1.0.2, HTTP §3.2]."""
    message = Envelope([NEW], "structured", "state").seal(delivery(), now())
    assert message.headers["content-type"] == "application/cloudevents+json"
    assert not [name for name in message.headers if name.startswith("ce-")]
    assert json.loads(message.body)["time"] == "2026-01-01T09:30:00Z"


def test_binary() -> None:
    """In binary mode the body is the data, and the attributes are headers. [CloudEvents 1.0.2, HTTP §3.1]."""
    message = Envelope([NEW], "binary", "state").seal(delivery(), now())
    assert message.headers["content-type"] == "application/json"
    assert message.headers["ce-subject"] == json.loads(message.body)["session"]


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_signature(mode: Mode) -> None:
    """A receiver with the secret can verify a message; with another, or for another body, it can't."""
    message = Envelope([NEW], mode, "notification").seal(delivery(), now())
    assert Webhook(NEW).verify(message.body, message.headers)
    for key, body in ((OLD, message.body), (NEW, message.body + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(body, message.headers)


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_follow_up(mode: Mode) -> None:
    """What another handler asked to be posted is an event of its own type, signed like any other."""
    told = Told("crm", "0002DaAVKJ0V0095", {"case": 7})
    message = Envelope([NEW], mode, "state").seal_follow_up(told, "journal/42/wrap-up/3", now())
    assert Webhook(NEW).verify(message.body, message.headers)
    event = from_http_event(message)
    assert event.get_type() == "fbsessiond.follow_up.v1"
    assert event.get_id() == message.headers["webhook-id"] == "journal/42/wrap-up/3"
    assert event.get_subject() == "0002DaAVKJ0V0095"
    assert event.get_data() == {"case": 7}


def test_rotation() -> None:
    """While secrets are rotated a receiver may know either; the first secret's signature comes first."""
    message = Envelope([NEW, OLD], "structured", "state").seal(delivery(), now())
    for key in (OLD, NEW):
        Webhook(key).verify(message.body, message.headers)
    alone = Envelope([NEW], "structured", "state").seal(delivery(), now())
    assert message.headers["webhook-signature"].split(" ")[0] == alone.headers["webhook-signature"]


def test_attempts() -> None:
    """The id stays the same at each attempt; the timestamp is the attempt's, in seconds."""
    envelope = Envelope([NEW], "structured", "state")
    first = envelope.seal(delivery(), AT)
    again = envelope.seal(delivery(), AT + timedelta(seconds=90.5))
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == f"{'0' * 32}/1/hook"
    assert int(again.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 90


def test_id_with_what_can_not_stand_in_a_header() -> None:
    """A full stop would end the id in what is signed, and a line break in the header: both are written with %."""
    message = Envelope([NEW], "binary", "state").seal(delivery(handler="a.b\r\nX-Evil: ü"), now())
    assert message.headers["webhook-id"] == f"{'0' * 32}/1/a%2Eb%0D%0AX-Evil%3A%20%C3%BC"
    assert all(value.isascii() and value.isprintable() for value in message.headers.values())
    Webhook(NEW).verify(message.body, message.headers)


@pytest.mark.parametrize("text", [secret(b"k", 24), secret(b"k", 64), secret(b"k", 25).rstrip("="), f" {NEW[6:]}\n"])
def test_secrets(text: str) -> None:
    """A secret is 24 to 64 bytes in base64; its prefix and padding may be left out."""
    message = Envelope([text], "structured", "state").seal(delivery(), now())
    Webhook(text.strip()).verify(message.body, message.headers)


@pytest.mark.parametrize(
    "text", [secret(b"k", 23), secret(b"k", 65), "whsec_", "hunter2", "whsec_ü", "a" * 41, "-" * 40]
)
def test_unusable_secrets(text: str) -> None:
    """Anything else is refused, by its place and without its text."""
    with pytest.raises(
        UnusableSecretError, match=r"secrets\.1: should be whsec_ and 24 to 64 bytes in base64$"
    ) as error:
        Envelope([NEW, text], "structured", "state")
    assert text not in str(error.value).replace("whsec_ and", "")


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_trace(mode: Mode) -> None:
    """Within a trace a header carries it on; the event stays the same, and so does the signature's content."""
    envelope = Envelope([NEW], mode, "state")
    outside = envelope.seal(delivery(), now())
    before = current.set(TraceContext("ab" * 16, "cd" * 8))
    inside = envelope.seal(delivery(), now())
    current.reset(before)
    assert "traceparent" not in outside.headers
    assert inside.headers == {**outside.headers, "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    assert inside.body == outside.body

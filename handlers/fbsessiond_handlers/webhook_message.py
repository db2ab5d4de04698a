"""A delivery as a webhook's request: a CloudEvents 1.0 event, signed by Standard Webhooks.

Imported only where the handler `webhook` is used: its packages take a while, and are an extra.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias
from urllib.parse import quote

from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook as Key

from fbsessiond import Delivery, Webhook, traceparent
from fbsessiond_handlers.transition_data import Data, data_of

Mode: TypeAlias = Literal["structured", "binary"]
"""Where the event's attributes stand: in the body with its data, or in headers. [CloudEvents 1.0.2, HTTP §3]"""

EVENT_TYPE = "fbsessiond.session.transition.v1"
FOLLOW_UP_TYPE = "fbsessiond.follow_up.v1"

_KEY_BYTES = range(24, 65)
"""How long a signing key is. [Standard Webhooks 1.0.0, Signature scheme]"""

_WRITERS = {"structured": to_structured_event, "binary": to_binary_event}


class UnusableSecretError(OSError):
    """A signing secret isn't one of Standard Webhooks'."""


class Envelope:
    """Writes and signs the messages for one endpoint."""

    def __init__(self, secrets: Sequence[str], mode: Mode, data: Data) -> None:
        """Take the secrets, the current one first, then those that receivers may still know.

        All of them sign, so that a receiver may verify with either. [Standard Webhooks 1.0.0, Webhook headers] Raises
        `UnusableSecretError`.
        """
        self._keys = [Key(_key_in(secret, place)) for place, secret in enumerate(secrets)]
        self._write = _WRITERS[mode]
        self._data: Data = data

    def seal(self, delivery: Delivery, at: datetime) -> HTTPMessage:
        """Return the headers and the body of an attempt at a time, in UTC. At each attempt the id is the same."""
        return self._sign(event_of(delivery, self._data), delivery.key, at)

    def seal_follow_up(self, webhook: Webhook, key: str, at: datetime) -> HTTPMessage:
        """Return the headers and the body of what another handler asked to be posted."""
        attributes = {
            "id": key,
            "source": "/fbsessiond",
            "type": FOLLOW_UP_TYPE,
            "subject": webhook.session,
            "time": at,
            "datacontenttype": "application/json",
        }
        return self._sign(CloudEvent(attributes, dict(webhook.data)), key, at)

    def _sign(self, event: CloudEvent, key: str, at: datetime) -> HTTPMessage:
        message = self._write(event)
        identity = _identity(key)
        body = message.body.decode()
        signatures = [signer.sign(identity, at, body) for signer in self._keys]
        headers = {
            "webhook-id": identity,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        if (parent := traceparent()) is not None:  # not in the event: that is the same at every attempt
            headers["traceparent"] = parent
        return HTTPMessage({**message.headers, **headers}, message.body)


def event_of(delivery: Delivery, data: Data) -> CloudEvent:
    """Return a delivery as an event, which `source` and `id` name together, worldwide [CloudEvents 1.0.2 §3.1]."""
    transition = delivery.transition
    attributes = {
        "id": delivery.key,
        "source": f"/fbsessiond/{quote(transition.agent, safe='')}",
        "type": EVENT_TYPE,
        "subject": transition.session.id,
        "time": transition.at,
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes, data_of(transition, data))


def _identity(key: str) -> str:
    """Return a delivery's key without what can't stand in a header, and without the signed content's full stop."""
    return quote(key, safe="/").replace(".", "%2E")


def _key_in(secret: str, place: int) -> bytes:
    text = secret.strip().removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):  # the latter: not ASCII
        key = b""
    if len(key) not in _KEY_BYTES:
        raise UnusableSecretError(f"secrets.{place}: should be whsec_ and 24 to 64 bytes in base64")
    return key

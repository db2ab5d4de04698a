"""How exchanges travel, whatever carries them: what is the same for long-polling and websocket.

Its `Client` makes them, from the library's registry. What they keep of it: messages are built, numbered and passed
through extensions there, transports are negotiated, and the websocket's exchanges matched. What they replace: its
next connect leaves by itself, its requests have no time-out before the first advice, responses no limit, and it takes
`advice.interval` for seconds and replaces advice instead of merging it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import structlog
from aiocometd.constants import CONNECT_MESSAGE, ConnectionType, TransportState
from aiocometd.extensions import AuthExtension
from aiocometd.transports.base import TransportBase
from aiocometd.typing import Headers, JsonObject, Payload

from fbsessiond.cometd.exchange import ExchangeError
from fbsessiond.cometd.handover import Handover
from fbsessiond.cometd.parcel import unpack
from fbsessiond.cometd.replies import is_ours, succeeded
from fbsessiond.cometd.rules import Advice, Cause, limit_seconds
from fbsessiond.gws.access import Access

log = structlog.get_logger()


class Wire(AuthExtension):
    """What both transports share: the agent's access, the place for messages, and the server's advice.

    It travels as the client's `auth`, the one parameter that the library hands to each transport as it is.
    """

    def __init__(self, access: Access, handover: Handover) -> None:
        self.access = access
        self.handover = handover
        self.advice = Advice()

    async def outgoing(self, payload: Payload, headers: Headers) -> None:
        """Send the credentials with every request, and the CSRF token with it."""
        del payload
        headers.update(self.access.headers("POST"))

    async def incoming(self, payload: Payload, headers: Headers | None = None) -> None:
        """Merge the advice of each reply."""
        del headers
        for reply in payload:
            before, self.advice = self.advice, self.advice.merged(reply)
            if self.advice == before:
                continue
            if self.advice.clamped:
                log.warning("cometd.advice.clamped", interval_ms=self.advice.interval_ms, hold_ms=self.advice.hold_ms)
            if self.advice.shared:
                log.warning("cometd.cookies.shared", interval_ms=self.advice.interval_ms)


_STATE_EVENTS = {state: asyncio.Event() for state in TransportState}
"""Nobody waits for a state here, so all share the events: one each for six states would be 4.5 KB an agent."""


class SteppedTransport(TransportBase):
    """A transport that sends one request when it is asked to, and nothing by itself."""

    def __init__(self, *, auth: Wire, **rest: Any) -> None:
        super().__init__(auth=auth, **rest)
        self.wire = auth
        self._state_events = _STATE_EVENTS
        if self.client_id is not None:  # negotiated: another transport shook hands
            self._state = TransportState.CONNECTING

    async def handshake(self, connection_types: list[ConnectionType]) -> JsonObject:
        """Ask for a session; a success without what a session needs is a failure."""
        reply = await super().handshake(connection_types)
        if succeeded(reply):
            if not (isinstance(self._client_id, str) and isinstance(reply.get("supportedConnectionTypes"), list)):
                raise ExchangeError(Cause.NOT_BAYEUX, "a handshake without clientId or supportedConnectionTypes")
            self._state = TransportState.CONNECTING
        return reply

    async def connect(self, hold_ms: int | None = None) -> JsonObject:
        """Send one /meta/connect and return its reply, successful or not; the messages that came along are handed over.

        `hold_ms` asks the server to answer after that time at the latest. [Bayeux 1.0 §4.2.2]
        """
        message = CONNECT_MESSAGE.copy()
        if hold_ms is not None:
            message["advice"] = {"timeout": hold_ms}  # type: ignore[assignment]
        reply = await self._send_message(message)
        if not is_ours(reply, self.client_id):
            raise ExchangeError(Cause.NOT_BAYEUX, "a reply for another clientId")
        self._state = TransportState.CONNECTED if succeeded(reply) else TransportState.CONNECTING
        return reply

    async def _send_payload_with_auth(self, payload: Payload) -> JsonObject:
        # The library sends again after 401 and 403. Here the rules decide, as they do for HTTP's 401 and 403: to
        # repeat refused credentials can lock an account, and faye's 401 only means an unknown client.
        reply = await self._send_payload(payload)
        reply["successful"] = succeeded(
            reply
        )  # the library takes a missing one for an error of its own, or for success
        return reply

    async def _unpack(self, body: bytes, headers: Mapping[str, str] | None = None) -> list[JsonObject]:
        """Put down a response's messages first of all; then let the extensions see its replies."""
        try:
            parcel = unpack(body)
        except ValueError:
            raise ExchangeError(Cause.NOT_BAYEUX, f"{len(body)} bytes that aren't an array of messages") from None
        self.wire.handover.offer(parcel.messages)
        if all(reply.get("channel") != "/meta/connect" for reply in parcel.replies):
            self.wire.handover.pass_on()  # else whoever asked passes it on, with what the reply proves
        replies = list(parcel.replies)
        await self._process_incoming_payload(replies, dict(headers or {}))
        return replies

    def _limit_seconds(self, message: JsonObject) -> float:
        asked = message.get("advice", {}).get("timeout")
        return limit_seconds(message["channel"], self.wire.advice.hold_ms if asked is None else asked)

    async def _get_http_session(self) -> aiohttp.ClientSession:
        return self.wire.access.session

    async def _close_http_session(self) -> None:
        """Leave it open: it is the agent's, not the transport's."""

"""aiocometd's client, taken step by step: nothing leaves but what it is told to send.

The library's own client connects again by itself as soon as a reply is there, and so acknowledges what nobody has
stored. This one is told when: after the commit. Its other interface (`subscribe`, `close`, `closed`, its errors) stays.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiocometd.client import Client
from aiocometd.constants import ConnectionType
from aiocometd.extensions import Extension
from aiocometd.transports.registry import create_transport, register_transport
from aiocometd.typing import Headers, JsonObject, Payload

from fbsessiond.cometd.exchange import get
from fbsessiond.cometd.long_polling import LongPolling
from fbsessiond.cometd.proving import Position
from fbsessiond.cometd.replies import acknowledges, batch_number, is_ours, succeeded
from fbsessiond.cometd.rules import Advice
from fbsessiond.cometd.transport import SteppedTransport, Wire
from fbsessiond.cometd.websocket import Websocket

register_transport(ConnectionType.LONG_POLLING)(LongPolling)
register_transport(ConnectionType.WEBSOCKET)(Websocket)


class Acknowledgement(Extension):
    """Each connect names the last batch that arrived [CometD 3, Acknowledge Extension].

    The number is that of the last reply. As no connect leaves before that reply's messages are committed, to name it
    is to say that they are on disk.
    """

    def __init__(self) -> None:
        self.agreed = False
        self.batch_number = -1
        self._client_id: str | None = None

    async def outgoing(self, payload: Payload, headers: Headers) -> None:
        """Offer the extension in a handshake, and acknowledge in a connect."""
        del headers
        for message in payload:
            if message["channel"] == "/meta/handshake":
                self.agreed, self.batch_number = False, -1
                message["ext"] = {"ack": True}
            elif message["channel"] == "/meta/connect":
                self._client_id = message["clientId"]
                if self.agreed:
                    message["ext"] = {"ack": self.batch_number}

    async def incoming(self, payload: Payload, headers: Headers | None = None) -> None:
        """Note whether the server agrees, and the number of each batch."""
        del headers
        for reply in payload:
            if not succeeded(reply):
                continue
            if reply["channel"] == "/meta/handshake":
                self.agreed = acknowledges(reply)
            elif reply["channel"] == "/meta/connect" and is_ours(reply, self._client_id):
                number = batch_number(reply)
                self.batch_number = self.batch_number if number is None else number


class SteppedClient(Client):
    """A client of one server. Make it in a running event loop.

    Each step raises `ExchangeError` where the exchange came to nothing, and the library's `ServerError` where the
    reply is no success, except for `connect`, which returns any reply.
    """

    def __init__(self, url: str, transports: Iterable[str], wire: Wire, *, sign_in_url: str | None = None) -> None:
        self._acknowledgement = Acknowledgement()
        self._wire = wire
        self._sign_in_url = sign_in_url
        super().__init__(
            url,
            [ConnectionType(name) for name in transports],
            auth=wire,
            extensions=[self._acknowledgement],
            loop=asyncio.get_running_loop(),
        )

    @property
    def acknowledged(self) -> bool:
        """Whether the server keeps each batch of this session until it is acknowledged."""
        return self._acknowledgement.agreed

    @property
    def batch_number(self) -> int:
        """The last batch that arrived; the next connect acknowledges it. -1: none did."""
        return self._acknowledgement.batch_number

    @property
    def client_id(self) -> str:
        """What the server calls this session."""
        return (self._transport and self._transport.client_id) or ""

    @property
    def transport_name(self) -> str:
        """How messages travel: "long-polling" or "websocket"."""
        kind = self.connection_type
        return kind.value if kind else ""

    @property
    def advice(self) -> Advice:
        """The server's advice since the last handshake."""
        return self._wire.advice

    async def open(self) -> None:
        """Shake hands: begin a new session, on the first of the transports that the server knows as well."""
        await self.close(farewell=False)
        self._wire.advice = Advice()  # an old `handshake` kept here would be followed for ever
        if self._sign_in_url:
            access = self._wire.access
            await get(access.session, self._sign_in_url, headers=access.headers("GET"))
        self._transport = await self._negotiate_transport()
        self._closed = False

    def resume(self, position: Position) -> None:
        """Go on with another process's session, without asking: the reply to the first connect tells."""
        self._acknowledgement.agreed, self._acknowledgement.batch_number = position.acknowledges, position.batch
        self._wire.advice = Advice(position.hold_ms)
        self._transport = create_transport(
            ConnectionType(position.transport),
            url=self.url,
            incoming_queue=asyncio.Queue(),
            client_id=position.client,
            extensions=self.extensions,
            auth=self.auth,
            json_dumps=self._json_dumps,
            json_loads=self._json_loads,
            loop=self._loop,
        )
        self._closed = False

    async def connect(self, hold_ms: int | None = None) -> JsonObject:
        """Send one /meta/connect, which acknowledges everything before it, and return its reply."""
        transport: Any = self._transport
        assert isinstance(transport, SteppedTransport), "open() comes first"  # noqa: S101  an invariant
        return await transport.connect(hold_ms)

    async def close(self, *, farewell: bool = True) -> None:
        """End the session, or only this side of it; there is nothing that the caller could do about a failure."""
        transport, self._transport, self._closed = self._transport, None, True
        if transport is not None:
            try:
                if farewell:
                    await transport.disconnect()
            finally:
                await transport.close()

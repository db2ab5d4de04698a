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
from aiocometd.transports.registry import register_transport
from aiocometd.typing import Headers, JsonObject, Payload

from fbsessiond.cometd.exchange import get
from fbsessiond.cometd.long_polling import LongPolling
from fbsessiond.cometd.replies import acknowledges, batch_number, succeeded
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
        self._batch_number = -1

    async def outgoing(self, payload: Payload, headers: Headers) -> None:
        """Offer the extension in a handshake, and acknowledge in a connect."""
        del headers
        for message in payload:
            if message["channel"] == "/meta/handshake":
                self.agreed, self._batch_number = False, -1
                message["ext"] = {"ack": True}
            elif message["channel"] == "/meta/connect" and self.agreed:
                message["ext"] = {"ack": self._batch_number}

    async def incoming(self, payload: Payload, headers: Headers | None = None) -> None:
        """Note whether the server agrees, and the number of each batch."""
        del headers
        for reply in payload:
            if not succeeded(reply):
                continue
            if reply["channel"] == "/meta/handshake":
                self.agreed = acknowledges(reply)
            elif reply["channel"] == "/meta/connect" and (number := batch_number(reply)) is not None:
                self._batch_number = number


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

    async def connect(self, hold_ms: int | None = None) -> JsonObject:
        """Send one /meta/connect, which acknowledges everything before it, and return its reply."""
        transport: Any = self._transport
        assert isinstance(transport, SteppedTransport), "open() comes first"  # noqa: S101  an invariant
        return await transport.connect(hold_ms)

    async def close(self, *, farewell: bool = True) -> None:
        """End the session, or only this side of it; there is nothing that the caller could do about a failure."""
        if farewell:
            await super().close()
        elif self._transport is not None:
            await self._transport.close()
        self._transport = None
        self._closed = True

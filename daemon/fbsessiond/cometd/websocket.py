"""Websocket, on top of the library's, which sends again silently after a loss, so that nobody learns of the gap."""
# pyright: reportAttributeAccessIssue=false
# The library's decorator hides its class from pyright, but not from mypy.

import asyncio
from typing import Any

import aiohttp
from aiocometd.transports.websocket import WebSocket, WebSocketTransport
from aiocometd.typing import Headers, JsonObject, Payload

from fbsessiond import limits
from fbsessiond.cometd.exchange import ExchangeError, failure_of
from fbsessiond.cometd.rules import Cause
from fbsessiond.cometd.transport import SteppedTransport, Wire

HEARTBEAT_SECONDS = 15.0
"""How often a websocket is pinged: a half-open connection is found out in one and a half times that."""

CLOSING_SECONDS = 1.0
"""How long to wait for the other side to close a websocket."""


class Websocket(SteppedTransport, WebSocketTransport):
    """All exchanges over one socket, on which the server also sends messages unasked."""

    def __init__(self, *, auth: Wire, **rest: Any) -> None:
        super().__init__(auth=auth, **rest)
        self._lost: Exception | None = None

    async def _send_final_payload(self, payload: Payload, *, headers: Headers) -> JsonObject:
        try:
            if self._lost is not None:
                raise self._lost  # between two exchanges: messages may be missing, so it counts as a failed exchange
            async with asyncio.timeout(self._limit_seconds(payload[0])):
                return await self._send_socket_payload(await self._get_socket(headers), payload)
        except ExchangeError:
            await self._reset_socket()
            raise
        except (aiohttp.ClientError, OSError) as error:
            await self._reset_socket()
            raise failure_of(error) from None

    async def _get_socket(self, headers: Headers) -> WebSocket:
        return await self._socket_factory(
            self.endpoint,
            headers=headers,
            heartbeat=HEARTBEAT_SECONDS,
            max_msg_size=limits.RESPONSE_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING_SECONDS),  # pyright: ignore[reportCallIssue]  attrs
            decode_text=False,
        )

    async def _receive(self, socket: WebSocket) -> None:
        """Take in frames until the socket is lost, and tell whoever waits for a reply, or whoever sends next."""
        try:
            while True:
                replies = await self._unpack(await _frame(socket))
                # Ours are texts; the library would look for one that can be no key, such as a list.
                self._set_exchange_results([reply for reply in replies if isinstance(reply.get("id"), str)])
                await self.wire.handover.room()
        except Exception as error:  # noqa: BLE001  whoever sends next raises it
            self._lost = error
            self._set_exchange_errors(error)

    def _set_exchange_errors(self, error: Exception) -> None:
        exchanges = list(self._pending_exhanges.values())
        super()._set_exchange_errors(error)
        for exchange in exchanges:  # the one whose sending failed is waited for by nobody: asyncio would complain
            if not exchange.cancelled():
                exchange.exception()

    def _receive_done(self, future: asyncio.Task[None]) -> None:
        # The library's raises when the task was cancelled: CancelledError is no Exception any more.
        del future
        self._receive_task = None

    async def _reset_socket(self) -> None:
        """Close the socket, and whoever reads it, before another is opened."""
        if self._receive_task is not None:
            self._receive_task.cancel()
            await asyncio.wait([self._receive_task])
        await super()._reset_socket()
        self._set_exchange_errors(ConnectionAbortedError())  # the library would keep those that timed out for ever
        self._lost = None


async def _frame(socket: WebSocket) -> bytes:
    frame = await socket.receive()
    if frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        return bytes(frame.data)
    problem = frame.data
    too_long = isinstance(problem, aiohttp.WebSocketError) and problem.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    closed = f"the websocket was closed ({socket.close_code})"
    words = f"a frame of more than {limits.RESPONSE_BYTES} bytes" if too_long else closed
    raise ExchangeError(Cause.TOO_LONG if too_long else Cause.CUT, words)

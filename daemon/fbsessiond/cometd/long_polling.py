"""Long-polling, in place of the library's, which can't be made on Python 3.10 and later."""

from aiocometd.typing import Headers, JsonObject, Payload

from fbsessiond.cometd.exchange import ExchangeError, post
from fbsessiond.cometd.rules import Cause
from fbsessiond.cometd.transport import SteppedTransport


class LongPolling(SteppedTransport):
    """One HTTP request an exchange."""

    async def _send_final_payload(self, payload: Payload, *, headers: Headers) -> JsonObject:
        response = await post(
            self.wire.access.session,
            self.endpoint,
            self._json_dumps(payload).encode(),  # type: ignore[arg-type]
            headers=headers,
            limit_seconds=self._limit_seconds(payload[0]),
        )
        for reply in await self._unpack(response.body, response.headers):
            # An id is optional; where there is one it is the request's. [Bayeux 1.0 §3.5]
            if reply.get("channel") == payload[0]["channel"] and reply.get("id", payload[0]["id"]) == payload[0]["id"]:
                return reply
        raise ExchangeError(Cause.NOT_BAYEUX, "no reply to the request")

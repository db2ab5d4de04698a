"""Carries out the rules' steps, one after the other, for ever: the one place that waits, sends and hears."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from aiocometd.exceptions import ClientError, ServerError

from fbsessiond.chance import Chance
from fbsessiond.clock import Clock
from fbsessiond.cometd.client import SteppedClient
from fbsessiond.cometd.events import (
    Closed,
    Connected,
    ConnectionEvent,
    Handshaken,
    Lost,
    Refused,
    Subscribed,
    SubscriptionRefused,
)
from fbsessiond.cometd.exchange import ExchangeError
from fbsessiond.cometd.replies import error_words
from fbsessiond.cometd.rules import Cause, Conversation, Do, Step, Subscriptions
from fbsessiond.cometd.transport import Wire
from fbsessiond.errors import RefusedError


class Reception:
    """One client's conversation with its server. What arrives goes to the wire's handover.

    Requests leave one at a time, and only while everything that arrived is committed. A subscription that is missing
    is tried again between two connects, the first of which asks for an answer within a second.
    """

    def __init__(
        self,
        client: SteppedClient,
        wire: Wire,
        channels: tuple[str, ...],
        *,
        clock: Clock,
        chance: Chance,
        announce: Callable[[ConnectionEvent], None],
    ) -> None:
        self._client = client
        self._wire = wire
        self._clock = clock
        self._announce = announce
        self._conversation = Conversation(chance)
        self._subscriptions = Subscriptions(channels)

    async def run(self, *, farewell: bool) -> NoReturn:
        """Converse until cancelled. Raises `RefusedError` when the credentials are refused, freshly sent."""
        step = Step(Do.HANDSHAKE)
        try:
            while step.do is not Do.GIVE_UP:
                await asyncio.sleep(step.pause_seconds)
                await self._wire.handover.settled()
                if step.afresh:
                    self._wire.access.forget()
                step = await self._carry_out(step.do)
        except asyncio.CancelledError:
            self._announce(Closed(self._clock.now(), farewell))
            raise
        finally:
            await self._client.close(farewell=farewell)
        raise RefusedError("GWS refused the credentials; they aren't tried again until they are corrected")

    async def _carry_out(self, do: Do) -> Step:
        try:
            return await (self._handshake() if do is Do.HANDSHAKE else self._connect())
        except ExchangeError as error:
            return self._lost(self._conversation.failed(error.cause, self._clock.monotonic()), error.words)

    async def _handshake(self) -> Step:
        self._subscriptions.lapsed()
        try:
            await self._client.open()
        except ServerError as error:
            reply = error.response or {}
            step = self._conversation.declined(reply, self._client.advice, self._clock.monotonic())
            return self._lost(step, error_words(reply))
        except ClientError:
            raise ExchangeError(Cause.UNSUCCESSFUL, "the server offers none of the wanted transports") from None
        kind = self._client.connection_type
        transport = kind.value if kind else ""
        self._announce(Handshaken(self._clock.now(), transport, self._client.acknowledged))
        return self._conversation.handshaken(self._clock.monotonic())

    async def _connect(self) -> Step:
        for channel in self._subscriptions.due(self._clock.monotonic()):
            await self._subscribe(channel)
        hold_ms = self._subscriptions.hold_ms(self._client.advice, proven=self._conversation.proven)
        reply = await self._client.connect(hold_ms)
        step = self._conversation.connected(reply, self._client.advice, self._clock.monotonic())
        if step.cause is not None:
            return self._lost(step, error_words(reply))
        self._announce(Connected(self._clock.now()))
        return step

    async def _subscribe(self, channel: str) -> None:
        try:
            await self._client.subscribe(channel)
        except ServerError as error:
            times = self._subscriptions.was_refused(channel)
            words = error_words(error.response or {})
            self._announce(SubscriptionRefused(self._clock.now(), channel, times, words))
        else:
            self._subscriptions.accepted(channel)
            self._announce(Subscribed(self._clock.now(), channel))

    def _lost(self, step: Step, words: str) -> Step:
        """Announce what went wrong, and pass on the step that follows from it."""
        now = self._clock.now()
        if step.do is Do.GIVE_UP:
            self._announce(Refused(now, words))
        else:
            cause = step.cause or Cause.UNSUCCESSFUL
            self._announce(Lost(now, cause, words, self._conversation.session))
        return step

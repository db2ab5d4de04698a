"""Carries out the rules' steps, one after the other, for ever: the one place that waits, sends and hears."""

import asyncio
import math
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
    Resumed,
    Subscribed,
    SubscriptionRefused,
)
from fbsessiond.cometd.exchange import ExchangeError
from fbsessiond.cometd.proving import AT_ONCE_SECONDS, Chain, Position
from fbsessiond.cometd.replies import error_words, succeeded
from fbsessiond.cometd.rules import Cause, Conversation, Do, Step, Subscriptions, step_seconds
from fbsessiond.cometd.transport import Wire
from fbsessiond.errors import RefusedError
from fbsessiond.gap import Proof

COMMIT_SECONDS = 60.0
"""How long a batch may take until it is on disk, before it counts as stuck; the server's patience ends sooner."""


class Reception:
    """One client's conversation with its server. What arrives goes to the wire's handover, with what it proves.

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
        handshakes: asyncio.Semaphore | None = None,
    ) -> None:
        self._handshakes = handshakes or asyncio.Semaphore()
        self._client = client
        self._wire = wire
        self._clock = clock
        self._announce = announce
        self._conversation = Conversation(chance)
        self._channels = len(channels)
        self._subscriptions = Subscriptions(channels)
        self._chain = Chain()
        self._task: asyncio.Task[object] | None = None
        self._is_renewing = False
        self._over_by = math.inf

    @property
    def is_moving(self) -> bool:
        """Whether it may still be at its present step: all that it waits for has limits, after which it is stuck."""
        return self._clock.monotonic() <= self._over_by

    async def run(self, position: Position | None = None, *, keep: bool) -> NoReturn:
        """Converse until cancelled, from another process's position if there is one.

        With `keep` the proofs say where the next process can go on, and the end is no farewell. Raises `RefusedError`
        when the credentials are refused, freshly sent.
        """
        self._task = asyncio.current_task()
        assert self._task is not None, "a task runs this"  # noqa: S101  an invariant
        step = Step(Do.HANDSHAKE) if position is None else self._resume(position)
        try:
            while step.do is not Do.GIVE_UP:
                try:
                    self._allow(step.pause_seconds + COMMIT_SECONDS)
                    await asyncio.sleep(step.pause_seconds)
                    await self._wire.handover.settled()
                    step = await self._take(step, keep=keep)
                except asyncio.CancelledError:
                    # Somebody else may have cancelled as well, and meant the end.
                    if not self._is_renewing or self._task.uncancel() > 0:
                        raise
                    await self._client.close()
                    self._is_renewing = False
                    step = self._conversation.renewed()
        except asyncio.CancelledError:
            self._announce(Closed(self._clock.now(), not keep))
            raise
        finally:
            self._task = None
            self._wire.handover.pass_on()
            await self._client.close(farewell=not keep)
        raise RefusedError("GWS refused the credentials: correct them")

    async def _take(self, step: Step, *, keep: bool) -> Step:
        """Take a step; a handshake in its turn, for which it may wait as long as that takes."""
        if step.do is not Do.HANDSHAKE:
            return await self._carry_out(step, keep=keep)
        self._over_by = math.inf
        async with self._handshakes:
            return await self._carry_out(step, keep=keep)

    def renew(self) -> None:
        """Begin a new session now, whatever is going on."""
        if self._task is not None and not self._is_renewing:
            self._is_renewing = True
            self._task.cancel()

    def _allow(self, seconds: float) -> None:
        self._over_by = self._clock.monotonic() + seconds

    def _resume(self, position: Position) -> Step:
        self._wire.access.restore(position.access, self._client.url)
        self._client.resume(position)
        self._subscriptions.resumed(position.channels)
        now = self._clock.now()
        self._chain.resumed(position, now, is_listening=not self._subscriptions.missing)
        self._announce(Resumed(now, position.transport, position.acknowledges, position.channels))
        return self._conversation.resumed()

    async def _carry_out(self, step: Step, *, keep: bool) -> Step:
        self._allow(step_seconds(self._client.advice.hold_ms, self._channels))
        if step.afresh:
            self._wire.access.forget()
        try:
            return await (self._handshake() if step.do is Do.HANDSHAKE else self._connect(keep=keep))
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
        acknowledges = self._client.acknowledged
        self._chain.begun(self._client.client_id, acknowledges=acknowledges)
        self._announce(Handshaken(self._clock.now(), self._client.transport_name, acknowledges))
        return self._conversation.handshaken(self._clock.monotonic())

    async def _connect(self, *, keep: bool) -> Step:
        for channel in self._subscriptions.due(self._clock.monotonic()):
            await self._subscribe(channel)
        hold_ms = self._subscriptions.hold_ms(self._client.advice, proven=self._conversation.proven)
        sent_at = self._clock.monotonic()
        reply = await self._client.connect(hold_ms)
        answered_at = self._clock.monotonic()
        step = self._conversation.connected(reply, self._client.advice, answered_at)
        if not succeeded(reply):
            return self._lost(step, error_words(reply), at_once=answered_at - sent_at < AT_ONCE_SECONDS)
        # Also where it advises to begin anew: up to here nothing is missing, and what it brought isn't to come again.
        now = self._clock.now()
        proof = self._chain.connected(now, is_listening=not self._subscriptions.missing)
        self._wire.handover.pass_on(self._with_position(proof) if keep else proof)
        self._announce(Connected(now))
        return step if step.cause is None else self._lost(step, error_words(reply))

    async def _subscribe(self, channel: str) -> None:
        try:
            await self._client.subscribe(channel)
        except ServerError as error:
            times = self._subscriptions.was_refused(channel)
            words = error_words(error.response or {})
            self._wire.handover.pass_on(self._chain.refused())
            self._announce(SubscriptionRefused(self._clock.now(), channel, times, words))
        else:
            self._subscriptions.accepted(channel)
            if not self._subscriptions.missing:
                self._chain.listening(self._clock.now())
            self._announce(Subscribed(self._clock.now(), channel))

    def _with_position(self, proof: Proof | None) -> Proof | None:
        if proof is None:
            return None
        position = Position(
            url=self._client.url,
            whose=self._wire.access.identity,
            client=self._client.client_id,
            transport=self._client.transport_name,
            acknowledges=self._client.acknowledged,
            batch=self._client.batch_number,
            channels=self._subscriptions.acknowledged,
            chain=proof.chain,
            since=proof.since,
            until=proof.until,
            before=self._chain.before,
            access=self._wire.access.kept(),
            hold_ms=self._client.advice.hold_ms,
        )
        return Proof(proof.chain, proof.since, proof.until, position.encoded())

    def _lost(self, step: Step, words: str, *, at_once: bool = False) -> Step:
        """Announce what went wrong, and pass on the step that follows from it."""
        now = self._clock.now()
        cause = step.cause or Cause.UNSUCCESSFUL
        self._wire.handover.pass_on(self._chain.lost(cause, at_once=at_once))
        if step.do is Do.GIVE_UP:
            self._announce(Refused(now, words))
        else:
            self._announce(Lost(now, cause, words, self._conversation.session))
        return step

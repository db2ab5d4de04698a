"""The handler `log`: a line in the daemon's log for each transition."""

from typing import ClassVar, Literal

import structlog

from fbsessiond import Delivery, Done, Handler, Outcome

_log = structlog.get_logger(__name__)


class Log(Handler):
    """Log each transition: who, from where, to where; nothing of the customer's."""

    only_observes: ClassVar[bool] = True

    level: Literal["debug", "info", "warning"] = "info"
    """The level of the line in the log."""

    async def handle(self, delivery: Delivery) -> Outcome:
        """Write one line."""
        transition = delivery.transition
        getattr(_log, self.level)(
            "session.transition",
            session=transition.session.id,
            agent=transition.agent,
            before=transition.before,
            after=transition.after,
            origin=transition.origin.value,
            seq=transition.seq,
        )
        return Done()

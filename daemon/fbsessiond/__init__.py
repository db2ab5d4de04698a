"""fbsessiond: watch Facebook private-messaging sessions on Genesys Web Services.

These are the public names: what a handler is written with. Each is imported when it is first asked for [PEP 562]: a
command that needs none of them doesn't wait for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fbsessiond.durations import Duration
    from fbsessiond.errors import DiskError
    from fbsessiond.finding import Finding
    from fbsessiond.follow_up import Webhook
    from fbsessiond.gap import Gap, GapCause
    from fbsessiond.handler import Defer, Delivery, Done, Handler, Outcome, Reject, StatePath
    from fbsessiond.message import Origin
    from fbsessiond.notification import Participant
    from fbsessiond.operations import Operation
    from fbsessiond.paths import HomePath
    from fbsessiond.reveal import Reveal
    from fbsessiond.secret import Secret
    from fbsessiond.session import Session
    from fbsessiond.trace_context import traceparent
    from fbsessiond.transition import Transition
else:  # a checker that saw this would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Import a name, once."""
        for module, names in _MODULES.items():
            if name in names:
                globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Defer",
    "Delivery",
    "DiskError",
    "Done",
    "Duration",
    "Finding",
    "Gap",
    "GapCause",
    "Handler",
    "HomePath",
    "Operation",
    "Origin",
    "Outcome",
    "Participant",
    "Reject",
    "Reveal",
    "Secret",
    "Session",
    "StatePath",
    "Transition",
    "Webhook",
    "traceparent",
]

_MODULES = {
    "durations": ["Duration"],
    "errors": ["DiskError"],
    "finding": ["Finding"],
    "follow_up": ["Webhook"],
    "gap": ["Gap", "GapCause"],
    "handler": ["Defer", "Delivery", "Done", "Handler", "Outcome", "Reject", "StatePath"],
    "message": ["Origin"],
    "notification": ["Participant"],
    "operations": ["Operation"],
    "paths": ["HomePath"],
    "reveal": ["Reveal"],
    "secret": ["Secret"],
    "session": ["Session"],
    "trace_context": ["traceparent"],
    "transition": ["Transition"],
}
"""Where each name is, as above: a test holds the two against each other."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

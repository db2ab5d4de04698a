"""fbsessiond: watch Facebook private-messaging sessions on Genesys Web Services.

These are the public names: what a handler is written with.
"""

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

"""fbsessiond: watch Facebook private-messaging sessions on Genesys Web Services.

These are the public names: what a handler is written with.
"""

from fbsessiond.errors import DiskError
from fbsessiond.finding import Finding
from fbsessiond.handler import Defer, Delivery, Done, Handler, Outcome, Reject, StatePath
from fbsessiond.message import Origin
from fbsessiond.notification import Participant
from fbsessiond.session import Session
from fbsessiond.transition import Transition

__all__ = [
    "Defer",
    "Delivery",
    "DiskError",
    "Done",
    "Finding",
    "Handler",
    "Origin",
    "Outcome",
    "Participant",
    "Reject",
    "Session",
    "StatePath",
    "Transition",
]

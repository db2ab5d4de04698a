"""All parts of the proof that crash something."""

from collections.abc import Sequence

from crashes.bit_flips import BIT_FLIPS
from crashes.crash_points import CRASH_POINTS
from crashes.disk_errors import DISK_ERRORS
from crashes.follow_up_kills import FOLLOW_UP_KILLS
from crashes.kills import KILLS
from crashes.power_cuts import POWER_CUTS
from crashes.recovery import RECOVERY
from crashes.soak import SOAK
from proof.part import Part

PARTS: Sequence[Part] = (
    CRASH_POINTS,
    DISK_ERRORS,
    KILLS,
    FOLLOW_UP_KILLS,
    POWER_CUTS,
    BIT_FLIPS,
    RECOVERY,
    SOAK,
)

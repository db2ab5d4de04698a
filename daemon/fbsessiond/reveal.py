"""A reveal: somebody had customer data shown, and it is written down who."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Reveal:
    """One command that shows customer data, written down before it shows any."""

    key: str
    """Different from any other reveal's, and from any delivery's, in any journal."""
    at: datetime
    """When, in UTC."""
    by: str
    """The user, as the operating system knows him: `alice (uid 1000)`, `root (uid 0), logged in as alice`."""
    command: str
    """The command line: `export --reveal --session 0002DaAVKJ0V0095`."""

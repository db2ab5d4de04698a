"""What leaves the daemon about a transition: for a webhook's receiver, for a program.

The words are those of the journal's export and of the audit file.
"""

from typing import Any, Literal, TypeAlias

from fbsessiond import Transition

Data: TypeAlias = Literal["state", "notification"]
"""How much is told: `state` is ids and states, nothing of the customer's; `notification` is all that was received."""


def data_of(transition: Transition, data: Data) -> dict[str, Any]:
    """Return what is told about a transition, ready to be written as JSON."""
    told: dict[str, Any] = {
        "seq": transition.seq,
        "at": transition.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "origin": transition.origin.value,
        "agent": transition.agent,
        "session": transition.session.id,
        "before": transition.before,
        "after": transition.after,
    }
    if transition.gap is not None:
        told["gap"] = transition.gap.written()
    return told if data == "state" else {**told, "notification": transition.notification}

"""Which transitions a handler wants: `on` in the configuration."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fbsessiond.message import Origin


def _as_list(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise ValueError("should be a text or a list of texts")  # noqa: TRY004  pydantic takes a ValueError for the verdict
    return [value] if isinstance(value, str) else value


States: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_list, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
    Field(min_length=1),
]
"""A state or a list of states."""

Origins: TypeAlias = Annotated[
    tuple[Origin, ...],
    BeforeValidator(_as_list, json_schema_input_type=Origin | Annotated[list[Origin], Field(min_length=1)]),
    Field(min_length=1),
]
"""An origin or a list of origins."""


class Condition(BaseModel):
    """One table of `on`: all that it names has to be so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_states: States | None = Field(default=None, alias="from", examples=["Chatting"])
    """The state before, or a list; at a session's first sight there is none."""
    to: States | None = Field(default=None, examples=["LeftChat"])
    """The state after, or a list."""
    not_from: States | None = Field(default=None, examples=[["Invited"]])
    """No such state before."""
    not_to: States | None = Field(default=None, examples=[["Completed", "Revoked"]])
    """No such state after."""
    origin: Origins | None = Field(default=None, examples=["live"])
    """Where the transition comes from, or a list."""


def why_not(condition: Condition, before: str | None, after: str, origin: Origin) -> str | None:
    """Return the first thing that a condition wants otherwise, with the value; None where all is as it wants.

    Before a session's first sight there is no state: no `from` names it, and no `not_from` rules it out.
    """
    checks = (
        ("from", condition.from_states is None or before in condition.from_states, before),
        ("not_from", condition.not_from is None or before not in condition.not_from, before),
        ("to", condition.to is None or after in condition.to, after),
        ("not_to", condition.not_to is None or after not in condition.not_to, after),
        ("origin", condition.origin is None or origin in condition.origin, origin.value),
    )
    for name, holds, value in checks:
        if not holds:
            return f"{name}: was {'the first sight' if value is None else value}"
    return None

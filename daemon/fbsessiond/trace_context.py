"""Where in a trace the work of a task stands.

A trace is a notification's whole way, from its receipt to what followed from it. Its id and those of its main spans
come from the journal's identity and the entry's number: they are the same after a restart, and nothing is stored.
"""

import hashlib
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of one trace, both ids in hexadecimal digits."""

    trace_id: str
    """32 digits."""
    span_id: str
    """16 digits."""

    @property
    def traceparent(self) -> str:
        """Return the value of the header that carries it on [W3C Trace Context §3.2]."""
        return f"00-{self.trace_id}-{self.span_id}-01"


current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)
"""The span within which this task works; None where no traces are made."""


def traceparent() -> str | None:
    """Return the `traceparent` header for what this task asks of others; None where no traces are made."""
    context = current.get()
    return None if context is None else context.traceparent


def trace_id_of(identity: str, seq: int) -> str:
    """Return the id of an entry's trace."""
    return hashlib.sha256(f"{identity}/{seq}".encode()).hexdigest()[:32]


def span_id_of(identity: str, name: str) -> str:
    """Return the id of a span by its name, which no other span of that journal has."""
    return hashlib.sha256(f"{identity}/{name}".encode()).hexdigest()[:16]

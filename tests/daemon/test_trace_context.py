import re

from fbsessiond import traceparent
from fbsessiond.trace_context import TraceContext, current, span_id_of, trace_id_of


def test_none() -> None:
    """Where no traces are made, there is nothing to carry on."""
    assert traceparent() is None


def test_header() -> None:
    """What a task asks of others carries its span, as W3C Trace Context writes it."""
    before = current.set(TraceContext(trace_id_of("journal", 7), span_id_of("journal", "7/log")))
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", traceparent() or "")
    current.reset(before)


def test_ids() -> None:
    """Ids are the same whenever they are asked for, and others for another entry, span or journal."""
    assert trace_id_of("a", 1) == trace_id_of("a", 1)
    assert len({trace_id_of("a", 1), trace_id_of("a", 2), trace_id_of("b", 1)}) == 3
    assert len({span_id_of("a", "1"), span_id_of("a", "1/log"), span_id_of("b", "1")}) == 3

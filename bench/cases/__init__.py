"""What is measured."""

from collections.abc import Sequence

from cases.agents import AGENTS_CASE
from cases.group_commit import GROUP_COMMIT
from cases.journal import JOURNAL_CASE
from cases.latency import LATENCY
from cases.observability import OBSERVABILITY
from cases.path import ONE_PROCESS, SOCKETS
from cases.rehearsal import REHEARSAL
from cases.sidecar import SIDECAR
from cases.slow_disk import SLOW_DISK
from cases.steps import APPEND, DECODE, DISPATCH
from measure import Case

CASES: Sequence[Case] = (
    SOCKETS,
    LATENCY,
    ONE_PROCESS,
    DECODE,
    APPEND,
    DISPATCH,
    JOURNAL_CASE,
    SLOW_DISK,
    GROUP_COMMIT,
    REHEARSAL,
    OBSERVABILITY,
    AGENTS_CASE,
    SIDECAR,
)
"""All cases, in the order in which they are run and told."""

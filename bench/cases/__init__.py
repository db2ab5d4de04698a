"""What is measured."""

from collections.abc import Sequence

from cases.path import ONE_PROCESS, SOCKETS
from cases.steps import APPEND, DECODE, DISPATCH
from measure import Case

CASES: Sequence[Case] = (SOCKETS, ONE_PROCESS, DECODE, APPEND, DISPATCH)
"""All cases, in the order in which they are run and told."""

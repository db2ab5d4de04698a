"""What all tests share: asserts that explain themselves, in shared parts too, and how property tests search.

`steady` tries the same examples on every machine and in every run; `pytest --hypothesis-profile=explore` looks
further, and finds others each time.
"""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("daemon.journal.suite", "journal_parts", "cometd_servers", "floor", "simulator_parts")

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("steady")

"""What all tests share: how property tests search.

`steady` tries the same examples on every machine and in every run; `pytest --hypothesis-profile=explore` looks
further, and finds others each time.
"""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("steady")

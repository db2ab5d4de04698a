"""A limit on everything that comes from outside, beside each other, related by assertions."""

RESPONSE_BYTES = 64 * 1024 * 1024
"""The longest response or websocket frame that is read from a server."""

NOTIFICATION_BYTES = 4 * 1024 * 1024
"""The longest notification that is decoded; a longer one is quarantined. The longest documented sample: 4 KB."""

NESTING = 100
"""How deep objects and lists may stand in each other in a notification; pydantic writes at most 255."""

BATCH_MESSAGES = 250
"""How many messages are journaled in one go, which takes some 10 ms: so long nobody else has a turn."""

WAITING_BATCHES = 10_000
"""How many batches of a websocket may wait to be journaled before its next frame is read."""

FIXTURE_BYTES = 1024 * 1024 * 1024
"""The longest file that a replay reads, after unpacking."""

CAPABILITIES = 1_000
PARTICIPANTS = 10_000
USER_DATA_KEYS = 10_000
"""The most that one session may have of each."""

AGENTS = 20_000
"""Agents that one daemon watches."""

GROUPS = 200
"""Groups of agents: each is a value of a metric's label."""

KNOWN_SESSIONS = 4_096
"""Sessions whose last known state is kept in memory; others are read from the journal when they are needed."""

EXPRESSION_CHARACTERS = 4_000
"""The longest expression of `when`."""

BACKLOG_COUNTED = 10_000
"""How many pending deliveries of a handler are counted at a scrape, which takes about 4 ms."""

PROBLEM_CHARACTERS = 2_000
"""How much is kept of an error's text in the journal."""

assert NOTIFICATION_BYTES <= RESPONSE_BYTES, "a notification fits into a response"  # noqa: S101  checked at import

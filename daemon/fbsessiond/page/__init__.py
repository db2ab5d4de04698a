"""The operator page: how the daemon is, what it saw and did, and the few things that a person decides."""

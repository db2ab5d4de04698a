from fbsessiond.message import Origin


def test_origins() -> None:
    """An origin is spelled in the journal and in exports as outside readers know it."""
    assert [str(origin) for origin in Origin] == ["live", "snapshot", "replay"]

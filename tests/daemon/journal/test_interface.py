from fbsessiond.journal.interface import FOLLOW_UPS, gaps_of, untimed


def test_names_of_wakes() -> None:
    """What is woken for follow-ups and for each agent's gaps has a name that no handler can have."""
    names = {FOLLOW_UPS, gaps_of("agent1"), gaps_of("agent2"), gaps_of("")}
    assert len(names) == 4
    assert {"/follow-ups", "/gaps/agent1"} < names  # as the log has them
    assert all(name.startswith("/") for name in names)


def test_untimed() -> None:
    """Whoever wants no times has a step surrounded with nothing."""
    with untimed("commit") as nothing:
        assert nothing is None

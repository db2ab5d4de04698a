from fbsessiond.events import SilenceFound, unobserved


def test_unobserved() -> None:
    """What nobody wants to know is passed over."""
    unobserved(SilenceFound())

from pydantic import BaseModel

from fbsessiond.schemas.field_texts import field_texts
from fbsessiond.settings import JournalSettings


class Base(BaseModel):
    """A model."""

    one: int = 1
    """The
    first."""
    two: int = 2
    other: int = 3
    """Another."""


class Derived(Base):
    one: int = 10
    """The first, again."""

    def three(self) -> int:
        """Return what is no field."""
        return 3

    four: int = 4
    """The last."""


def test_texts() -> None:
    """The text under a field is what is said of it, on one line; a field without one has none."""
    assert field_texts(Base) == {"one": "The first.", "other": "Another."}


def test_bases() -> None:
    """What a base says holds, unless the model itself says something else."""
    assert field_texts(Derived) == {"one": "The first, again.", "other": "Another.", "four": "The last."}


def test_no_source() -> None:
    """A model whose source isn't there says nothing."""
    names: dict[str, type[BaseModel]] = {}
    exec("from pydantic import BaseModel\nclass Made(BaseModel):\n    x: int = 1\n    'A text.'", names)  # noqa: S102  a class without a file
    assert field_texts(names["Made"]) == {}


def test_our_own() -> None:
    """The settings of the daemon say something of themselves."""
    assert field_texts(JournalSettings)["retain"] == "How long entries are kept."

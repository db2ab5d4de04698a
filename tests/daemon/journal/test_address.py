import pytest

from fbsessiond.journal.address import shown


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:journal.db", "sqlite:journal.db"),
        ("postgresql://fbsessiond:pass@word@db:5432/floor", "postgresql://fbsessiond@db:5432/floor"),
        (
            "postgresql://db/floor?user=a&password=secret&sslmode=require",
            "postgresql://db/floor?user=a&password=…&sslmode=require",
        ),
        ("postgresql:///floor?sslpassword=secret", "postgresql:///floor?sslpassword=…"),
        ("mysql://a:secret@db/floor", "mysql://a@db/floor"),
    ],
)
def test_shown(url: str, name: str) -> None:
    """An address is shown without its password, wherever that stands."""
    assert shown(url) == name

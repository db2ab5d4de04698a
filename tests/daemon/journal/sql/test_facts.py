import pytest

from fbsessiond.journal.sql.facts import fact
from fbsessiond.journal.sqlite.file import MEMORY, open_to_write


def test_facts() -> None:
    """Each journal keeps an identity and a key of its own."""
    one, other = open_to_write(MEMORY), open_to_write(MEMORY)
    for name in ("identity", "redaction_key"):
        assert len(fact(one, name)) == 32
        assert fact(one, name) != fact(other, name)
    one.close()
    other.close()


def test_lost_fact() -> None:
    """A fact that a journal doesn't have is damage."""
    connection = open_to_write(MEMORY)
    connection.execute("DELETE FROM facts WHERE name = 'identity'")
    with pytest.raises(ValueError, match="the journal's identity is lost"):
        fact(connection, "identity")
    connection.close()

from contextlib import closing

import pytest

from fbsessiond.errors import JournalError
from fbsessiond.journal.postgresql.opening import InPostgresql
from journal_parts import NOW, append, draft, lease, seqs


async def test_claimed(url: str) -> None:
    """Who has the right to write can open the journal again and again; nobody else can, until it is given back."""
    place = InPostgresql(url)
    with place.claimed() as opening:
        with pytest.raises(JournalError, match="there is no journal here"):
            place.read()
        for number in (1, 2):
            with closing(opening(NOW)) as journal:
                assert await append(journal, draft(f"S{number}", "Invited", "log")) == number
                assert seqs(await lease(journal)) == list(range(1, number + 1))
            with pytest.raises(JournalError, match="another fbsessiond"):
                place.open(NOW)
    with closing(place.open(NOW)) as journal, closing(place.read()) as reader:
        assert await append(journal, draft("S3")) == 3
        assert reader.statistics().entries == 3

"""Reveals: who had customer data shown, kept for ever."""

from daemon.journal.suite.engine import Engine, Part, prune, verified
from fbsessiond.journal.interface import Journal, Reader
from journal_parts import NOW, after, append, draft


class Revealing(Part):
    """How reveals are written down and passed on."""

    async def test_reveals(self, journal: Journal, reader: Reader) -> None:
        """A reveal is written down with when, who and how, and has a key of its own in any journal."""
        assert list(reader.reveals()) == []
        reader.note_reveal(after(1), "alice (uid 1000)", "export --reveal")
        reader.note_reveal(after(0), "root (uid 0)", "dead show --reveal 3/log\n")
        one, two = reader.reveals()
        assert (one.at, one.by, one.command) == (after(1), "alice (uid 1000)", "export --reveal")
        assert (two.at, two.by, two.command) == (after(0), "root (uid 0)", "dead show --reveal 3/log\n")
        assert [one.key, two.key] == [f"{journal.identity}/reveals/{number}" for number in (1, 2)]

    async def test_reveals_passed_on(self, journal: Journal, reader: Reader) -> None:
        """The handlers are told of each reveal, the oldest first, until all were; it stays written down."""
        for number in range(3):
            reader.note_reveal(after(number), "alice", f"export {number}")
        one, two, three = await journal.take_reveals()
        await journal.pass_on_reveal(two)
        await journal.pass_on_reveal(one)
        assert await journal.take_reveals() == [three]
        await journal.pass_on_reveal(three)
        assert await journal.take_reveals() == []
        assert list(reader.reveals()) == [one, two, three]
        assert verified(reader) == []

    async def test_reveals_are_kept(self, journal: Journal, reader: Reader) -> None:
        """A reveal outlives all entries."""
        await append(journal, draft("S1"))
        reader.note_reveal(NOW, "alice", "export --reveal")
        await prune(journal, after(1_000_000))
        assert [one.by for one in reader.reveals()] == ["alice"]


class ReopenedRevealing(Part):
    """What a journal that outlives its process knows of reveals."""

    async def test_reveals_without_a_daemon(self, engine: Engine) -> None:
        """A reveal that was written down while no daemon ran is passed on by the next one."""
        journal = engine.open(NOW)
        journal.close()
        reader = engine.read(journal)
        reader.note_reveal(after(1), "alice", "export --reveal")
        reader.close()
        journal = engine.open(after(2))
        assert [one.at for one in await journal.take_reveals()] == [after(1)]
        journal.close()

"""Acts: what persons did with what was given up, and who did it."""

from daemon.journal.suite.engine import Engine, Part, prune, verified
from daemon.journal.suite.follow_ups import PARKED, ask, comment, end
from fbsessiond.journal.interface import Journal, Reader
from fbsessiond.journal.records import Act, ActKind
from journal_parts import NOW, OPS, after, append, draft, drop, kill, misfit, quarantined, retry


class Acting(Part):
    """How acts are written down."""

    async def test_acts(self, journal: Journal, reader: Reader) -> None:
        """Each act is written down with when, who, what and why, and shown by time, whatever it was about."""
        await ask(journal, comment(1))
        await end(journal, PARKED)
        await append(journal, draft("S2", "Invited", "log"), misfit())
        await kill(journal)
        (dead,), (stuck,) = reader.dead(), reader.stuck_follow_ups()
        assert list(reader.acts()) == []
        assert reader.act(dead, ActKind.RETRY, by="alice", at=after(1))
        assert reader.act(stuck, ActKind.RETRY, by="bob", at=after(2), because="the desktop shows it")
        assert reader.act(quarantined(1), ActKind.DROP, by="carol", at=after(3), because="a test")
        first, second, third = reader.acts()
        assert first == Act("2/log", ActKind.RETRY, after(1), "alice")
        assert second == Act("1/wrap-up/1", ActKind.RETRY, after(2), "bob", "the desktop shows it")
        assert third == Act("quarantine/1", ActKind.DROP, after(3), "carol", "a test")
        assert list(reader.acts(since=after(2))) == [second, third]
        assert list(reader.acts(subject="2/log", since=after(2))) == []
        assert verified(reader) == []

    async def test_acts_of_one(self, journal: Journal, reader: Reader) -> None:
        """What was done with one delivery can be asked for, in its order."""
        await append(journal, draft("S1", "Invited", "log"), draft("S2", "Invited", "log"))
        await kill(journal)
        first, second = reader.dead()
        assert retry(reader, second)
        assert retry(reader, first, after(1))
        await kill(journal, now=after(1))
        assert drop(reader, first, after(2))
        assert list(reader.acts(subject="1/log")) == [
            Act("1/log", ActKind.RETRY, after(1), OPS),
            Act("1/log", ActKind.DROP, after(2), OPS, "no use"),
        ]
        assert list(reader.acts(subject="1/lo")) == []

    async def test_nothing_to_act_on(self, journal: Journal, reader: Reader) -> None:
        """Who comes too late has done nothing, and nothing is written down."""
        await append(journal, draft("S1", "Invited", "log"))
        await kill(journal)
        (dead,) = reader.dead()
        assert drop(reader, dead)
        assert not drop(reader, dead, after(1))
        assert not retry(reader, dead, after(1))
        assert not retry(reader, quarantined(7))
        assert [act.at for act in reader.acts()] == [NOW]

    async def test_acts_are_forgotten_by_age(self, journal: Journal, reader: Reader) -> None:
        """An act outlives what it was about, and is forgotten by its own age."""
        await append(journal, draft("S1", "Completed", "log"), draft("S2"))
        await kill(journal)
        (dead,) = reader.dead()
        assert drop(reader, dead, after(30))
        assert await prune(journal, after(20)) == [1]
        assert [act.subject for act in reader.acts()] == ["1/log"]
        await prune(journal, after(31))
        assert list(reader.acts()) == []


class ReopenedActing(Part):
    """What a journal that outlives its process knows of acts."""

    async def test_acts_without_a_daemon(self, engine: Engine) -> None:
        """What a person does while no daemon runs is written down, and done by the next one."""
        journal = engine.open(NOW)
        await append(journal, misfit())
        journal.close()
        reader = engine.read(journal)
        assert retry(reader, quarantined(1), after(1))
        reader.close()
        journal = engine.open(after(2))
        assert [one.seq for one in await journal.take_retries()] == [1]
        reader = engine.read(journal)
        assert [act.at for act in reader.acts()] == [after(1)]
        reader.close()
        journal.close()

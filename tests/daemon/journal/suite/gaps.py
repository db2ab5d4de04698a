"""The ledger of gaps: what is proved of the time in which it was listened for an agent, and what isn't."""

import pytest

from daemon.journal.suite.engine import Engine, Part, verified
from fbsessiond.gap import SNAPSHOT, GapCause, Proof
from fbsessiond.journal.interface import Journal, Reader, gaps_of
from fbsessiond.journal.records import Draft
from fbsessiond.message import Batch, Origin
from fbsessiond.transition import Change, Kind
from journal_parts import NOW, after, append, break_chain, draft, gap, message, prove, watched

START, STOPPED, NETWORK = GapCause.START, GapCause.STOPPED, GapCause.NETWORK
LOST, REFUSED, SILENT = GapCause.SESSION_LOST, GapCause.REFUSED, GapCause.SILENT


async def listen(journal: Journal, *, agent: str = "agent1") -> None:
    """Begin to listen for an agent: from 2 s on everything is proved, up to 10 s, and at 5 s it was compared."""
    await journal.watch(agent, NOW)
    await prove(journal, "A", 2, 10, agent=agent, position=b"A10")
    await journal.agree(agent, after(5))


class Gaps(Part):
    """What a journal knows of the time in which it was listened for an agent."""

    async def test_first_start(self, journal: Journal, reader: Reader) -> None:
        """From the first start nothing is proved; the first proof says since when something is."""
        assert await journal.watch("agent1", NOW) == watched(0, broken=START)
        assert (await journal.watched("agent1")).open_gap == gap(0, None, START)
        await prove(journal, "A", 2, 10, position=b"A10")
        expected = watched(10, gap(0, 2, START), position=b"A10")
        assert await journal.watched("agent1") == expected
        assert list(reader.watched()) == [expected]
        assert list(reader.gaps()) == [gap(0, 2, START)]

    async def test_chain(self, journal: Journal, reader: Reader) -> None:
        """A proof of the same chain extends what is proved, and brings its position, or that there is none."""
        await listen(journal)
        await prove(journal, "A", 2, 20, position=b"A20")
        assert await journal.watched("agent1") == watched(20, compared=5, position=b"A20")
        await prove(journal, "A", 2, 30)
        assert await journal.watched("agent1") == watched(30, compared=5)
        assert list(reader.gaps()) == [gap(0, 2, START, SNAPSHOT)]

    async def test_proofs_of_many(self, journal: Journal, reader: Reader) -> None:
        """Proofs without batches say the same, of each agent its own; one of another chain wakes whoever repairs."""
        await listen(journal)
        await listen(journal, agent="agent2")
        wakes = journal.wakes(gaps_of("agent2"))
        wakes.clear()
        await journal.prove(
            {"agent1": Proof("A", after(2), after(20), b"A20"), "agent2": Proof("B", after(13), after(20), b"B20")}
        )
        missed = gap(10, 13, LOST, agent="agent2")
        assert list(reader.watched()) == [
            watched(20, compared=5, position=b"A20"),
            watched(20, missed, compared=5, position=b"B20", agent="agent2"),
        ]
        assert wakes.is_set()

    async def test_another_chain(self, journal: Journal, reader: Reader) -> None:
        """Between two chains lies a gap, from the last proof to the new chain's beginning, whatever was noticed."""
        await listen(journal)
        await prove(journal, "B", 13, 20)
        assert await journal.watched("agent1") == watched(20, gap(10, 13, LOST), compared=5)
        await break_chain(journal, REFUSED)
        await prove(journal, "C", 26, 30)
        assert list(reader.gaps())[1:] == [gap(10, 13, LOST), gap(20, 26, REFUSED)]

    async def test_break(self, journal: Journal, reader: Reader) -> None:
        """From a break on a gap goes on, named after what came first; if the chain holds, there was none."""
        await listen(journal)
        await break_chain(journal, NETWORK)
        await break_chain(journal, REFUSED)
        broken = await journal.watched("agent1")
        assert broken == watched(10, broken=NETWORK, compared=5, position=b"A10")
        assert broken.open_gap == gap(10, None, NETWORK)
        await prove(journal, "A", 2, 20)
        assert await journal.watched("agent1") == watched(20, compared=5)
        assert len(list(reader.gaps())) == 1

    async def test_break_of_what_was_proved(self, journal: Journal, reader: Reader) -> None:
        """A break can take back what was proved last, but nothing from before the chain, and it proves nothing."""
        await listen(journal)
        await prove(journal, "B", 13, 20)
        await break_chain(journal, LOST, since=25)
        assert await journal.watched("agent1") == watched(20, gap(10, 13, LOST), compared=5, broken=LOST)
        await break_chain(journal, NETWORK, since=17)
        assert (await journal.watched("agent1")).open_gap == gap(17, None, LOST)
        await break_chain(journal, since=11)
        assert (await journal.watched("agent1")).proven_until == after(13)
        await prove(journal, "C", 26, 30)
        assert list(reader.gaps())[1:] == [gap(10, 13, LOST), gap(13, 26, LOST)]
        await journal.prune(after(28), None)
        await break_chain(journal, since=27)
        assert (await journal.watched("agent1")).proven_until == after(28)
        assert verified(reader) == []

    async def test_restart(self, journal: Journal, reader: Reader) -> None:
        """After a stop nothing is proved from the last proof on, unless the chain turns out to have held."""
        await listen(journal)
        assert await journal.watch("agent1", after(60)) == watched(10, broken=STOPPED, compared=5, position=b"A10")
        await prove(journal, "A", 2, 61)
        assert await journal.watched("agent1") == watched(61, compared=5)
        await journal.watch("agent1", after(90))
        await prove(journal, "B", 92, 100)
        assert list(reader.gaps())[1:] == [gap(61, 92, STOPPED)]

    async def test_restart_in_a_gap(self, journal: Journal, reader: Reader) -> None:
        """A gap that goes on when the daemon stops keeps its cause."""
        await journal.watch("agent1", NOW)
        assert (await journal.watch("agent1", after(5))).broken is START
        await prove(journal, "A", 7, 10)
        await break_chain(journal, NETWORK)
        assert (await journal.watch("agent1", after(60))).broken is NETWORK
        await prove(journal, "B", 62, 70)
        assert list(reader.gaps()) == [gap(0, 7, START), gap(10, 62, NETWORK)]

    async def test_agree(self, journal: Journal, reader: Reader) -> None:
        """A comparison closes the gaps that had ended when it was made, and no others."""
        await journal.watch("agent1", NOW)
        for number in range(3):
            await prove(journal, f"A{number}", 10 * number + 5, 10 * number + 10)
        first, second, third = gap(0, 5, START), gap(10, 15, LOST), gap(20, 25, LOST)
        await journal.agree("agent1", after(4.999999))
        assert (await journal.watched("agent1")).gaps == (first, second, third)
        await journal.agree("agent1", after(15))
        await break_chain(journal)
        assert await journal.watched("agent1") == watched(30, third, compared=15, broken=NETWORK)
        closed = [gap(0, 5, START, SNAPSHOT), gap(10, 15, LOST, SNAPSHOT)]
        assert list(reader.gaps()) == [*closed, third]
        await journal.agree("agent1", after(40))
        assert await journal.watched("agent1") == watched(30, compared=40, broken=NETWORK)

    async def test_doubt(self, journal: Journal, reader: Reader) -> None:
        """In doubt all goes that was proved since the last comparison, and what the chain goes on to prove."""
        await listen(journal)
        await break_chain(journal, NETWORK)
        await journal.doubt("agent1")
        doubted = watched(5, broken=SILENT, compared=5)
        assert await journal.watched("agent1") == doubted
        await prove(journal, "A", 2, 20, position=b"A20")
        assert await journal.watched("agent1") == doubted
        await prove(journal, "B", 23, 30, position=b"B30")
        assert await journal.watched("agent1") == watched(30, gap(5, 23, SILENT), compared=5, position=b"B30")
        assert verified(reader) == []

    async def test_doubt_before_any_comparison(self, journal: Journal, reader: Reader) -> None:
        """In doubt before the first comparison all goes that was proved; the gap before it stays as it is."""
        await journal.watch("agent1", NOW)
        await prove(journal, "A", 2, 10)
        await journal.doubt("agent1")
        assert await journal.watched("agent1") == watched(2, gap(0, 2, START), broken=SILENT)
        await prove(journal, "B", 12, 20)
        assert list(reader.gaps()) == [gap(0, 2, START), gap(2, 12, SILENT)]
        assert verified(reader) == []

    async def test_doubt_after_another_gap(self, journal: Journal, reader: Reader) -> None:
        """A gap that isn't closed when a chain is doubted stays: no span is in two gaps."""
        await listen(journal)
        await prove(journal, "B", 13, 20)
        await journal.doubt("agent1")
        await prove(journal, "C", 23, 30)
        assert list(reader.gaps())[1:] == [gap(10, 13, LOST), gap(13, 23, SILENT)]
        assert verified(reader) == []

    async def test_doubt_of_nothing(self, journal: Journal) -> None:
        """Where no chain holds nothing is taken back: a doubted chain stays so, and a gap keeps its cause."""
        await journal.doubt("agent1")
        await journal.watch("agent1", NOW)
        await journal.doubt("agent1")
        assert await journal.watched("agent1") == watched(0, broken=START)
        await listen(journal)
        await journal.doubt("agent1")
        await journal.doubt("agent1")
        await prove(journal, "A", 2, 20)
        assert await journal.watched("agent1") == watched(5, broken=SILENT, compared=5)

    async def test_doubt_right_after_a_comparison(self, journal: Journal) -> None:
        """A comparison that is younger than the last proof leaves that in place."""
        await listen(journal)
        await journal.agree("agent1", after(12))
        await journal.doubt("agent1")
        assert await journal.watched("agent1") == watched(10, broken=SILENT, compared=12)

    async def test_clock_set_back(self, journal: Journal, reader: Reader) -> None:
        """What the clock said before it was set back lies in no future: gaps are told and closed as ever."""
        await listen(journal)
        await prove(journal, "A", 2, 4)
        assert await journal.watched("agent1") == watched(4, compared=4)
        await prove(journal, "B", 5, 6)
        assert await journal.watched("agent1") == watched(6, gap(4, 5, LOST), compared=4)
        await prove(journal, "C", 14, 12)
        assert await journal.watched("agent1") == watched(14, gap(4, 5, LOST), gap(6, 14, LOST), compared=4)
        await prove(journal, "D", 3, 3)
        assert await journal.watched("agent1") == watched(
            3, gap(3, 3, LOST), gap(3, 3, LOST), gap(3, 3, LOST), compared=3
        )
        await journal.agree("agent1", after(4))
        assert (await journal.watched("agent1")).gaps == ()
        assert verified(reader) == []

    async def test_unwatched(self, journal: Journal, reader: Reader) -> None:
        """A source that proves without having been announced counts from its first proof; a break alone is nothing."""
        await break_chain(journal)
        await journal.agree("agent1", NOW)
        assert list(reader.watched()) == []
        await prove(journal, "A", 2, 10)
        assert await journal.watched("agent1") == watched(10, gap(2, 2, START), since=2)

    async def test_with_entries(self, journal: Journal, reader: Reader) -> None:
        """A proof is written with the batch that it belongs to; a batch without one proves and breaks nothing."""
        await journal.watch("agent1", NOW)
        one = draft("S1")
        await journal.append(Batch("agent1", Origin.LIVE, NOW, (one.message,), Proof("A", NOW, after(3))), [one], ())
        await append(journal, draft("S2"))
        assert [entry.session for entry in reader.entries()] == ["S1", "S2"]
        assert (await journal.watched("agent1")).proven_until == after(3)

    async def test_wakes(self, journal: Journal) -> None:
        """Who repairs an agent's gaps hears of each that has ended, and of nothing else."""
        wake, other = journal.wakes(gaps_of("agent1")), journal.wakes(gaps_of("agent2"))
        await journal.watch("agent1", NOW)
        await break_chain(journal)
        assert not wake.is_set()
        await prove(journal, "A", 2, 10)
        assert wake.is_set()
        wake.clear()
        await prove(journal, "A", 2, 20)
        await journal.doubt("agent1")
        await prove(journal, "A", 2, 30)
        await append(journal, draft("S1"))
        assert not wake.is_set()
        await prove(journal, "B", 32, 40)
        assert wake.is_set()
        assert not other.is_set()

    async def test_agents(self, journal: Journal, reader: Reader) -> None:
        """Each agent has a ledger of its own; they are shown by name."""
        await listen(journal, agent="agent2")
        await listen(journal)
        await prove(journal, "B", 12, 20, agent="agent2")
        await break_chain(journal)
        await prove(journal, "B", 13, 20)
        await journal.doubt("agent2")
        await journal.agree("agent2", after(15))
        one = watched(20, gap(10, 13, NETWORK), compared=5)
        two = watched(12, agent="agent2", broken=SILENT, compared=15)
        closed = [gap(0, 2, START, SNAPSHOT, agent=agent) for agent in ("agent1", "agent2")]
        another = gap(10, 12, LOST, SNAPSHOT, agent="agent2")
        assert list(reader.watched()) == [one, two]
        assert list(reader.gaps()) == [closed[0], *one.gaps, closed[1], another]
        assert list(reader.watched(agent="agent2")) == [two]
        assert list(reader.gaps(agent="agent2")) == [closed[1], another]
        assert list(reader.watched(agent="agent3")) == []
        assert list(reader.gaps(agent="agent3")) == []

    async def test_open_sessions(self, journal: Journal) -> None:
        """An agent's sessions that could still change are those in a state that isn't the last."""
        assert await journal.open_sessions("agent1") == {}
        states = ["Invited", "Chatting", "LeftChat", "BrandNew", "Completed", "Revoked", "Vanished"]
        await append(journal, *[draft(state, state) for state in states])
        await append(journal, draft("Elsewhere", "Chatting"), agent="agent2")
        stateless = {"id": "Stateless"}
        await append(journal, Draft(message(stateless), Change(Kind.PROPERTIES, "Stateless", document=stateless)))
        assert await journal.open_sessions("agent1") == {state: state for state in states[:4]}
        await append(journal, draft("Invited", "Completed", before="Invited"))
        await append(journal, draft("Vanished", "Chatting", before="Vanished"))
        assert list(await journal.open_sessions("agent1")) == ["BrandNew", "Chatting", "LeftChat", "Vanished"]
        assert (await journal.open_sessions("agent1"))["Vanished"] == "Chatting"

    @pytest.mark.parametrize("most_bytes", [None, 0])
    async def test_forgetting(self, journal: Journal, reader: Reader, most_bytes: int | None) -> None:
        """A gap is forgotten once it is closed and old, however large the journal; what is left is counted alone."""
        await journal.watch("agent1", NOW)
        for number in range(3):
            await prove(journal, f"A{number}", 10 * number + 5, 10 * number + 10)
        await journal.agree("agent1", after(20))
        closed = [gap(0, 5, START, SNAPSHOT), gap(10, 15, LOST, SNAPSHOT)]
        last = gap(20, 25, LOST)
        await journal.prune(after(5), most_bytes)
        assert list(reader.gaps()) == [*closed, last]
        assert await journal.watched("agent1") == watched(30, last, since=5, compared=20)
        await journal.prune(after(12), most_bytes)
        assert list(reader.gaps()) == [closed[1], last]
        await journal.prune(after(60), most_bytes)
        assert list(reader.gaps()) == [last]
        assert await journal.watched("agent1") == watched(30, last, since=30, compared=20)
        await journal.prune(after(12), most_bytes)
        assert (await journal.watched("agent1")).observed_since == after(30)
        assert verified(reader) == []

    async def test_doubt_after_forgetting(self, journal: Journal, reader: Reader) -> None:
        """In doubt nothing is taken back of the time that isn't counted any more."""
        await listen(journal)
        await prove(journal, "A", 2, 60)
        await journal.prune(after(30), None)
        await journal.doubt("agent1")
        assert await journal.watched("agent1") == watched(30, since=30, broken=SILENT, compared=5)
        assert verified(reader) == []


class ReopenedGaps(Part):
    """The ledger in a journal that outlives its process."""

    async def test_survives(self, engine: Engine) -> None:
        """What is proved, what isn't, where to go on, and what a comparison showed survive a restart."""
        journal = engine.open(NOW)
        await listen(journal)
        await prove(journal, "B", 13, 20, position=b"B20")
        expected = await journal.watched("agent1")
        journal.close()
        journal = engine.open(after(30))
        assert await journal.watched("agent1") == expected
        assert (await journal.watch("agent1", after(30))).position == b"B20"
        await prove(journal, "B", 13, 40)
        assert await journal.watched("agent1") == watched(40, gap(10, 13, LOST), compared=5)
        journal.close()

    async def test_doubt_survives(self, engine: Engine) -> None:
        """A chain that is doubted is so after a restart, too, and nothing says where it could go on."""
        journal = engine.open(NOW)
        await listen(journal)
        await journal.doubt("agent1")
        journal.close()
        journal = engine.open(after(30))
        assert await journal.watch("agent1", after(30)) == watched(5, broken=SILENT, compared=5)
        await prove(journal, "A", 2, 40)
        await prove(journal, "B", 43, 50)
        assert await journal.watched("agent1") == watched(50, gap(5, 43, SILENT), compared=5)
        journal.close()

    async def test_crash(self, engine: Engine) -> None:
        """A crash hides no gap: once the daemon listens again it is known, from the last proof on."""
        journal = engine.open(NOW)
        await listen(journal)
        journal.close()
        reader = engine.read(journal)
        assert [one.open_gap for one in reader.watched()] == [None]
        reader.close()
        journal = engine.open(after(60))
        assert (await journal.watch("agent1", after(60))).open_gap == gap(10, None, STOPPED)
        journal.close()

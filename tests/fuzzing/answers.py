"""What GWS answers to requests: whatever that is, operations end in one of their ways, and the journal stays sound."""

import asyncio
from contextlib import closing, suppress

from structlog.testing import capture_logs

from fbsessiond import Operation
from fbsessiond.chance import SeededChance
from fbsessiond.errors import RefusedError
from fbsessiond.gws.answers import GwsError
from fbsessiond.gws.rest import Rest
from fbsessiond.intake import Intake
from fbsessiond.journal.sqlite.engine import SqliteJournal
from fbsessiond.journal.sqlite.file import MEMORY
from fbsessiond.metrics import Metrics
from fbsessiond.reconciling import Reconciler
from fbsessiond.testing import EPOCH, VirtualClock, run_virtual
from fuzzing.answering import AnsweredAccess, Over
from fuzzing.journals import check_journal
from journal_parts import append, draft, prove

METRICS = Metrics(VirtualClock())

LONGEST_SECONDS = 3600
LISTENING_SECONDS = 60


def read_answers(data: bytes) -> None:
    """Ask for an operation, and then for the list of sessions, again and again: each line is an answer."""
    with closing(SqliteJournal(MEMORY, EPOCH)) as journal, capture_logs():
        run_virtual(_read(journal, data.split(b"\n")))
        check_journal(journal.reader())


async def _read(journal: SqliteJournal, lines: list[bytes]) -> None:
    clock, rest = VirtualClock(), Rest("http://gws.example", AnsweredAccess(lines))
    chains = ["first", "second"]
    await append(journal, draft("S1", "Chatting"), draft("S2", "Invited"), draft("S3", "LeftChat"))
    await prove(journal, "first", 0, 1)
    await prove(journal, "second", 2, 3)
    await asyncio.sleep(10)
    with suppress(GwsError, RefusedError, Over):
        assert (await rest.operate(Operation.leave("S1"))).code in {0, 7}
    reconciler = Reconciler(
        "agent1",
        journal,
        Intake(journal, (), clock),
        rest,
        clock=clock,
        chance=SeededChance(1),
        renew=lambda: chains.append(f"chain {len(chains)}"),
        observe=METRICS.observe,
    )
    listening = asyncio.create_task(_listen(journal, chains))
    with suppress(RefusedError, Over, TimeoutError):
        async with asyncio.timeout(LONGEST_SECONDS):
            await reconciler.run()
    listening.cancel()


async def _listen(journal: SqliteJournal, chains: list[str]) -> None:
    """Prove that nothing was missed since the last chain began, again and again."""
    since: dict[str, float] = {}
    while True:
        now = asyncio.get_running_loop().time()
        await prove(journal, chains[-1], since.setdefault(chains[-1], now), now)
        await asyncio.sleep(LISTENING_SECONDS)

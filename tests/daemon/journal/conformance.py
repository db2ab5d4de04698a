"""What every engine of the journal does: this suite is its definition.

An engine runs it by a class and a fixture `engine` for each of its kinds of journal (see `sqlite/test_engine.py`):
`JournalConformance`, and `DurableConformance` where a journal outlives its process.
"""

from daemon.journal.suite.acting import Acting, ReopenedActing
from daemon.journal.suite.appending import Appending
from daemon.journal.suite.dead_letters import DeadLetters
from daemon.journal.suite.delivering import Delivering
from daemon.journal.suite.follow_ups import FollowUps, ReopenedFollowUps
from daemon.journal.suite.forgetting import Forgetting
from daemon.journal.suite.gaps import Gaps, ReopenedGaps
from daemon.journal.suite.quarantining import Quarantining
from daemon.journal.suite.reading import Reading
from daemon.journal.suite.reopening import Reopening
from daemon.journal.suite.revealing import ReopenedRevealing, Revealing
from daemon.journal.suite.waiting import Waiting


class JournalConformance(
    Appending, Delivering, DeadLetters, Quarantining, Forgetting, Reading, FollowUps, Gaps, Acting, Revealing, Waiting
):
    """What every journal does."""


class DurableConformance(
    JournalConformance, Reopening, ReopenedFollowUps, ReopenedGaps, ReopenedActing, ReopenedRevealing
):
    """What every journal does that outlives its process."""

"""A session's document, from what the journal holds of it."""

from functools import partial

import msgspec

from fbsessiond.conditions import Candidate
from fbsessiond.journal.records import Draft, Entry
from fbsessiond.message import Batch
from fbsessiond.notification import Document, id_in, parts_of


def document_of(entry: Entry) -> Document:
    """Return the session's merged document as of an entry that changed it."""
    if entry.document is not None:
        document: Document = msgspec.json.decode(entry.document)
        return document
    return own_part(entry.notification, entry.session)


def own_part(notification: bytes, session: str | None) -> Document:
    """Return a notification's own part on a session; the last, where it shows the session more than once.

    Raises `LookupError` where there is none: then the entry's checksum doesn't fit, or the journal isn't ours.
    """
    try:
        parts = parts_of(msgspec.json.decode(notification, type=Document))
    except (msgspec.MsgspecError, TypeError, RecursionError) as error:
        raise LookupError(f"the notification can't be read: {error}") from error
    for part in reversed(parts):
        if id_in(part) == session:
            return part
    raise LookupError(f"no part on session {session} in the notification")


def entry_of(seq: int, batch: Batch, draft: Draft) -> Entry:
    """Return the entry that a draft becomes."""
    change = draft.change
    return Entry(
        seq,
        batch.received_at,
        batch.origin,
        batch.agent,
        draft.message.channel,
        change.session,
        change.kind,
        change.before,
        change.after,
        draft.message.data or b"",
        draft.document,
    )


def candidate_of(entry: Entry) -> Candidate:
    """Return a transition as conditions look at it."""
    document = partial(document_of, entry)
    return Candidate(entry.agent, entry.session or "", entry.before, entry.after or "", entry.origin, document)

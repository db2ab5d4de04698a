import json
from typing import cast

import pytest
from msgspec.structs import replace

from fbsessiond.journal.documents import candidate_of, document_of, entry_of, own_part
from fbsessiond.journal.records import Entry
from fbsessiond.message import Batch, Origin
from fbsessiond.notification import Document
from fbsessiond.transition import Kind
from journal_parts import NOW, draft, message

SESSION: Document = {"id": "S1", "state": "Chatting", "userData": {"CASE": 2**70, "NONE": None}}
ENTRY = Entry(
    1, NOW, Origin.LIVE, "agent1", None, "S1", Kind.TRANSITION, None, "Chatting", message(SESSION).data or b"", None
)


def test_document_in_notification() -> None:
    """A session's document is its notification's own part, in the platform's keys, where no other is kept."""
    assert document_of(ENTRY) == SESSION


def test_kept_document() -> None:
    """A session's document is the merged one where that is kept."""
    merged: Document = {**SESSION, "comment": "from before"}
    assert document_of(replace(ENTRY, document=json.dumps(merged).encode())) == merged


def test_own_part_of_a_list() -> None:
    """Of a notification on several sessions a session's own part is taken; the last, where it shows one twice."""
    sessions: list[Document] = [{"id": "S1", "state": "Invited"}, {"id": "S2", "state": "Invited"}, SESSION]
    notification = message(facebooksessions=sessions).data or b""
    assert own_part(notification, "S1") == SESSION
    assert own_part(notification, "S2") == sessions[1]


@pytest.mark.parametrize(
    "others",
    [
        {"facebooksession": {"id": "S2"}},
        {"messageType": "CallStateChanged"},
        {"messageType": "MessageLogUpdated", "messages": [], "facebooksessionPath": "/facebooksessions/S1"},
    ],
)
def test_no_part(others: Document) -> None:
    """A notification that says nothing of a session, or only what is written in it, has no part on it."""
    with pytest.raises(LookupError, match="no part on session S1"):
        own_part(message(**others).data or b"", "S1")


@pytest.mark.parametrize(
    "notification",
    [b"\xff", b"[1]", b"", b'{"a":' * 5_000, cast("bytes", None)],
    ids=["text", "list", "empty", "deep", "none"],
)
def test_damage(notification: bytes) -> None:
    """A notification that damage has made unreadable has none either."""
    with pytest.raises(LookupError, match="the notification can't be read: "):
        own_part(notification, "S1")


def test_no_session() -> None:
    """An error without a session has no part on any."""
    error = message(messageType="FacebooksessionStateChangeMessage", notificationType="Error").data or b""
    with pytest.raises(LookupError, match="no part on session None"):
        own_part(error, None)


def test_candidate() -> None:
    """A transition in the journal is one that conditions can look at; its document is read when it is asked for."""
    candidate = candidate_of(ENTRY)
    assert (candidate.agent, candidate.session, candidate.before, candidate.after) == ("agent1", "S1", None, "Chatting")
    assert candidate.document == SESSION
    assert candidate_of(replace(ENTRY, notification=b"{")).after == "Chatting"


def test_entry_of_a_draft() -> None:
    """A draft becomes the entry that is read back."""
    one = draft("S1", "Chatting", before="Invited", merged={"id": "S1", "state": "Chatting", "comment": "kept"})
    entry = entry_of(7, Batch("agent1", Origin.LIVE, NOW, (one.message,)), one)
    assert (entry.seq, entry.received_at, entry.agent, entry.session) == (7, NOW, "agent1", "S1")
    assert (entry.before, entry.after, entry.notification) == ("Invited", "Chatting", one.message.data)
    assert document_of(entry)["comment"] == "kept"

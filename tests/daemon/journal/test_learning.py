import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard

from fbsessiond.journal.learning import SAMPLES, SHARED_BY, better_dictionary, is_learned, learned
from fbsessiond.journal.packing import Packing, shipped_dictionary
from journal_parts import noise

TENANT = "a tenant that every session of this site has"


def notification(number: int, **user_data: Any) -> bytes:
    """Return a notification of a site that attaches data of its own to each session."""
    own = {f"Site_Attribute_{key}": "default" for key in range(40)}
    session = {"id": f"S{number}", "state": "Chatting", "userData": {**own, "Tenant_Site": TENANT, **user_data}}
    return json.dumps({"messageType": "FacebooksessionStateChangeMessage", "facebooksession": session}).encode()


def size(dictionary: bytes, content: bytes) -> int:
    """Return how many bytes some content has when it is packed."""
    return len(Packing(lambda _: dictionary).pack(content, 1))


def parts(text: str) -> set[bytes]:
    """Return all that a text has of six letters."""
    return {text[at : at + 6].encode() for at in range(len(text) - 5)}


def test_small() -> None:
    """What a site's notifications share is packed to a quarter of what the dictionary that is shipped makes of it."""
    dictionary = learned([notification(number) for number in range(SAMPLES)], 7)
    assert dictionary is not None
    assert zstandard.ZstdCompressionDict(dictionary).dict_id() == 7
    new = notification(1000)
    assert size(dictionary, new) < size(shipped_dictionary(), new) / 4
    packing = Packing({7: dictionary}.__getitem__)
    assert packing.unpack(packing.pack(new, 7)) == new


SECRETS: list[Callable[[int], dict[str, Any]]] = [
    lambda number: {"Crm": noise(30, number)},
    lambda number: {"Crm": [{"more": [noise(30, number)]}, noise(30, -number)]},
    lambda number: {noise(30, number): "default"},
    lambda number: {noise(30, number): {"deep": [1, {noise(30, -number): None}]}},
    lambda number: {"Crm": "Zo\\\\ë \\" + noise(30, number) + '"' + noise(30, -number)},
    lambda number: {"Crm": int.from_bytes(noise(12, number).encode())},
    lambda number: {"Crm": noise(30, number % (SAMPLES // SHARED_BY + 1))},
    lambda _: {"FirstName": noise(30), "CRM_EMail": [noise(30)], "Kunden_Name": {"notes": [1, [noise(30)]]}},
]
"""What a session has of its own, or shares with less than a quarter of the others; and what is about somebody."""


PERSONAL_KEYS = {"FirstName", "CRM_EMail", "Kunden_Name", "notes"}


def words_in(value: Any) -> Iterator[str]:
    """Yield the longer texts, keys and numbers in a value, as JSON writes them."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from words_in(key)
                yield from words_in(inner)
        case list():
            for inner in value:
                yield from words_in(inner)
        case _:
            yield from (word for word in [json.dumps(value).strip('"')] if len(word) > 8)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_customers_data(secret: Callable[[int], dict[str, Any]]) -> None:
    """Nothing that few sessions have is in a dictionary, whatever it stands under or in; nor what is about somebody."""
    notifications = [notification(number, **secret(number + 1)) for number in range(SAMPLES)]
    dictionary = learned(notifications, 7)
    assert dictionary is not None
    assert TENANT.encode() in dictionary
    words = {word for number in range(SAMPLES) for word in words_in(secret(number + 1)) if word not in PERSONAL_KEYS}
    assert words
    assert [part for word in words for part in parts(word) if part in dictionary] == []


def test_too_few() -> None:
    """From few sessions nothing is learned, nor from nothing."""
    assert learned([notification(number) for number in range(SAMPLES - 1)], 7) is None
    assert learned([b""] * SAMPLES, 7) is None


def test_better() -> None:
    """A dictionary takes the place of another where that pays; the shipped one where nothing can be learned."""
    shipped, site = shipped_dictionary(), [notification(number) for number in range(SAMPLES)]
    fresh = better_dictionary(shipped, 2, site, is_outlived=False)
    assert fresh is not None
    assert fresh == learned(site, 2)
    assert is_learned(fresh)
    assert better_dictionary(fresh, 3, site, is_outlived=False) is None
    assert better_dictionary(fresh, 3, site, is_outlived=True) == learned(site, 3)
    back = better_dictionary(fresh, 3, site[:3], is_outlived=True)
    assert back is not None
    assert not is_learned(back)
    assert zstandard.ZstdCompressionDict(back).dict_id() == 3
    assert better_dictionary(fresh, 3, [], is_outlived=False) is None

import json
from pathlib import Path

import pytest
import zstandard

import make_dictionary
from fbsessiond import limits
from fbsessiond.journal.packing import Packing, shipped_dictionary

FIXTURES = Path(__file__).parents[2] / "fixtures"
LEAVE = json.dumps(json.loads((FIXTURES / "documented/leave-leftchat.json").read_bytes())["data"]).encode()


def packing() -> Packing:
    """Return a packing that has the shipped dictionary alone."""
    return Packing({1: shipped_dictionary()}.__getitem__)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("content", [b"", b"{}", LEAVE, bytes(1_000_000)])
def test_round_trip(number: int, content: bytes) -> None:
    """What is packed is unpacked as it was, by a dictionary or by none, and by another packing that has it."""
    one, other = packing(), packing()
    for _ in range(2):
        packed = one.pack(content, number)
        assert zstandard.get_frame_parameters(packed).dict_id == number
        assert one.unpack(packed) == other.unpack(packed) == content


def test_small() -> None:
    """The documented sample, of another session, is packed to a thirtieth; without a dictionary to less than a half."""
    content = LEAVE.replace(b"0002DaAVKJ0V0095", b"0002DaAVKJ0V1234")
    assert len(packing().pack(content, 1)) < len(content) / 30
    assert len(content) / 3 < len(packing().pack(content, 0)) < len(content) / 2


def test_damaged() -> None:
    """What is damaged raises an error, or is unpacked to something: never anything else happens."""
    packed = packing().pack(LEAVE, 1)
    one = packing()
    raised = 0
    for at in range(len(packed) * 8):
        flipped = bytearray(packed)
        flipped[at // 8] ^= 1 << at % 8
        try:
            one.unpack(bytes(flipped))
        except (ValueError, LookupError):
            raised += 1
    assert raised > len(packed)
    for cut in range(len(packed)):
        with pytest.raises(ValueError, match="it can't be unpacked"):
            one.unpack(packed[:cut])


def test_lost_dictionary() -> None:
    """What was packed by a dictionary that isn't there can't be unpacked."""
    packed = packing().pack(LEAVE, 1)
    with pytest.raises(LookupError):
        Packing({}.__getitem__).unpack(packed)


def test_limit() -> None:
    """What says that it would have too many bytes isn't even tried."""
    large = zstandard.ZstdCompressor().compress(bytes(limits.RESPONSE_BYTES + 1))
    with pytest.raises(ValueError, match="more than 67108864 bytes"):
        packing().unpack(large)
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(b"{}")
    with pytest.raises(ValueError, match="more than 67108864 bytes"):
        packing().unpack(unsaid)


def test_shipped_dictionary() -> None:
    """The dictionary that comes with the package is the one that is made from the samples."""
    assert shipped_dictionary() == make_dictionary.dictionary()

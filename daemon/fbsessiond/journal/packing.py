"""What the journal keeps of a notification, packed: Zstandard frames, for every engine.

A frame says by which dictionary it was packed: its `Dictionary_ID`, 0 for none [RFC 8878 §3.1.1.1.3]. So what was
packed by an older dictionary can be read as long as that is there.
"""

from collections.abc import Callable
from importlib.resources import files

import zstandard

from fbsessiond import limits

LEVEL = 3
"""Of compression. 1 takes 1 µs less for a notification of 4 KB, and a tenth more room; 6 takes 15 µs more."""


class Packing:
    """Packs by a dictionary, and unpacks by whichever it was."""

    def __init__(self, find: Callable[[int], bytes]) -> None:
        """Take what returns a dictionary by its number; it raises `LookupError` where there is none."""
        self._find = find
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}
        self._decompressors: dict[int, zstandard.ZstdDecompressor] = {}

    def pack(self, content: bytes, number: int) -> bytes:
        """Return some bytes packed by the dictionary of a number."""
        return self._compressor(number).compress(content)

    def unpack(self, packed: bytes) -> bytes:
        """Return what was packed. Raises `ValueError` or `LookupError` where it is damaged, or has no dictionary."""
        try:
            frame = zstandard.get_frame_parameters(packed)
            if frame.content_size > limits.RESPONSE_BYTES:
                raise ValueError(f"unpacked it would have more than {limits.RESPONSE_BYTES} bytes")
            return self._decompressor(frame.dict_id).decompress(packed)
        except zstandard.ZstdError as error:
            raise ValueError(f"it can't be unpacked: {error}") from error

    def _compressor(self, number: int) -> zstandard.ZstdCompressor:
        if number not in self._compressors:
            self._compressors[number] = zstandard.ZstdCompressor(level=LEVEL, dict_data=self._dictionary(number))
        return self._compressors[number]

    def _decompressor(self, number: int) -> zstandard.ZstdDecompressor:
        if number not in self._decompressors:
            self._decompressors[number] = zstandard.ZstdDecompressor(dict_data=self._dictionary(number))
        return self._decompressors[number]

    def _dictionary(self, number: int) -> zstandard.ZstdCompressionDict | None:
        return zstandard.ZstdCompressionDict(self._find(number), zstandard.DICT_TYPE_FULLDICT) if number else None


def shipped_dictionary() -> bytes:
    """Return the dictionary that a new journal begins with: number 1, made by `make dictionary`."""
    return files("fbsessiond.journal").joinpath("dictionary-1").read_bytes()

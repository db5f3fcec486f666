"""The checksums inside FFV1 frames.

FFmpeg's decoder notices a slice with a wrong checksum and patches it from the previous frame, but tells only its log.
An archive wants the frame number, so the checksums are read here as well (RFC 9043 section 4.9: a slice ends in its
size, 24 bits, a status byte and a CRC over the whole slice that leaves the remainder 0).
"""

from __future__ import annotations

import zlib

_TRAILER = 8
# FFV1's CRC-32 takes the most significant bit first, zlib's the least; mirrored bytes turn one into the other.
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_ALL_ONES = 0xFFFFFFFF


def slice_checksums(packet: bytes) -> list[bool] | None:
    """Check the slices of one FFV1 frame.

    Args:
        packet: The coded frame, of FFV1 version 3 with slice checksums.

    Returns:
        Per slice whether its checksum is right, last slice first; None where the packet is not made of such slices.
    """
    right: list[bool] = []
    end = len(packet)
    while end > 0:
        if end < _TRAILER:
            return None
        size = int.from_bytes(packet[end - _TRAILER : end - _TRAILER + 3], "big") + _TRAILER
        if size > end:
            return None
        # zlib starts from and ends with inverted bits; both are undone.
        remainder = zlib.crc32(packet[end - size : end].translate(_MIRRORED), _ALL_ONES) ^ _ALL_ONES
        right.append(remainder == 0)
        end -= size
    return right


class ChecksumWatch:
    """Tells damaged frames of an FFV1 stream, once a first frame has shown that it carries checksums."""

    def __init__(self) -> None:
        self._known = False

    def is_damaged(self, packet: bytes) -> bool:
        """Whether a slice of this coded frame has been altered. Always false for streams without checksums."""
        right = slice_checksums(packet)
        if right and all(right):
            self._known = True
            return False
        return self._known

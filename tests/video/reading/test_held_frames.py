"""What frames on their way through the reader take besides their pictures."""

import ctypes
import sys

import av
import pytest

from vldm_core.video.info import FieldOrder
from vldm_core.video.reading.deinterlace import DecodedFrame, judged
from vldm_core.video.reading.telecine import FieldMatcher

HELD = 100


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of the GNU C library."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def in_use() -> int:
    """Bytes that the C library has handed out."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if not hasattr(library, "mallinfo2"):
        pytest.skip("only the GNU C library tells what it has handed out")
    library.mallinfo2.restype = _MallInfo
    told = library.mallinfo2()
    return told.uordblks + told.hblkhd


@pytest.fixture
def frames():
    made = [av.VideoFrame(64, 48, "yuv420p") for _ in range(HELD)]
    for number, frame in enumerate(made):
        for plane in frame.planes:
            plane.update(bytes([number]) * plane.buffer_size)
    return made


def test_frames_that_were_judged_hold_no_scaler(frames):
    decoded = [DecodedFrame(frame=frame, pts=number, duration=1) for number, frame in enumerate(frames)]
    before = in_use()
    passed = list(judged(decoded, FieldOrder.PROGRESSIVE))
    assert len(passed) == HELD
    assert (in_use() - before) / HELD < 10_000


def test_frames_that_were_matched_hold_no_scaler(frames):
    matcher = FieldMatcher()
    before = in_use()
    for frame, earlier in zip(frames[1:], frames, strict=False):
        matcher.whole(frame, earlier, FieldOrder.TOP_FIRST)
    assert (in_use() - before) / HELD < 10_000

"""What the decode nodes refuse before anything runs."""

from pack.nodes.decode.decode_video import DecodeVideo
from pack.nodes.decode.fuse_restoration import FuseRestoration
from pack.nodes.decode.match_colour import MatchColour
from pack.nodes.prior.long_video_windows import LongVideoWindows
from pack.vldm_core.errors import SettingsError

fuse, match = FuseRestoration.validate_inputs, MatchColour.validate_inputs


def raised(validate, **inputs):
    """What is said of several inputs is raised, so that the host tells it once and not under each of them."""
    try:
        found = validate(**inputs)
    except SettingsError as error:
        return str(error)
    raise AssertionError(found)


assert fuse(mode="weight") is True and fuse(mode="mask", mask=None) is True
assert "no mask is connected" in fuse(mode="mask") and "choose one of" in raised(fuse, mode="sum", mask=None)
assert match(method="lab", statistics="shot", monochrome="auto") is True
assert "method is 'x'" in raised(match, method="x", statistics="shot")
assert "statistics" in match(statistics="film") and "method" in match(method="x")
tiles = DecodeVideo.validate_inputs
assert tiles(tile_size=0) is True and tiles(tile_size=128) is True and tiles() is True and "128" in tiles(tile_size=64)

# The host leaves the range of inputs that a node names to the node, and tells itself of what is no number.
windows = LongVideoWindows.validate_inputs
assert windows(length=16, overlap=4) is True and windows(length=16, overlap="many") is True and windows() is True
assert "overlap is -1; use 0 to 1023" in raised(windows, length=16, overlap=-1)
assert "length is 5000; use 0 to 1024" in windows(length=5000)
assert "overlap is 16; with length 16" in raised(windows, length=16, overlap=16)

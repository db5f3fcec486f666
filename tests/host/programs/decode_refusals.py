"""What the decode nodes refuse before anything runs."""

from pack.nodes import decode

fuse, match = decode.FuseRestoration.validate_inputs, decode.MatchColour.validate_inputs
assert fuse(mode="weight") is True and fuse(mode="mask", mask=None) is True
assert "no mask is connected" in fuse(mode="mask") and "choose one of" in fuse(mode="sum", mask=None)
assert match(method="lab", statistics="shot", monochrome="auto") is True
assert "statistics" in match(statistics="film") and "method" in match(method="x")
tiles = decode.DecodeVideo.validate_inputs
assert tiles(tile_size=0) is True and tiles(tile_size=128) is True and tiles() is True and "128" in tiles(tile_size=64)

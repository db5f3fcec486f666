"""What nodes refuse before anything runs."""

import pytest
from pack.nodes.decode.decode_video import DecodeVideo
from pack.nodes.decode.fuse_restoration import FuseRestoration
from pack.nodes.decode.match_colour import MatchColour
from pack.nodes.prior.long_video_windows import LongVideoWindows
from pack.vldm_core.errors import SettingsError

fuse, match = FuseRestoration.validate_inputs, MatchColour.validate_inputs
tiles, windows = DecodeVideo.validate_inputs, LongVideoWindows.validate_inputs


@pytest.mark.parametrize(
    ("validate", "inputs"),
    [
        (fuse, {"mode": "weight"}),
        (fuse, {"mode": "mask", "mask": None}),
        (match, {"method": "lab", "statistics": "shot", "monochrome": "auto"}),
        (tiles, {"tile_size": 0}),
        (tiles, {"tile_size": 128}),
        (tiles, {}),
        (windows, {"length": 16, "overlap": 4}),
        # The host leaves the range of inputs that a node names to the node, and tells itself of what is not a number.
        (windows, {"length": 16, "overlap": "many"}),
        (windows, {}),
    ],
)
def test_what_can_run_is_accepted(validate, inputs):
    assert validate(**inputs) is True


@pytest.mark.parametrize(
    ("validate", "inputs", "said"),
    [
        (fuse, {"mode": "mask"}, "no mask is connected"),
        (match, {"statistics": "film"}, "statistics"),
        (match, {"method": "x"}, "method"),
        (tiles, {"tile_size": 64}, "128"),
        (windows, {"length": 5000}, "length is 5000; use 0 to 1024"),
    ],
)
def test_what_is_wrong_with_one_input_is_said_under_it(validate, inputs, said):
    assert said in validate(**inputs)


@pytest.mark.parametrize(
    ("validate", "inputs", "said"),
    [
        (fuse, {"mode": "sum", "mask": None}, "choose one of"),
        (match, {"method": "x", "statistics": "shot"}, "method is 'x'"),
        (windows, {"length": 16, "overlap": -1}, "overlap is -1; use 0 to 1023"),
        (windows, {"length": 16, "overlap": 16}, "overlap is 16; with length 16"),
    ],
)
def test_what_is_wrong_with_several_is_raised_so_that_the_host_says_it_once(validate, inputs, said):
    with pytest.raises(SettingsError, match=said):
        validate(**inputs)

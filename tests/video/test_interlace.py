"""Interlaced films: seen in the pictures, one field order per file, frame count and timing kept."""

from fractions import Fraction

import av
import numpy as np
import pytest

from vldm_core.video.colour import sample_view
from vldm_core.video.info import FieldOrder
from vldm_core.video.interlace import FieldEvidence, detect_field_order, sample_fields
from vldm_core.video.reader import open_film
from vldm_core.video.writer import open_writer

from .conftest import moving_pattern, timestamps

HEIGHT, WIDTH = 96, 128


def luma_frame(luma):
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    sample_view(frame, 0)[...] = np.rint(16 + 219 * luma).astype(np.uint8)
    for plane in (1, 2):
        sample_view(frame, plane)[...] = 128
    return frame


def woven(index, top_first):
    """A frame of two fields that are half a frame apart in time, scaled so that the motion shows."""
    early, late = (moving_pattern(index + t, HEIGHT, WIDTH, step=4.0) for t in (0.0, 0.5))
    frame = early.copy()
    frame[1 if top_first else 0 :: 2] = late[1 if top_first else 0 :: 2]
    return luma_frame(frame)


def combing(image):
    """Mean difference of a line from the mean of its neighbours, in grey levels."""
    luma = image.astype(np.float64).mean(axis=2)
    return float(np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean())


@pytest.mark.parametrize(("top_first", "order"), [(True, FieldOrder.TOP_FIRST), (False, FieldOrder.BOTTOM_FIRST)])
def test_unmarked_interlaced_film_is_found_and_deinterlaced(make_film, top_first, order):
    path = make_film(frames=[woven(i, top_first) for i in range(24)], size=(WIDTH, HEIGHT), rate=25)
    with open_film(path) as reader, open_film(path, deinterlace="off") as plain:
        assert reader.info.field_order is order
        assert reader.info.deinterlaced
        assert not plain.info.deinterlaced
        frames, untouched = list(reader), list(plain)
    assert [f.pts for f in frames] == [f.pts for f in untouched]
    assert [f.index for f in frames] == list(range(24))
    progressive = [moving_pattern(i, HEIGHT, WIDTH, step=4.0) * 255 for i in range(24)]
    for frame, raw, clean in list(zip(frames, untouched, progressive, strict=True))[2:-2]:
        assert combing(frame.image) < 0.5 * combing(raw.image)
        assert np.abs(frame.image.mean(axis=2) - clean).mean() < np.abs(raw.image.mean(axis=2) - clean).mean()


def test_the_wrong_order_is_worse(make_film):
    path = make_film(frames=[woven(i, True) for i in range(16)], size=(WIDTH, HEIGHT), rate=25)
    error = {}
    for order in ("tff", "bff"):
        frames = list(open_film(path, deinterlace=order))
        assert len(frames) == 16
        error[order] = combing(frames[8].image) + combing(frames[9].image)
    assert error["tff"] < error["bff"]


def test_progressive_film_is_left_alone(make_film):
    frames = [luma_frame(moving_pattern(i, HEIGHT, WIDTH, step=4.0)) for i in range(30)]
    path = make_film(frames=frames, size=(WIDTH, HEIGHT), rate=25)
    evidence = sample_fields(path)
    assert evidence.progressive > 10
    assert evidence.decide() is FieldOrder.PROGRESSIVE


def test_a_long_film_is_sampled_in_several_places(make_film):
    """A still leader, interlaced afterwards: one order for the whole file."""
    still = [luma_frame(moving_pattern(0, HEIGHT, WIDTH)) for _ in range(80)]
    moving = [woven(i, False) for i in range(160)]
    path = make_film("long.mkv", frames=still + moving, size=(WIDTH, HEIGHT), rate=25)
    assert detect_field_order(path) is FieldOrder.BOTTOM_FIRST


def test_variable_timestamps_survive_deinterlacing(make_film, tmp_path):
    stamps = [0, 40, 80, 200, 240, 600, 640, 700, 900, 1000]
    path = make_film(
        frames=[woven(i, True) for i in range(10)],
        size=(WIDTH, HEIGHT),
        rate=25,
        pts=stamps,
        time_base=Fraction(1, 1000),
    )
    out = tmp_path / "out.mkv"
    with open_film(path, deinterlace="tff") as reader, open_writer(out, reader.info) as writer:
        for frame in reader:
            writer.write(frame)
    assert [round(t * 1000) for t in timestamps(out)] == stamps
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.field_order == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_short_films_keep_their_frames(make_film, count):
    path = make_film(frames=[woven(i, True) for i in range(count)], size=(WIDTH, HEIGHT), rate=25)
    assert len(list(open_film(path, deinterlace="tff"))) == count


def test_ten_bits_and_rgb_can_be_deinterlaced(make_film):
    ten = [woven(i, True).reformat(format="yuv420p10le") for i in range(6)]
    frames = list(
        open_film(make_film("ten.mkv", frames=ten, pix_fmt="yuv420p10le", size=(WIDTH, HEIGHT)), deinterlace="tff")
    )
    assert frames[3].image.dtype == np.uint16
    rgb = [woven(i, True).reformat(format="bgr0") for i in range(6)]
    path = make_film("rgb.mkv", frames=rgb, pix_fmt="bgr0", size=(WIDTH, HEIGHT))
    frames, plain = list(open_film(path, deinterlace="tff")), list(open_film(path, deinterlace="off"))
    assert len(frames) == 6
    assert combing(frames[3].image) < combing(plain[3].image)


@pytest.mark.parametrize(
    ("evidence", "order"),
    [
        (FieldEvidence(top_first=20, progressive=10), FieldOrder.TOP_FIRST),
        (FieldEvidence(bottom_first=16, progressive=24), FieldOrder.BOTTOM_FIRST),
        (FieldEvidence(top_first=20, bottom_first=15), FieldOrder.PROGRESSIVE),
        (FieldEvidence(top_first=4, progressive=14), FieldOrder.PROGRESSIVE),
        (FieldEvidence(progressive=40, flagged=60, flagged_order=FieldOrder.TOP_FIRST), FieldOrder.PROGRESSIVE),
        (FieldEvidence(undetermined=60, flagged=60, flagged_order=FieldOrder.BOTTOM_FIRST), FieldOrder.BOTTOM_FIRST),
        (FieldEvidence(undetermined=60), FieldOrder.PROGRESSIVE),
    ],
)
def test_decision(evidence, order):
    assert evidence.decide() is order


@pytest.mark.parametrize("name", ["great_train_robbery_1903", "market_street_1906", "san_francisco_1906"])
def test_old_film_is_progressive(shared_data, name):
    assert detect_field_order(shared_data(f"film/{name}.mkv")) is FieldOrder.PROGRESSIVE

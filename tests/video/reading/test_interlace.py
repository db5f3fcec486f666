"""Interlaced films: seen in the pictures, one field order per file, frame count and timing kept."""

import warnings
from fractions import Fraction

import av
import numpy as np
import pytest

from vldm_core.video.colour import sample_view
from vldm_core.video.info import FieldOrder
from vldm_core.video.reading.interlace import FieldEvidence, detect_field_order, sample_fields
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.writer import open_writer

from ..conftest import moving_pattern, timestamps

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


def fields_at(first, last):
    """A frame whose top field shows one time and whose bottom field another."""
    top, bottom = (moving_pattern(t, HEIGHT, WIDTH, step=4.0) for t in (first, last))
    frame = top.copy()
    frame[1::2] = bottom[1::2]
    return luma_frame(frame)


def still(index):
    return luma_frame(moving_pattern(index, HEIGHT, WIDTH, step=4.0))


def read_and_told(path, **settings):
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        with open_film(path, **settings) as film:
            frames = list(film)
            assert film.warnings == [str(item.message) for item in record]
    return frames, " ".join(str(item.message) for item in record)


PROGRESSIVE, TOP, BOTTOM = "p", "t", "b"
MAKERS = {PROGRESSIVE: still, TOP: lambda i: woven(i, True), BOTTOM: lambda i: woven(i, False)}


@pytest.mark.parametrize(
    ("stretches", "words"),
    [
        ([(PROGRESSIVE, 20), (TOP, 12)], ["top field first"]),
        ([(BOTTOM, 12), (PROGRESSIVE, 20)], ["bottom field first"]),
        ([(TOP, 16), (BOTTOM, 16)], ["top field first", "bottom field first"]),
        ([(PROGRESSIVE, 14), (BOTTOM, 14), (PROGRESSIVE, 14)], ["bottom field first"]),
    ],
)
def test_every_stretch_is_treated_as_it_is(make_film, stretches, words):
    kinds = [kind for kind, length in stretches for _ in range(length)]
    path = make_film(frames=[MAKERS[kind](i - 21) for i, kind in enumerate(kinds)], size=(WIDTH, HEIGHT), rate=25)
    frames, told = read_and_told(path)
    with open_film(path, deinterlace="off") as film:
        raw = list(film)
    assert len(frames) == len(kinds)
    assert [f.pts for f in frames] == [f.pts for f in raw]
    borders = {i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]} | {0, len(kinds)}
    for i, (kind, frame, plain) in enumerate(zip(kinds, frames, raw, strict=True)):
        # Up to two frames at a border may go to the neighbour, since motion across it looks like fields.
        if min(abs(i - border) for border in borders) <= 2:
            continue
        if kind == PROGRESSIVE:
            assert np.array_equal(frame.image, plain.image)
        else:
            assert combing(frame.image) < 0.5 * combing(plain.image)
    assert "not interlaced alike" in told
    assert all(word in told for word in words)


def test_a_film_of_one_order_is_treated_without_a_word(make_film):
    path = make_film(frames=[woven(i, True) for i in range(30)], size=(WIDTH, HEIGHT), rate=25)
    assert read_and_told(path)[1] == ""


def test_telecine_gives_the_film_frames_back(make_film):
    film = [i for i in range(24) for _ in range(2 if i % 2 == 0 else 3)]
    pairs = list(zip(film[::2], film[1::2], strict=True))
    path = make_film(frames=[fields_at(*pair) for pair in pairs], size=(WIDTH, HEIGHT), rate=Fraction(30000, 1001))
    frames, told = read_and_told(path)
    assert len(frames) == 30
    assert "telecined (2:3 pulldown)" in told
    assert "decimate" in told
    # The first frame has no frame before it; every other one is exactly one frame of the film.
    whole = {i: open_film(make_film(f"{i}.mkv", frames=[still(i)], size=(WIDTH, HEIGHT))) for i in range(24)}
    pictures = {i: next(iter(reader)).image for i, reader in whole.items()}
    for pair, frame in list(zip(pairs, frames, strict=True))[1:]:
        assert np.array_equal(frame.image, pictures[pair[0]])
    with open_film(path, deinterlace="off") as plain:
        assert max(combing(f.image) for f in plain) > 2 * max(combing(f.image) for f in frames[1:])


def test_repeated_frames_are_no_telecine(make_film):
    twos = [still(i // 2) for i in range(40)]
    path = make_film(frames=twos, size=(WIDTH, HEIGHT), rate=25)
    frames, told = read_and_told(path)
    assert told == ""
    with open_film(path, deinterlace="off") as plain:
        assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, plain, strict=True))


@pytest.mark.parametrize("name", ["great_train_robbery_1903", "market_street_1906", "san_francisco_1906"])
def test_no_frame_of_old_film_is_touched(shared_data, name):
    path = shared_data(f"film/{name}.mkv")
    frames, told = read_and_told(path)
    assert "interlaced" not in told
    assert "telecined" not in told
    with open_film(path, deinterlace="off") as plain:
        assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, plain, strict=True))

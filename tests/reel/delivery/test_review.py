"""The review copy: before and after side by side, in step, with number and sound."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError
from vldm_core.reel.delivery.review import ReviewWriter
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.encoding import plan_encoding
from vldm_core.video.writing.writer import open_writer

from ..conftest import CUT, HEIGHT, WIDTH
from ..test_restore import frames_of, packets_of

QUICK = ReelSettings(lines=None, flicker=None, average=None)
LINE, STRIP = 4, 28


def halves(copy):
    """Both pictures of each frame, and the strip below, from the film alone."""
    width = (copy.shape[2] - LINE) // 2
    return copy[:, :-STRIP, :width], copy[:, :-STRIP, width + LINE :], copy[:, -STRIP:]


@pytest.mark.parametrize("how", [restore_film, lambda *given: restore_reel(*given, run=RunSettings(length=5))])
def test_both_pictures_of_each_frame_in_step_and_the_sound(small_film, tmp_path, how):
    review = tmp_path / "look.mp4"
    how(small_film, tmp_path / "out.mkv", replace(QUICK, review=review))
    copy, film, made = frames_of(review), frames_of(small_film), frames_of(tmp_path / "out.mkv")
    assert copy.shape == (2 * CUT, HEIGHT + STRIP, 2 * WIDTH + LINE, 3)
    before, after, strip = halves(copy)
    # What is shown is small and lossy: the pictures in mean, the repaired spots clearly.
    assert np.abs(before.astype(int) - film).mean() < 6 and np.abs(after.astype(int) - made).mean() < 6
    spots = np.abs(film.astype(int) - made).max(axis=3) > 80
    assert spots.sum() > 200
    assert np.abs(before.astype(int) - after)[spots].mean() > 60
    assert np.abs(before[CUT].astype(int) - film[CUT]).mean() < np.abs(before[CUT].astype(int) - film[CUT - 1]).mean()
    assert copy[:, :, WIDTH : WIDTH + LINE].mean() > 200, "the line between"
    assert strip.max() > 180 and (strip[3] != strip[4]).any(), "the number below"
    assert packets_of(review, "audio") != []
    with open_film(review) as shown, open_film(small_film) as original:
        assert shown.info.codec == "h264" and shown.info.frame_rate == original.info.frame_rate
        assert shown.info.has_audio


def test_a_copy_holds_few_frames_while_it_is_written(monkeypatch, tmp_path):
    """What an encoder looks ahead at is held in full size: with PAL most of what a reel takes."""

    def held(settings):
        chosen = plan_encoding(tmp_path / "look.mp4", info, settings)
        encoder = av.CodecContext.create(chosen.encoder, "w")
        encoder.width, encoder.height, encoder.pix_fmt = info.width, info.height, chosen.pix_fmt
        encoder.time_base, encoder.thread_count, encoder.options = Fraction(1, 24), 1, chosen.options
        for count in range(100):
            frame = av.VideoFrame(info.width, info.height, chosen.pix_fmt)
            frame.pts = count
            if encoder.encode(frame):
                return count
        raise AssertionError("no packet came")

    info, chosen = FilmInfo.of_frames(96, 80, 24), []
    monkeypatch.setattr(
        "vldm_core.reel.delivery.review.open_writer",
        lambda *given, settings, **named: chosen.append(settings) or open_writer(*given, settings=settings, **named),
    )
    with ReviewWriter(tmp_path / "look.mp4", info, source=None) as copy:
        copy.write(*[FilmFrame(index=0, image=np.zeros((80, 96, 3), np.uint8))] * 2)
    assert held(chosen[0]) < 0.5 * held(replace(chosen[0], quick=False))


def test_large_and_turned_films_are_shown_small_and_upright(tmp_path):
    info = replace(
        FilmInfo.of_frames(1400, 1001, 24, bit_depth=16), sample_aspect_ratio=Fraction(2), rotation=90
    )  # fmt: skip
    image = np.zeros((1001, 1400, 3), np.uint16)
    image[:, :700] = 60000
    with ReviewWriter(tmp_path / "look.mp4", info, source=None) as copy:
        copy.write(FilmFrame(index=7, image=image), torch.from_numpy(image / 65535).permute(2, 0, 1))
    before, after, _ = halves(frames_of(tmp_path / "look.mp4"))
    assert before.shape == (1, 1790, 640, 3)
    # Turned by 90 degrees to the left, what was on the left is below.
    for half in (before, after):
        assert half[0, -800:].mean() > 200 and half[0, :800].mean() < 30


def test_what_cannot_be_is_told_before_the_work(small_film, tmp_path):
    def work(*_):
        raise AssertionError("frames were read")

    taken = tmp_path / "look.mp4"
    taken.write_bytes(b"mine")
    for path, match in ((taken, "exists already"), (tmp_path / "look.avi", "a review copy ends in")):
        with pytest.raises(FilmFileError, match=match):
            restore_reel(small_film, tmp_path / "out.mkv", replace(QUICK, review=path), work)


def test_an_interrupt_leaves_no_half_copy(small_film, tmp_path):
    def interrupt(phase, done, *_):
        if phase == "write" and done == 5:
            raise KeyboardInterrupt

    settings = replace(QUICK, review=tmp_path / "look.mp4")
    with pytest.raises(KeyboardInterrupt):
        restore_reel(small_film, tmp_path / "out.mkv", settings, interrupt)
    assert not (tmp_path / "look.mp4").exists()
    restore_reel(small_film, tmp_path / "out.mkv", settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.mp4", "out.mkv"]

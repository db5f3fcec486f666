"""A VIDEO that was trimmed, cropped or joined in the graph is streamed; fakes have the newer hosts' methods."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import Input, InputImpl
from pack.nodes.host import video as host_video
from pack.nodes.reel.restore_reel import RestoreReel
from pack.vldm_core.errors import FilmFileError
from pack.vldm_core.reel.restore import restore_film
from pack.vldm_core.video.reading.edited import EditedFilm
from pack.vldm_core.video.reading.reader import open_film

RATE, COUNT = 24, 40
SAMPLE_RATE = 48000
# Samples of sound that belong to a frame.
BLOCK = SAMPLE_RATE // RATE


def silent(*report):
    """Take progress and say nothing."""


def write_film(path, *, size=(64, 48), rotation=0, sound=True, seed=0):
    """Write a lossless film of noise with a tone."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("ffv1" if path.suffix == ".mkv" else "libx264", rate=RATE, options={"crf": "0"})
        pictures.width, pictures.height = size
        pictures.pix_fmt = "yuv444p"
        if rotation:
            pictures.set_display_rotation(rotation)
        tone = file.add_stream("flac", rate=SAMPLE_RATE, layout="mono") if sound else None
        for number in range(COUNT):
            picture = rng.integers(40, 200, (size[1], size[0], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(pictures.encode(frame))
            if tone is not None:
                wave = (6000 * np.sin(np.arange(number * BLOCK, (number + 1) * BLOCK) * 0.05)).astype(np.int16)
                block = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
                block.sample_rate, block.pts = SAMPLE_RATE, number * BLOCK
                file.mux(tone.encode(block))
        for stream in file.streams:
            file.mux(stream.encode(None))
    return str(path)


class Newer(InputImpl.VideoFromFile):
    """A VIDEO as newer hosts have it."""

    def __init__(self, file, start=0.0, duration=0.0, edits=(), crop=None):
        super().__init__(file)
        self._window = start, duration
        self._pending = list(edits)
        self.__crop = crop

    def get_active_trim_window(self):
        return self._window

    def has_pending_frame_edits(self):
        return bool(self._pending) or self.__crop is not None

    def get_components(self):
        raise AssertionError("the whole VIDEO was unpacked into memory")


class Joined(Input.Video):
    """A VIDEO as Concatenate Video of newer hosts makes it."""

    def __init__(self, videos, complete_audio=None):
        self.videos, self.complete_audio = videos, complete_audio

    def get_components(self):
        raise AssertionError("the whole VIDEO was unpacked into memory")

    save_to = get_components


def read(video):
    """Return the frames that the core gets for a VIDEO."""
    with host_video.film_source(video, silent) as source, open_film(source) as reader:
        return [frame.image for frame in reader]


def frames_of(path):
    with open_film(path) as reader:
        return [frame.image for frame in reader]


def assert_frames(found, wanted):
    assert len(found) == len(wanted)
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A film with sound."""
    return write_film(tmp_path_factory.mktemp("films") / "a.mkv")


@pytest.fixture(scope="module")
def every(plain):
    """Its frames."""
    return frames_of(plain)


@pytest.mark.parametrize("kind", [InputImpl.VideoFromFile, Newer])
def test_a_file_without_edits_is_read_itself(plain, kind):
    with host_video.film_source(kind(plain), None) as source:
        assert source == plain


@pytest.mark.parametrize(("trim", "frames"), [((0.5, 0.75), slice(12, 30)), ((1.0,), slice(24, None))])
def test_trimmed(plain, every, trim, frames):
    assert_frames(read(Newer(plain, *trim)), every[frames])


@pytest.mark.parametrize("edits", [{"crop": (9, 5, 31, 20)}, {"edits": [("crop_aligned", 9, 5, 31, 20)]}])
def test_cropped_as_both_kinds_of_newer_hosts_keep_it(plain, every, edits):
    assert_frames(read(Newer(plain, **edits)), [image[4:24, 8:38] for image in every])


def test_cropped_twice_and_trimmed_with_a_crop_larger_than_the_picture(plain, every):
    twice = Newer(plain, edits=[("crop", 3, 5, 41, 33), ("crop", 1, 2, 10, 11)])
    assert_frames(read(twice), [image[7:18, 4:14] for image in every])
    assert_frames(read(Newer(plain, 0.25, 0.25, crop=(0, 0, 500, 500))), every[6:12])


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_the_host_crops_the_picture_as_it_is_shown_and_the_core_as_it_is_stored(tmp_path, turn):
    path = write_film(tmp_path / "turned.mp4", rotation=turn)
    stored = frames_of(path)
    with open_film(path) as reader:
        quarters = round(reader.info.rotation / 90) % 4
    cut = read(Newer(path, crop=(10, 4, 20, 16)))
    shown = [np.rot90(image, quarters)[4:20, 10:30] for image in stored]
    assert_frames([np.rot90(image, quarters) for image in cut], shown)


@pytest.fixture(scope="module")
def silent_film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("films") / "b.mkv", sound=False, seed=3)


def test_joined(plain, silent_film, every):
    joined = Joined([Newer(plain, 0.5, 0.5), Joined([Newer(silent_film)])])
    assert_frames(read(joined), every[12:24] + frames_of(silent_film))


@pytest.mark.parametrize("channels", [1, 2], ids=["sound of its parts", "sound of its own"])
def test_a_joined_video_is_restored_without_being_stored(plain, silent_film, tmp_path, channels):
    parts = [Newer(plain, 0.5, 0.5), Newer(silent_film)]
    own = None if channels == 1 else {"waveform": torch.rand(1, channels, 44100), "sample_rate": 44100}
    with host_video.film_source(Joined(parts, own), None) as source:
        assert isinstance(source, EditedFilm)
        restore_film(source, tmp_path / "joined.mkv", progress=silent)
    with av.open(str(tmp_path / "joined.mkv")) as made:
        assert made.streams.audio[0].layout.nb_channels == channels
        assert sum(1 for _ in made.decode(video=0)) == 12 + COUNT
    assert not list(Path(folder_paths.get_temp_directory()).iterdir())


@pytest.fixture
def resized_class(every):
    """A VIDEO with an edit that only the host can apply; it notes how many frames it is asked for."""

    class Resized(Newer):
        asked: ClassVar[list[int]] = []

        def get_frame_rate(self):
            return Fraction(RATE)

        def get_frame_count(self):
            return COUNT

        def as_trimmed(self, start=None, duration=None, strict_duration=False):
            assert not strict_duration
            numbers = [n for n in range(COUNT) if start <= n / RATE < start + duration]
            if not numbers:
                return None
            self.asked.append(len(numbers))
            images = torch.stack([torch.from_numpy(every[n][::2, ::2].copy()) for n in numbers]).float() / 255
            # The host cuts the sound at whole samples.
            audio = {"waveform": torch.zeros(1, 1, int(duration * SAMPLE_RATE) - 1), "sample_rate": SAMPLE_RATE}
            components = type("Components", (), {"images": images, "audio": audio})
            return type("Piece", (), {"get_components": lambda self: components})()

    return Resized


def test_an_edit_that_only_the_host_can_apply_is_asked_for_in_pieces_and_told(plain, every, resized_class, caplog):
    resized = resized_class(plain, edits=[("scale", 32, 24, "area", "disabled")])
    with caplog.at_level(logging.INFO, logger="pack"):
        assert_frames(read(resized), [image[::2, ::2] for image in every])
    assert max(resized.asked) <= 16 and sum(resized.asked) == COUNT
    assert any("cannot be streamed" in record.getMessage() for record in caplog.records)
    with host_video.film_source(resized, silent) as source, av.open(source) as made:
        assert sum(frame.samples for frame in made.decode(audio=0)) == COUNT * BLOCK


def test_an_edit_that_cannot_be_told_is_one_that_only_the_host_can_apply(plain, every, resized_class, monkeypatch):
    monkeypatch.setattr(resized_class, "has_pending_frame_edits", lambda self: True)
    assert_frames(read(resized_class(plain)), [image[::2, ::2] for image in every])


def test_pictures_in_memory_are_stored_as_they_are():
    components = type("Components", (), {"images": torch.rand(3, 6, 8, 3), "audio": None, "frame_rate": Fraction(24)})
    assert len(read(InputImpl.VideoFromComponents(components))) == 3


def not_a_film(path):
    path.write_bytes(b"this is a text and no film " * 50)


def cut_short(path):
    whole = Path(write_film(path.with_name("whole.mp4")))
    path.write_bytes(whole.read_bytes()[:4000])


@pytest.mark.parametrize(("name", "make"), [("bad.mkv", not_a_film), ("cut.mp4", cut_short)])
def test_a_bad_film_gets_the_message_of_the_command_line(tmp_path, name, make):
    path = tmp_path / name
    make(path)
    with pytest.raises(FilmFileError) as headless:
        restore_film(path, tmp_path / "never.mkv")
    with pytest.raises(FilmFileError) as in_the_node:
        RestoreReel.execute(InputImpl.VideoFromFile(str(path)))
    assert str(headless.value) == str(in_the_node.value)

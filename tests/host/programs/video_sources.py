"""A VIDEO that was trimmed, cropped or joined in the graph is streamed; fakes have the newer hosts' methods."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from in_host import *

import folder_paths
from comfy_api.latest import Input, InputImpl
from pack.nodes.host import video as host_video
from pack.nodes.reel.restore_reel import RestoreReel
from pack.vldm_core.errors import FilmFileError
from pack.vldm_core.reel.restore import restore_film
from pack.vldm_core.video.reading.edited import EditedFilm
from pack.vldm_core.video.reading.reader import open_film

FOLDER = Path(ARGUMENTS[0])
folder_paths.set_temp_directory(str(FOLDER / "temp"))
folder_paths.set_output_directory(str(FOLDER / "output"))
RATE, COUNT = 24, 40


def film(name, *, size=(64, 48), rotation=0, sound=True, seed=0):
    """A lossless film of noise with a tone."""
    rng = np.random.default_rng(seed)
    with av.open(str(FOLDER / name), "w") as file:
        pictures = file.add_stream("ffv1" if name.endswith(".mkv") else "libx264", rate=RATE, options={"crf": "0"})
        pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv444p"
        if rotation:
            pictures.set_display_rotation(rotation)
        tone = file.add_stream("flac", rate=48000, layout="mono") if sound else None
        for number in range(COUNT):
            picture = rng.integers(40, 200, (size[1], size[0], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(pictures.encode(frame))
            if sound:
                wave = (6000 * np.sin(np.arange(number * 2000, number * 2000 + 2000) * 0.05)).astype(np.int16)
                block = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
                block.sample_rate, block.pts = 48000, number * 2000
                file.mux(tone.encode(block))
        for stream in file.streams:
            file.mux(stream.encode(None))
    return str(FOLDER / name)


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
    """The frames that the core gets for a VIDEO."""
    with host_video.film_source(video, lambda *report: None) as source, open_film(source) as reader:
        return [frame.image for frame in reader]


def same(first, second):
    assert len(first) == len(second), (len(first), len(second))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


plain = film("a.mkv")
every = [frame.image for frame in open_film(plain)]
with host_video.film_source(InputImpl.VideoFromFile(plain), None) as source:
    assert source == plain
with host_video.film_source(Newer(plain), None) as source:
    assert source == plain

# Trimmed, and cropped as both kinds of newer hosts keep it.
same(read(Newer(plain, 0.5, 0.75)), every[12:30])
same(read(Newer(plain, 1.0)), every[24:])
for video in (Newer(plain, crop=(9, 5, 31, 20)), Newer(plain, edits=[("crop_aligned", 9, 5, 31, 20)])):
    same(read(video), [image[4:24, 8:38] for image in every])
same(read(Newer(plain, edits=[("crop", 3, 5, 41, 33), ("crop", 1, 2, 10, 11)])), [i[7:18, 4:14] for i in every])
same(read(Newer(plain, 0.25, 0.25, crop=(0, 0, 500, 500))), every[6:12])

# The host crops the picture as it is shown, the core as it is stored.
for turn in (90, 180, 270):
    path = film(f"turned{turn}.mp4", rotation=turn)
    stored = [frame.image for frame in open_film(path)]
    quarters = round(open_film(path).info.rotation / 90) % 4
    cut = read(Newer(path, crop=(10, 4, 20, 16)))
    same([np.rot90(i, quarters) for i in cut], [np.rot90(i, quarters)[4:20, 10:30] for i in stored])

# Joined; with its parts' sound, and with sound of its own.
other = film("b.mkv", sound=False, seed=3)
others = [frame.image for frame in open_film(other)]
parts = [Newer(plain, 0.5, 0.5), Joined([Newer(other)])]
same(read(Joined(parts)), every[12:24] + others)
audio = {"waveform": torch.rand(1, 2, 44100), "sample_rate": 44100}
for joined, channels in ((Joined(parts), 1), (Joined(parts, audio), 2)):
    with host_video.film_source(joined, None) as source:
        assert isinstance(source, EditedFilm)
        restore_film(source, FOLDER / f"joined{channels}.mkv", progress=lambda *report: None)
    with av.open(str(FOLDER / f"joined{channels}.mkv")) as made:
        assert made.streams.audio[0].layout.nb_channels == channels
        assert sum(1 for _ in made.decode(video=0)) == 12 + COUNT
assert not list((FOLDER / "temp").iterdir()), "something stayed in the temp folder"


# Only the host can resize: it is asked for a few frames at a time, and it is said.
class Resized(Newer):
    asked = []

    def get_frame_rate(self):
        return Fraction(RATE)

    def get_frame_count(self):
        return COUNT

    def as_trimmed(self, start=None, duration=None, strict_duration=False):
        assert not strict_duration
        numbers = [n for n in range(COUNT) if start <= n / RATE < start + duration]
        if not numbers:
            return None
        type(self).asked.append(len(numbers))
        images = torch.stack([torch.from_numpy(every[n][::2, ::2].copy()) for n in numbers]).float() / 255
        # The host cuts the sound at whole samples.
        waveform = torch.zeros(1, 1, int(duration * 48000) - 1)
        components = type("Components", (), {"images": images, "audio": {"waveform": waveform, "sample_rate": 48000}})
        return type("Piece", (), {"get_components": lambda self: components})()


said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("pack.nodes.host.video").addHandler(handler)
resized = Resized(plain, edits=[("scale", 32, 24, "area", "disabled")])
same(read(resized), [image[::2, ::2] for image in every])
assert max(Resized.asked) <= 16 and sum(Resized.asked) == COUNT, Resized.asked
assert any("cannot be streamed" in text for text in said), said
with host_video.film_source(resized, lambda *report: None) as source, av.open(source) as made:
    samples = sum(frame.samples for frame in made.decode(audio=0))
    assert samples == COUNT * 2000, samples


# An edit that cannot be told is one that only the host can apply.
class Unknown(Resized):
    def has_pending_frame_edits(self):
        return True


same(read(Unknown(plain)), [image[::2, ::2] for image in every])

# Pictures in memory are stored as they are.
components = type("Components", (), {"images": torch.rand(3, 6, 8, 3), "audio": None, "frame_rate": Fraction(24)})
assert len(read(InputImpl.VideoFromComponents(components))) == 3

# A bad film gets the message of the command line.
bad = FOLDER / "bad.mkv"
bad.write_bytes(b"this is a text and no film " * 50)
truth = FOLDER / "cut.mp4"
truth.write_bytes(Path(film("whole.mp4")).read_bytes()[:4000])
for path in (bad, truth):
    messages = []
    for attempt in (
        lambda path=path: restore_film(path, FOLDER / "never.mkv"),
        lambda path=path: RestoreReel.execute(
            InputImpl.VideoFromFile(str(path)), True, True, True, False, "h264", 16, "temp", "video/restored"
        ),
    ):
        try:
            attempt()
        except FilmFileError as error:
            messages.append(str(error))
    assert len(messages) == 2 and messages[0] == messages[1], messages

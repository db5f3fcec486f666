"""A clip and a film get the same table every time; models see key frames only, repaired, and memory stays bounded."""

import json
import weakref

import av
import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.reel.describe import describe_film
from vldm_core.reel.restore import ReelSettings
from vldm_core.semantics.describe import (
    DescribeSettings,
    SeenFrame,
    ShotDescriber,
    describe_shots,
    describe_stream,
)
from vldm_core.semantics.key_frames import KeyFrameSettings
from vldm_core.semantics.picture_store import PictureStore
from vldm_core.semantics.recognition.features import CHUNK
from vldm_core.semantics.table.description import UNKNOWN
from vldm_core.semantics.table.table_files import read_table
from vldm_core.video.reading.reader import open_film
from vldm_core.video.shots import Shot

from ..reel.conftest import CUT, damaged_frame, write_film
from ..testers import interrupt_comes_out
from .space import WordSpace
from .tiny_models import save_blip, save_clip

# What finds the scratch of the film; dirt takes longer.
QUICK = ReelSettings(dirt=None)
SHOTS = (Shot(0, CUT), Shot(CUT, 2 * CUT))
WORDS = ("a street", "a tram", "the sea")
runner = CliRunner()


class CountingCaptioner:
    """Says how bright a picture is, and counts what it sees."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, frames):
        self.seen += list(frames)
        return [f"a blurry photo of brightness {float(frame.mean()):.4f}" for frame in frames]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", 2 * CUT, audio=False)


@pytest.fixture(scope="module")
def frames(film):
    with open_film(film) as reader:
        return torch.stack([frame.tensor() for frame in reader])


def test_without_any_model_there_are_key_frames(frames):
    table = describe_shots(frames, SHOTS, settings=DescribeSettings(template="PASD"))
    assert table.shots == SHOTS
    for row in table:
        assert 1 <= len(row.key_frames) <= 4
        assert row.caption == "" and row.tags == () and row.era == row.medium == row.sound == UNKNOWN
        assert (row.colour, row.colour_confidence) == ("monochrome", 1.0)
        assert row.prompt == "clean, high-resolution, 8k"


def test_a_film_gives_the_table_of_its_frames_every_time(film, frames):
    captioner = CountingCaptioner()
    describer = ShotDescriber(captioner=captioner)
    table = describe_film(film, describer)
    assert table == describe_film(film, describer)
    assert table == describe_shots(frames, SHOTS, captioner=captioner)
    assert all(row.caption.startswith("a blurry photo") and row.prompt.startswith("brightness") for row in table)
    assert all(row.negative == "blurry" for row in table)


def test_repaired_key_frames_are_described(film):
    """The scratch of the film is not in the pictures that the captioner sees."""
    seen = {}
    for name, repair in (("raw", None), ("repaired", QUICK)):
        captioner = CountingCaptioner()
        table = describe_film(film, ShotDescriber(captioner=captioner), repair=repair)
        assert table.shots == SHOTS and len(captioner.seen) == sum(len(row.key_frames) for row in table)
        pictures = zip(captioner.seen, (key for row in table for key in row.key_frames), strict=True)
        errors = []
        for picture, key in pictures:
            clean = torch.from_numpy(damaged_frame(key, damaged=False)[0]).permute(2, 0, 1) / 255
            scratch = torch.from_numpy(damaged_frame(key)[2])
            errors.append(float((picture - clean)[:, scratch].abs().mean()))
        seen[name] = sum(errors) / len(errors)
    assert seen["repaired"] < 0.5 * seen["raw"]
    assert describe_film(film, ShotDescriber(captioner=CountingCaptioner()), repair=QUICK) == table


def all_alike(pictures):
    """An encoder that tells no frame from another, so damage alone decides."""
    return torch.ones(len(pictures), 4)


def test_key_frames_avoid_planted_damage(frames):
    """Blotches on the frames that would be chosen, and on their neighbours."""
    plain = describe_shots(frames, SHOTS, encoder=all_alike)
    masks, damaged = torch.zeros(len(frames), *frames.shape[-2:]), frames.clone()
    planted = {key + step for row in plain for key in row.key_frames for step in (-1, 0, 1)}
    for index in planted:
        blotch = np.zeros(frames.shape[-2:], np.uint8)
        cv2.circle(blotch, (40 + 3 * (index % 7), 60), 45, 1, -1)
        masks[index] = torch.from_numpy(blotch)
        damaged[index] = torch.where(masks[index] > 0, 0.95, damaged[index])
    for encoder in (all_alike, None):
        table = describe_shots(damaged, SHOTS, encoder=encoder, masks=masks)
        assert all(row.key_frames for row in table)
        assert not planted & {key for row in table for key in row.key_frames}
    assert describe_shots(damaged, SHOTS, encoder=all_alike) == plain


def test_detection_keeps_key_frames_away_from_damage(tmp_path):
    """The same with a film file and the damage that the stages of the repair find."""
    path, middle = tmp_path / "spoilt.mkv", 6
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "bgr0"
        for index in range(CUT):
            picture = damaged_frame(0, damaged=False)[0].copy()
            for x in range(20, 140, 24) if index == middle else ():
                cv2.circle(picture, (x, 30 + x % 60), 4, (250, 250, 250), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    describer, shots = ShotDescriber(encoder=all_alike), (Shot(0, CUT),)
    assert describe_film(path, describer, shots=shots)[0].key_frames == (middle,)
    assert describe_film(path, describer, shots=shots, repair=ReelSettings())[0].key_frames == (middle + 1,)


def test_tags_and_eras_come_from_clip(frames):
    space = WordSpace(WORDS)

    def encoder(pictures):
        rows = torch.zeros(len(pictures), len(WORDS) + 1)
        rows[:, 1] = 1
        return rows

    table = describe_shots(frames, SHOTS, encoder=encoder, text_encoder=space, settings=DescribeSettings(words=WORDS))
    assert [row.tags for row in table] == [("tram",), ("tram",)]
    assert [row.prompt for row in table] == ["tram", "tram"]


def test_a_long_shot_is_captioned_at_its_key_frames_and_fits_in_memory():
    count, most = 1000, KeyFrameSettings().samples
    alive = most_alive = made = 0
    watched: list[weakref.ref] = []
    encoded: list[int] = []

    def gone(_):
        nonlocal alive
        alive -= 1

    def stream():
        nonlocal alive, most_alive, made
        generator = torch.Generator().manual_seed(0)
        base = torch.rand(3, 36, 48, generator=generator)
        for index in range(count):
            frame = (base.roll(index // 10, -1) + 0.02 * torch.rand(base.shape, generator=generator)).clamp(0, 1)
            watched.append(weakref.ref(frame, gone))
            alive, made = alive + 1, made + 1
            most_alive = max(most_alive, alive)
            yield SeenFrame(image=frame)

    def encoder(pictures):
        encoded.append(len(pictures))
        return pictures[:, :, ::6, ::6].flatten(1)

    captioner = CountingCaptioner()
    describer = ShotDescriber(encoder=encoder, captioner=captioner)
    table = describe_stream(stream(), (Shot(0, count),), describer)
    assert made == count
    assert 1 <= len(captioner.seen) == len(table[0].key_frames) <= 4
    assert sum(encoded) == most and max(encoded) == CHUNK
    assert most_alive <= CHUNK + 3


def test_what_does_not_fit_is_refused(frames, film):
    with pytest.raises(SettingsError, match="give both or none"):
        describe_shots(frames, SHOTS, text_encoder=WordSpace(WORDS))
    with pytest.raises(SettingsError, match="masks are"):
        describe_shots(frames, SHOTS, masks=torch.zeros(3, 120, 160))
    with pytest.raises(SettingsError, match="cover 14 frames but there are 28"):
        describe_shots(frames, SHOTS[:1])
    with pytest.raises(SettingsError, match="template 'x'"):
        DescribeSettings(template="x")
    with pytest.raises(VLDMError, match="one text each"):
        describe_shots(frames, SHOTS, captioner=lambda pictures: [])
    for repair in (None, QUICK):
        with pytest.raises(SettingsError, match=r"film.mkv has more"):
            describe_film(film, shots=SHOTS[:1], repair=repair)
        with pytest.raises(SettingsError, match="ended in frame 28, though the shots go on to 39"):
            describe_film(film, shots=(SHOTS[0], Shot(CUT, 40)), repair=repair)


def test_it_can_be_interrupted(film):
    interrupt_comes_out(lambda progress: describe_film(film, progress=progress), at=5, phase="describe")


def test_progress_counts_every_frame_once(film):
    seen = []
    describe_film(film, progress=lambda phase, done, total, preview=None: seen.append((phase, done, total)))
    done = [entry[1] for entry in seen if entry[0] == "describe"]
    assert done == sorted(done) and done[-1] == 2 * CUT
    assert {entry[0] for entry in seen} == {"find shots", "describe"}


def test_pictures_wait_on_the_disk():
    frames = torch.rand(3, 3, 600, 700, generator=torch.Generator().manual_seed(1))
    small = (frames[:, :, :30, :40] * 255).round() / 255
    with PictureStore() as store:
        for frame in small:
            store.add(frame)
        assert torch.allclose(store.take((2, 0)), small[[2, 0]]) and store.take(()).shape == (0, 3, 30, 40)
    with PictureStore() as store:
        store.add(frames[0])
        assert store.take((0,)).shape == (1, 3, 512, 597)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return save_clip(root / "clip"), save_blip(root / "blip")


def test_the_command_line_describes_a_film(film, models, tmp_path):
    clip, blip = models
    out = tmp_path / "table.csv"
    command = ["describe", str(film), "--json", "--no-repair", "--out", str(out), "--template", "SeeSR"]
    command += ["--clip", str(clip), "--captioner", str(blip), "--key-frames", "2", "--device", "cpu"]
    (tmp_path / "words.txt").write_text("a tram\na dog\n")
    result = runner.invoke(app, [*command, "--words", str(tmp_path / "words.txt"), "--confidence", "0"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["frames"] == 2 * CUT and [row["last"] for row in told["shots"]] == [CUT - 1, 2 * CUT - 1]
    assert all(row["caption"] and 1 <= len(row["key_frames"]) <= 2 for row in told["shots"])
    assert all(row["era_confidence"] > 0 and row["prompt"].endswith("8k") for row in told["shots"])
    assert read_table(out).to_json() == result.stdout


def test_the_command_line_repairs_and_prints_text(tmp_path):
    film = write_film(tmp_path / "film.mkv", 7, audio=False)
    result = runner.invoke(app, ["describe", str(film)])
    assert result.exit_code == 0, result.output
    assert "0 – 6  key frames" in result.stdout and "colour: monochrome (100%)" in result.stdout


def test_the_command_line_tells_what_is_wrong(film, models, tmp_path):
    for options, message in (
        (["--out", str(tmp_path / "table.xlsx")], "ends in .json or .csv"),
        (["--out", str(tmp_path / "nowhere" / "table.csv")], "there is no folder"),
        (["--clip", str(models[1])], "not CLIPModel"),
        (["--captioner", str(models[0])], "not a captioner"),
        (["--words", "words.txt"], "give --clip"),
        (["--template", "x"], "no prompt template"),
    ):
        result = runner.invoke(app, ["describe", str(film), "--no-repair", *options])
        assert result.exit_code == 1 and message in " ".join(result.stderr.split()), result.output

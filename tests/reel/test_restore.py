"""A reel is restored as a stream: same frames in and out, nothing lost, memory that does not grow."""

import gc
import weakref
from dataclasses import replace

import av
import numpy as np
import pytest

from vldm_core.errors import FilmFileError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.prerestore.network import KIND
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.reel import masks
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.stages import batch as pipeline
from vldm_core.video.info import FilmFrame
from vldm_core.video.reading.reader import open_film

from ..prerestore.test_network import trained
from .conftest import CUT, HEIGHT, SCRATCH_X, WIDTH, damaged_frame, write_film

LOCAL = ReelSettings(flicker=None, average=None)
"""Only what leaves every undamaged pixel as it was."""


def frames_of(path):
    with open_film(path) as film:
        return np.stack([frame.image for frame in film])


def packets_of(path, kind):
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


@pytest.fixture(scope="module")
def restored(small_film, tmp_path_factory):
    path = tmp_path_factory.mktemp("restored") / "out.mkv"
    report = restore_film(small_film, path, LOCAL)
    return path, report


def test_frames_times_and_audio_are_kept(small_film, restored):
    path, report = restored
    assert report.frames == 2 * CUT
    assert [float(t) for t, _ in packets_of(path, "video")] == [float(t) for t, _ in packets_of(small_film, "video")]
    assert packets_of(path, "audio") == packets_of(small_film, "audio")
    with open_film(path) as film:
        assert (film.info.frame_rate.numerator, film.info.frame_rate.denominator) == (24000, 1001)


def test_shots_are_found(restored):
    assert [(shot.first, shot.last) for shot in restored[1].shots] == [(0, CUT), (CUT, 2 * CUT)]


def test_damage_shrinks_and_the_rest_stays(small_film, restored):
    before, after = frames_of(small_film).astype(int), frames_of(restored[0]).astype(int)
    with_dirt = [damaged_frame(i) for i in range(2 * CUT)]
    dirt = np.stack([d for _, d, _ in with_dirt])
    changed = (before != after).any(-1)
    # Frames away from the shot's ends have both neighbours.
    inner = [i for i in range(2 * CUT) if i % CUT not in (0, CUT - 1)]
    repaired = changed[inner][dirt[inner]].mean()
    assert repaired > 0.8
    assert changed.mean() < 0.12


def test_the_scratch_loses_its_depth(small_film, restored):
    clean = np.stack([damaged_frame(i, damaged=False)[0] for i in range(2 * CUT)])[..., 0].astype(float)

    def depth(path):
        return (clean - frames_of(path)[..., 0])[:, :, SCRATCH_X : SCRATCH_X + 2].mean()

    assert depth(small_film) > 12
    assert abs(depth(restored[0])) < 0.25 * depth(small_film)


def test_result_does_not_depend_on_the_window_size(small_film, restored, tmp_path, monkeypatch):
    monkeypatch.setattr("vldm_core.stages.stage.window_size", lambda height, width: 5)
    path = tmp_path / "other.mkv"
    restore_film(small_film, path, LOCAL)
    assert (frames_of(path) == frames_of(restored[0])).all()


def test_the_batch_functions_give_the_same_pictures(small_film, restored):
    import torch

    with open_film(small_film) as film:
        batch = torch.stack([frame.tensor() for frame in film])
    shots = pipeline.detect_shots_in(batch)
    assert shots == restored[1].shots
    found = pipeline.detect_damage(batch, shots=shots, dirt=DirtSettings(), lines=ScratchSettings())
    result = pipeline.repair_damage(batch, dirt=found.dirt, scratch=found.scratch, shots=shots)
    whole, marked = pipeline.restore_frames(batch, LOCAL, shots=shots)
    assert torch.equal(marked.dirt, found.dirt) and torch.equal(marked.scratch, found.scratch)
    assert ((whole * 255).round().byte().permute(0, 2, 3, 1).numpy() == frames_of(restored[0])).all()
    # Repaired by itself, a shot's motion is measured on frames whose holes are known: fills differ a little.
    elsewhere = torch.maximum(found.dirt, found.scratch) < 0.5
    assert torch.equal((result - whole).abs().amax(1)[elsewhere], torch.zeros(int(elsewhere.sum())))
    assert float((result - whole).abs().mean(1)[~elsewhere].mean()) < 2 / 255


def test_detect_writes_grey_films_of_the_same_length(small_film, tmp_path):
    masks.detect_film(small_film, tmp_path / "masks")
    for name in ("dirt", "scratch"):
        path = tmp_path / "masks" / f"{name}.mkv"
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", "gray")
            assert (stream.width, stream.height) == (WIDTH, HEIGHT)
            found = np.stack([frame.to_ndarray() for frame in container.decode(stream)])
        assert len(found) == 2 * CUT
        assert set(np.unique(found)) <= {0, 255}
    scratch = found
    assert (scratch[:, :, SCRATCH_X] == 255).mean() > 0.8


def test_simulate_writes_the_film_and_its_masks(small_film, tmp_path):
    from vldm_core.ageing import SimulationSettings

    results = []
    for run in ("a", "b"):
        out = tmp_path / run
        out.mkdir()
        count = masks.simulate_film(
            small_film, out / "aged.mkv", settings=SimulationSettings.preset("worn"), seed=5, masks=out / "masks"
        )
        assert count == 2 * CUT
        assert {path.name for path in (out / "masks").iterdir()} == {
            f"{name}.mkv"
            for name in ("dirt", "hair", "scratch", "tears", "blotches", "stains", "splices", "cues", "cinches")
        }
        results.append(frames_of(out / "aged.mkv"))
    assert (results[0] == results[1]).all()
    assert (results[0] != frames_of(small_film)).mean() > 0.5


def test_simulate_writes_the_clean_frames_that_the_aged_ones_show(small_film, tmp_path):
    from vldm_core.ageing import CadenceModel, SimulationSettings

    settings = replace(SimulationSettings().only(), cadence=CadenceModel(duplicates=0.4))
    aged, clean = tmp_path / "aged.mkv", tmp_path / "clean.mkv"
    assert masks.simulate_film(small_film, aged, settings=settings, seed=5, clean=clean) == 2 * CUT
    assert (frames_of(aged) == frames_of(clean)).all()
    assert (frames_of(clean) != frames_of(small_film)).any()


def test_interrupt_leaves_no_file(small_film, tmp_path):
    class StopWork(Exception):  # noqa: N818 - stands for an interrupt
        pass

    def progress(phase, done, total, preview=None):
        if phase == "restore" and done >= 20:
            raise StopWork

    from dataclasses import replace

    with pytest.raises(StopWork):
        restore_film(small_film, tmp_path / "out.mkv", replace(LOCAL, keep_partial=False), progress)
    assert list(tmp_path.iterdir()) == []


def test_a_kept_partial_result_holds_the_finished_frames(small_film, tmp_path):
    class StopWork(Exception):  # noqa: N818 - stands for an interrupt
        pass

    def progress(phase, done, total, preview=None):
        if phase == "restore" and preview is not None and done >= 20:
            raise StopWork

    with pytest.raises(StopWork):
        restore_film(small_film, tmp_path / "out.mkv", LOCAL, progress)
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.mkv"]
    assert len(frames_of(tmp_path / "out.partial.mkv")) == 20


def test_source_and_destination_must_differ(small_film):
    with pytest.raises(FilmFileError, match="film being read"):
        restore_film(small_film, small_film)


def test_a_bad_source_is_refused_before_any_work(tmp_path):
    (tmp_path / "text.mkv").write_text("no film")
    with pytest.raises(FilmFileError, match=r"text\.mkv"):
        restore_film(tmp_path / "text.mkv", tmp_path / "out.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["text.mkv"]


LONG = 90


@pytest.mark.parametrize("stages", ["repair", "pre-restoration"])
def test_no_more_than_some_windows_of_frames_are_held_and_none_is_left(tmp_path, monkeypatch, stages):
    settings = ReelSettings.of_quality("fast")
    if stages == "pre-restoration":
        weights = tmp_path / "tiny.safetensors"
        KIND.save(trained(), weights)
        how = PreRestoration(weights=weights, device="cpu")
        settings = ReelSettings(dirt=None, lines=None, flicker=None, average=None, prerestore=how)
    film = write_film(tmp_path / "long.mkv", LONG)
    # Small windows, so that many of them are in the film.
    monkeypatch.setattr("vldm_core.stages.stage.window_size", lambda height, width: 4)
    alive, most, made = weakref.WeakSet(), [], FilmFrame.__init__

    def counted(frame, **given):
        made(frame, **given)
        if frame.image.size:
            alive.add(frame)

    monkeypatch.setattr(FilmFrame, "__init__", counted)
    # What waits for the collection of garbage is held as well.
    gc.collect()
    gc.disable()
    try:
        restore_film(film, tmp_path / "out.mkv", settings, lambda *_: most.append(len(alive)))
    finally:
        gc.enable()
    assert max(most) < 0.75 * LONG
    assert not alive

"""Reel Prior in One Step and Restore Reel: a whole reel through a one-step restorer, part by part, resumable."""

from typing import Any

import comfy.model_management as management
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, io
from comfy_execution.graph import DynamicPrompt
from inside.prior.onestep.oracle_models import oracle_model, oracle_vae
from inside.sampling import random
from pack.nodes.host.prior.onestep import reel_prior as host_reel_prior
from pack.nodes.host.prior.onestep.clips import load_one_step
from pack.nodes.prior.onestep.restore_in_one_step import RestoreInOneStep
from pack.nodes.reel.reel_prior_in_one_step import ReelPriorInOneStep
from pack.nodes.reel.restore_reel import RestoreReel
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.video.info import FilmFrame, FilmInfo
from pack.vldm_core.video.reading.reader import open_film
from pack.vldm_core.video.shots import Shot
from pack.vldm_core.video.writing.writer import WriteSettings, open_writer

from ....oracles import load_oracle
from ....prior.onestep.oracle_files import published_files

COUNT, CUT, SIDE = 20, 15, 64
# Of up to twelve frames, of which the first two share four.
PARTS = [(0, 9), (5, 15), (15, 20)]
GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny.safetensors"}},
    "2": {"class_type": "VLDM_LoadOneStepRestorer", "inputs": {"file": "osediff.pkl", "second_file": "none"}},
    "9": {
        "class_type": "VLDM_ReelPriorInOneStep",
        "inputs": {"model": ["1", 0], "vae": ["1", 2], "one_step": ["2", 0]},
    },
}
# The repair does nothing, so that what the prior gets is the film.
NOTHING = {"dirt": False, "average": False, "flicker": False, "scratches": False}
REPAIR = {**NOTHING, "codec": "ffv1", "folder": "output", "quality": "fast"}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots of still pictures."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    scenes = [torch.nn.functional.interpolate(random(1, 3, 16, 16, seed=s), size=(SIDE, SIDE))[0] for s in (1, 2)]
    with open_writer(path, FilmInfo.of_frames(SIDE, SIDE, 24), settings=WriteSettings(codec="ffv1")) as writer:
        for number in range(COUNT):
            scene = ((0.7 if number < CUT else 0.3) + 0.15 * scenes[number >= CUT]).clamp(0, 1)
            picture = (scene * 255).round().byte().permute(1, 2, 0).numpy()
            writer.write(FilmFrame(index=number, image=np.ascontiguousarray(picture)))
    return str(path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What the node takes: MODEL, VAE, CONDITIONING and restorer."""
    oracle = load_oracle("onestep_osediff")
    files = published_files("osediff", oracle, tmp_path_factory.mktemp("files"))
    context = oracle.input("context")[:1]
    return {
        "model": oracle_model(oracle),
        "vae": oracle_vae(oracle),
        "positive": [[context, {}]],
        "one_step": load_one_step(files),
    }


def prior(parts, **changes):
    """Run Reel Prior in One Step as the host does."""
    prompt = DynamicPrompt(GRAPH)
    node = ReelPriorInOneStep.PREPARE_CLASS_CLONE({io.Hidden.unique_id: "9", io.Hidden.dynprompt: prompt})
    inputs = {"invention": 1.0, "seed": 0, "short_side": SIDE, "part": 12, **parts, **changes}
    return node.execute(**inputs).result[0]


def restored(film, chosen, **changes):
    """Run Restore Reel; return the frames."""
    with torch.inference_mode():
        result = RestoreReel.execute(InputImpl.VideoFromFile(film), prior=chosen, **{**REPAIR, **changes}).result
    return frames_of(result[0].get_stream_source())


def frames_of(path):
    with open_film(path) as made:
        return np.stack([frame.image for frame in made])


@pytest.fixture
def made(monkeypatch):
    """Notes which parts are made."""
    noted, real = [], host_reel_prior.restore_clip

    def noting(model, vae, system, frames, settings, **how):
        noted.append((how["first_frame"], how["first_frame"] + len(frames)))
        return real(model, vae, system, frames, settings, **how)

    monkeypatch.setattr(host_reel_prior, "restore_clip", noting)
    return noted


def test_a_reel_is_restored_as_a_clip_is_and_goes_on_after_an_interrupt(film, parts, made, monkeypatch):
    plain = frames_of(film)
    whole = restored(film, prior(parts))
    assert made == PARTS
    with torch.inference_mode():
        clip = RestoreInOneStep.execute(
            images=torch.from_numpy(plain).float() / 255,
            invention=1.0,
            seed=0,
            short_side=SIDE,
            shots=(Shot(0, CUT), Shot(CUT, COUNT)),
            **parts,
        ).result[0]
    wanted = (clip * 255).round().numpy()
    assert np.abs(whole.astype(int) - plain).mean() > 1, "the restorer has done something"
    # Frames of a shot are alike here, so that the colours of a part are those of the shot.
    assert np.abs(whole - wanted).max() <= 1
    made.clear()
    real = host_reel_prior.restore_clip

    def interrupted(*given, **how):
        if len(made) == 2:
            management.interrupt_current_processing()
            management.throw_exception_if_processing_interrupted()
        return real(*given, **how)

    monkeypatch.setattr(host_reel_prior, "restore_clip", interrupted)
    with pytest.raises(management.InterruptProcessingException):
        restored(film, prior(parts))
    monkeypatch.setattr(host_reel_prior, "restore_clip", real)
    made.clear()
    np.testing.assert_array_equal(restored(film, prior(parts)), whole)
    assert made == PARTS[2:], "the first two parts were kept"


def test_what_was_kept_is_taken_by_the_same_restorer_only(film, parts, made):
    first = restored(film, prior(parts), keep_work=True)
    made.clear()
    np.testing.assert_array_equal(restored(film, prior(parts), keep_work=True), first)
    assert not made
    others: list[dict[str, Any]] = [
        {"positive": [[parts["positive"][0][0] + 0.1, {}]]},
        {"encode": "sample"},
        {"one_step": type(parts["one_step"])(system=parts["one_step"].system, about="", files=())},
    ]
    assert len({prior({**parts, **other}).prior.key for other in others} | {prior(parts).prior.key}) == 4


def test_outside_of_the_damage_the_film_stays_where_that_is_asked_for(film, parts, made):
    chosen = prior(parts, keep_outside=True)
    with pytest.raises(SettingsError, match="looks for none"):
        restored(film, chosen)
    assert not made
    # Nothing is damaged here, so that nothing may change.
    np.testing.assert_array_equal(restored(film, chosen, dirt=True), frames_of(film))


def test_what_does_not_go_with_a_reel_is_refused_before_any_work(parts):
    with pytest.raises(SettingsError, match="positive has"):
        prior(parts, positive=[[parts["positive"][0][0].expand(4, -1, -1), {}]])
    assert "part is 11" in ReelPriorInOneStep.validate_inputs(part=11)
    assert "tile is 60" in ReelPriorInOneStep.validate_inputs(tile=60)
    assert ReelPriorInOneStep.validate_inputs(part=12, tile=64, encode="mean", fusion="off", colour="off") is True

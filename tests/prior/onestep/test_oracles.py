"""Every system gives the numbers of its own program, read by the project's loader and run on diffusers' networks."""

import pytest
import torch
from torch import Tensor

from tests.oracles import load_oracle
from vldm_core.prior.onestep.dloral.system import DLoral
from vldm_core.prior.onestep.pisasr.system import PisaSr
from vldm_core.prior.onestep.run.restore import OneStepClip, latent_of, one_step, shrunk
from vldm_core.prior.onestep.run.settings import OneStepSettings
from vldm_core.prior.onestep.s3diff.system import S3Diff
from vldm_core.prior.onestep.system import LatentFrame
from vldm_core.prior.onestep.tiles import PublishedTiles
from vldm_core.video.shots import Shot

from .oracle_systems import call_of, host_of, predicted, system_of

TILES = PublishedTiles(size=16, overlap=8)


@torch.no_grad()
def tiled(host, system, oracle, settings) -> Tensor:
    """x0 of the large latent: the run over clips, with the encoder's place taken by the latent that the oracle has."""
    latent = oracle.input("latent_large")
    text = oracle.input("context")[:1]

    class Given:
        mixes, scale, device = False, 1.0, torch.device("cpu")
        with_unet = host.with_unet

        def with_vae(self, change):
            from contextlib import nullcontext

            return nullcontext(lambda _picture: torch.cat((latent, torch.zeros_like(latent)), dim=1))

    picture = torch.rand(1, 3, *(8 * side for side in latent.shape[-2:]))
    clip = OneStepClip(frames=picture, film=picture, shots=(Shot(0, 1),), positive=(text,), negative=(text,))
    return one_step(clip, system, Given(), settings)


def test_osediff(tmp_path):
    oracle = load_oracle("onestep_osediff")
    host, system = host_of(oracle), system_of("osediff", oracle, tmp_path)
    with torch.no_grad(), host.with_vae(system.vae_change(None)) as encode:
        moments = encode(oracle.input("image"))
    oracle.check("moments", moments)
    latent = latent_of(moments, oracle.input("noise"), host.scale)
    oracle.check("latent", latent)
    eps = predicted(host, system, latent, oracle.input("context"))
    oracle.check("eps", eps, "mid")
    oracle.check("x0", system.format.step.x0(latent, eps))


def test_osediff_in_tiles(tmp_path):
    oracle = load_oracle("onestep_osediff")
    system = system_of("osediff", oracle, tmp_path)
    settings = OneStepSettings(tiles=PublishedTiles(size=16, overlap=8, low=True))
    oracle.check("x0_tiled", tiled(host_of(oracle), system, oracle, settings))


@pytest.mark.parametrize("weights", [None, 0, 1, 2, 3])
def test_pisasr(tmp_path, weights):
    oracle = load_oracle("onestep_pisasr")
    host, system = host_of(oracle), system_of("pisasr", oracle, tmp_path)
    latent, text = oracle.input("latent"), oracle.input("context")
    if weights is None:
        oracle.check("x0_default", system.format.step.x0(latent, predicted(host, system, latent, text)))
        assert len(system.passes(invention=1.0, guidance=1.0, scores=None)) == 1
        return
    assert isinstance(system, PisaSr)
    passes = system.weighted(*oracle.about["config"]["lambdas"][weights])
    eps = torch.zeros_like(latent)
    with torch.no_grad():
        for each in passes:
            with host.with_unet(each.change) as predict:
                eps += each.weight * predict(call_of(latent, torch.ones(2), text))
    oracle.check(f"x0_dial.{weights}", system.format.step.x0(latent, eps))


def test_pisasr_at_the_pixels_end_of_the_dial_is_one_pass(tmp_path):
    oracle = load_oracle("onestep_pisasr")
    host, system = host_of(oracle), system_of("pisasr", oracle, tmp_path)
    latent, text = oracle.input("latent"), oracle.input("context")
    assert len(system.passes(invention=0.0, guidance=1.0, scores=None)) == 1
    oracle.check("x0_dial.2", latent - predicted(host, system, latent, text, invention=0.0))


def test_pisasr_in_tiles(tmp_path):
    oracle = load_oracle("onestep_pisasr")
    found = tiled(host_of(oracle), system_of("pisasr", oracle, tmp_path), oracle, OneStepSettings(tiles=TILES))
    oracle.check("x0_tiled", found)


@torch.no_grad()
def test_s3diff(tmp_path):
    oracle = load_oracle("onestep_s3diff")
    host, system = host_of(oracle), system_of("s3diff", oracle, tmp_path)
    oracle.check("degree", system.measure(oracle.input("lr")))
    moments, found = [], []
    for index, scores in enumerate(oracle.input("scores")):
        with host.with_vae(system.vae_change(scores)) as encode:
            moments.append(encode(oracle.input("image")[index : index + 1]))
    oracle.check("moments", torch.cat(moments))
    latent = latent_of(torch.cat(moments), oracle.input("noise"), host.scale)
    oracle.check("latent", latent)
    for index, scores in enumerate(oracle.input("scores")):
        one = slice(index, index + 1)
        text, negative = oracle.input("context")[one], oracle.input("negative")[one]
        found.append(predicted(host, system, latent[one], text, negative, scores=scores))
    oracle.check("eps", torch.cat(found), "mid")
    oracle.check("x0", system.format.step.x0(latent, torch.cat(found)))


def test_the_matrices_of_s3diff(tmp_path):
    oracle = load_oracle("onestep_s3diff")
    system = system_of("s3diff", oracle, tmp_path)
    assert isinstance(system, S3Diff)
    seen = [name for name in oracle.about["intermediates"] if name.startswith("mod.")]
    assert len(seen) == 9
    for name in seen:
        _, net, layer = name.split(".", 2)
        steering = {"unet": system.unet_steering, "vae": system.vae_steering}[net]
        found = [steering.matrices(scores)[steering.number(layer)] for scores in oracle.input("scores")]
        oracle.check(name, torch.stack(found), "mid")


def test_hypir(tmp_path):
    oracle = load_oracle("onestep_hypir")
    host, system = host_of(oracle), system_of("hypir", oracle, tmp_path)
    latent = oracle.input("latent")
    eps = predicted(host, system, latent, oracle.input("context"))
    oracle.check("x0", system.format.step.x0(latent, eps))


@torch.no_grad()
def test_dloral(tmp_path):
    from PIL import Image

    oracle = load_oracle("onestep_dloral")
    host, system = host_of(oracle), system_of("dloral", oracle, tmp_path)
    small = oracle.input("lr").permute(0, 2, 3, 1).numpy()
    large = [Image.fromarray(each).resize((4 * each.shape[1], 4 * each.shape[0])) for each in small]
    pictures = torch.stack([torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8) for each in large])
    pictures = pictures.view(3, large[0].height, large[0].width, 3).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    low = shrunk(pictures)
    oracle.check("low", low[:2], "mid")
    latent = oracle.input("latent")
    assert isinstance(system, DLoral)
    frames = [LatentFrame(latent=latent[i : i + 1], small=low[i : i + 1]) for i in range(3)]
    for index in (1, 2):
        here, before = frames[index], frames[index - 1]
        oracle.check(f"flow.{index}", system.retrieval.spynet(here.small, before.small), "mid")
        x, fused = system.inputs(here, before)
        oracle.check(f"warped.{index}", x[:, :4])
        oracle.check(f"fused.{index}", fused)
        for stage, invention in ((0, 0.0), (1, 1.0)):
            eps = predicted(host, system, x, oracle.input("context"), invention=invention)
            oracle.check(f"eps.stage{stage}.{index}", eps, "mid")
            oracle.check(f"x0.stage{stage}.{index}", system.format.step.x0(fused, eps))

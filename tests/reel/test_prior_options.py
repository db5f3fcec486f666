"""What the nodes of the prior can do, a reel can do: settings, damage masks, LoRAs, ControlNet, temporal VAE."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.cli.prior import PriorOptions
from vldm_core.decode.fusion import FusionSettings
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.network import KIND
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.prior.checkpoints.opening import open_prior
from vldm_core.prior.finish import FinishSettings
from vldm_core.prior.lora.eras import EraLoras, LoraChoice
from vldm_core.reel.masks import detect_film
from vldm_core.reel.prior import restore_film_with_prior
from vldm_core.reel.prior_company import ReelControl, ReelLoras
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.with_prior.settings import PriorReelSettings
from vldm_core.sampling.consistency import ConsistencySettings
from vldm_core.sampling.restoration import default_restoration
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable
from vldm_core.semantics.table.table_files import write_table
from vldm_core.stages.analysis import ShotAnalysis
from vldm_core.stages.single import weave
from vldm_core.stages.stage import ShotContext
from vldm_core.stages.stage_frame import StageFrame
from vldm_core.video.geometry import FitSettings
from vldm_core.video.reading.reader import open_film
from vldm_core.video.shots import Shot

from ..prerestore.test_network import trained
from ..prior.tiny_pipeline import tiny_pipeline
from .conftest import damaged_frame, write_film

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = ReelSettings(dirt=None, lines=None, flicker=None, average=None)
FIT = FitSettings(short_side=32, multiple=16)
RAW = FinishSettings(colour=None)
FRAMES, HEIGHT, WIDTH = 5, 32, 48
runner = CliRunner()


def write(path, pictures) -> None:
    """Write pictures (H, W, 3) as a lossless film."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=Fraction(24))
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(video.encode())


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    write(path, [damaged_frame(t, damaged=False)[0][20 : 20 + HEIGHT, 20 : 20 + WIDTH] for t in range(FRAMES)])
    return path


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def pictures(path) -> np.ndarray:
    with open_film(path, deinterlace="off") as reader:
        return np.stack([frame.image for frame in reader]).astype(int)


def made(film, folder, pipeline, **options) -> np.ndarray:
    """Restore with options of the command line; two of four steps, one window."""
    out = folder / f"{'-'.join(map(str, options.values())) or 'base'}.mkv"
    chosen = PriorOptions(prompt="a street", negative="blur", steps=4, strength=0.5, **options)
    restore_film_with_prior(film, out, pipeline, replace(chosen.settings(QUICK), fitting=FIT))
    return pictures(out)


@pytest.fixture(scope="module")
def base(film, pipeline, tmp_path_factory):
    return made(film, tmp_path_factory.mktemp("base"), pipeline)


def test_without_options_everything_is_as_in_the_nodes() -> None:
    assert PriorOptions().restoration() == default_restoration()
    assert PriorOptions().finish() == FinishSettings()
    assert PriorOptions().settings(QUICK) == PriorReelSettings(reel=QUICK)


def test_every_option_has_its_place_in_the_settings() -> None:
    how = PriorOptions(
        noise="shared", noise_mix=0.3, start="added_noise", added_noise_level=7, freeinit_rounds=2, guidance=0.5,
        guidance_space="rgb", guidance_weighting="edges", guidance_start=0.1, guidance_end=0.9, keep_undamaged=0.6,
        keep_until=0.8, keep_margin=2, propagation=0.25, cfg=3.0, cfg_schedule="diffbir", cfg_rescale=0.7, window=8,
        overlap=3, window_schedule="uniform", window_stride=2, window_fuse="flat", tile=256, tile_overlap=64,
        tile_weight="hann", move=True,
    ).restoration()  # fmt: skip
    assert (how.noise.mode, how.noise.mix, how.noise.window) == ("shared", 0.3, 8)
    assert (how.start.mode, how.start.added_noise_level, how.freeinit.iterations) == ("added_noise", 7, 2)
    guidance = how.guidance
    assert (guidance.scale, guidance.space, guidance.weighting, guidance.start, guidance.end) == (
        0.5, "rgb", "edges", 0.1, 0.9,
    )  # fmt: skip
    assert (how.consistency.strength, how.consistency.end, how.consistency.grow) == (0.6, 0.8, 2)
    assert (how.propagation.blend, how.cfg.scale, how.cfg.schedule, how.cfg.rescale) == (0.25, 3.0, "diffbir", 0.7)
    windows, tiles = how.windows, how.tiles
    assert (windows.length, windows.overlap, windows.schedule, windows.stride, windows.fuse, windows.move) == (
        8, 3, "uniform", 2, "flat", True,
    )  # fmt: skip
    assert (tiles.size, tiles.overlap, tiles.weight, tiles.move) == (32, 8, "hann", True)
    after = PriorOptions(
        decode_frames=3, decode_halo=2, decode_tile=256, colour="lab", colour_statistics="frame", colour_strength=0.5,
        colour_period=9, colour_lightness=False, monochrome="off", fusion="weight", fusion_weight=0.4,
        fusion_cutoff=2.0, fusion_detail=1.5, fusion_grow=1, fusion_feather=2.0, grain=True, grain_strength=0.5,
    ).finish()  # fmt: skip
    assert (after.decode.frames, after.decode.halo, after.decode.tile) == (3, 2, 32)
    assert list(vars(after.colour).values()) == ["lab", "frame", 0.5, 9, False, "off"]
    assert list(vars(after.fusion).values()) == ["weight", 0.4, 2.0, 1.5, 1, 2.0]
    assert after.grain.strength == 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"noise": "independent"},
        {"noise": "shared", "noise_mix": 0.9},
        {"noise": "freenoise", "window": 2},
        {"start": "noise"},
        {"start": "added_noise", "added_noise_level": 300},
        {"freeinit_rounds": 2},
        {"guidance": 3.0},
        {"guidance": 3.0, "guidance_weighting": "edges"},
        {"cfg": 1.0},
        {"cfg_rescale": 0.7},
        {"cfg_schedule": "diffbir"},
        {"propagation": 0.0},
        {"noise_schedule": "linear"},
        {"sampler": "spaced_ddpm"},
        {"sampler": "edm_dpm++_3m_sde"},
        {"sampler": "edm_dpm++_2m"},
        {"colour": "off"},
        {"fusion": "frequency"},
        {"fusion": "weight", "fusion_weight": 0.5},
        {"grain": True, "grain_strength": 2.0},
    ],
    ids=str,
)
def test_an_option_changes_the_film(options, film, pipeline, base, tmp_path) -> None:
    assert np.abs(made(film, tmp_path, pipeline, **options) - base).max() >= 1


def test_a_pre_restorer_may_give_the_latents_itself(film, pipeline, base, tmp_path) -> None:
    KIND.save(trained(), tmp_path / "headed.safetensors")
    chosen = PriorOptions(prompt="a street", negative="blur", steps=4, strength=0.5, own_latents=True)
    results = []
    for own, weights in ((True, tmp_path / "headed.safetensors"), (False, tmp_path / "headed.safetensors")):
        reel = replace(QUICK, prerestore=PreRestoration(weights=weights, keep_grain=0.0))
        settings = replace(chosen.settings(reel), fitting=FIT, own_latents=own)
        restore_film_with_prior(film, tmp_path / f"{own}.mkv", pipeline, settings)
        results.append(pictures(tmp_path / f"{own}.mkv"))
    assert np.abs(results[0] - results[1]).max() >= 1 and np.abs(results[0] - base).max() >= 1
    with pytest.raises(SettingsError, match="the one that ships has none"):
        restore_film_with_prior(film, tmp_path / "none.mkv", pipeline, replace(chosen.settings(QUICK), fitting=FIT))
    assert not (tmp_path / "none.mkv").exists()


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """Ten frames of a shot with dirt and a scratch."""
    return write_film(tmp_path_factory.mktemp("dirty") / "film.mkv", 10, audio=False)


def listened(pipeline, monkeypatch) -> list[dict]:
    """Collect what the pipeline is called with, beside the frames."""
    told: list[dict] = []
    real = type(pipeline).__call__

    def listening(self, frames, **given):
        told.append({"frames": frames, **given})
        return real(self, frames, **given)

    monkeypatch.setattr(type(pipeline), "__call__", listening)
    return told


def test_the_damage_that_was_found_goes_into_the_prior(pipeline, dirty, tmp_path, monkeypatch) -> None:
    """As the mask of the sampler node: outside it the film is kept."""
    told = listened(pipeline, monkeypatch)
    reel = replace(ReelSettings(), flicker=None, average=None)
    restoration = replace(default_restoration(), consistency=ConsistencySettings(end=1.0), guidance=None)
    # Parts of seven frames: masks are cut and crossfaded with their frames.
    settings = PriorReelSettings(
        reel=reel, restoration=replace(restoration, windows=None), steps=2, strength=0.5, most_frames=12, fitting=FIT
    )
    restore_film_with_prior(dirty, tmp_path / "kept.mkv", pipeline, settings)
    detect_film(dirty, tmp_path / "masks", reel)
    wanted = np.maximum(*(pictures(tmp_path / "masks" / f"{kind}.mkv") for kind in ("dirt", "scratch")))[..., 0] > 127
    masks = torch.cat([call["masks"] for call in told]).numpy() > 0
    assert wanted.any() and np.array_equal(masks, wanted)

    free = replace(settings, restoration=replace(settings.restoration, consistency=None))
    restore_film_with_prior(dirty, tmp_path / "free.mkv", pipeline, free)
    # What the VAE alone makes of the film.
    restore_film_with_prior(dirty, tmp_path / "decoded.mkv", pipeline, replace(settings, strength=0.0))
    decoded = pictures(tmp_path / "decoded.mkv")
    far = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((41, 41))) for mask in wanted]) == 0
    away = [np.abs(pictures(tmp_path / f"{name}.mkv") - decoded)[far].mean() for name in ("kept", "free")]
    assert far.any() and away[0] < 0.7 * away[1]


def test_masks_of_ones_own_take_the_place_of_those_that_are_found(pipeline, film, dirty, tmp_path, monkeypatch) -> None:
    told = listened(pipeline, monkeypatch)
    settings = PriorReelSettings(reel=QUICK, steps=1, strength=0.0, fitting=FIT)
    detect_film(dirty, tmp_path / "masks", ReelSettings())
    painted = np.zeros((10, *pictures(dirty).shape[1:3], 3), np.uint8)
    painted[:, 30:40, 50:60] = 255
    write(tmp_path / "painted.mkv", painted)
    both = np.maximum(*(pictures(tmp_path / "masks" / f"{kind}.mkv") for kind in ("dirt", "scratch")))[..., 0] > 127
    for index, (path, wanted) in enumerate(
        ((tmp_path / "masks", both), (tmp_path / "painted.mkv", painted[..., 0] > 0))
    ):
        told.clear()
        restore_film_with_prior(dirty, tmp_path / f"{index}.mkv", pipeline, replace(settings, masks=path))
        assert wanted.any() and np.array_equal(torch.cat([call["masks"] for call in told]).numpy() > 0, wanted)
    with pytest.raises(SettingsError, match="has 10 masks of 160×120 for 5 frames of 48×32"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, replace(settings, masks=tmp_path / "painted.mkv"))
    with pytest.raises(SettingsError, match="no damage masks at"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, replace(settings, masks=tmp_path / "nothing.mkv"))
    with pytest.raises(SettingsError, match="stabilise it first"):
        replace(settings, masks=tmp_path / "masks", reel=replace(QUICK, stabilise=StabiliseSettings()))


def test_the_prior_may_act_in_damaged_places_only(pipeline, dirty, tmp_path) -> None:
    reel = replace(ReelSettings(), flicker=None, average=None)
    finish = FinishSettings(fusion=FusionSettings(mode="mask", grow=2, feather=2))
    settings = PriorReelSettings(reel=reel, finish=finish, steps=2, strength=0.5, fitting=FIT)
    restore_film_with_prior(dirty, tmp_path / "out.mkv", pipeline, settings)
    restore_film(dirty, tmp_path / "repaired.mkv", reel)
    changed = np.abs(pictures(tmp_path / "out.mkv") - pictures(tmp_path / "repaired.mkv")).max(axis=-1) > 0
    detect_film(dirty, tmp_path / "masks", reel)
    masks = np.maximum(*(pictures(tmp_path / "masks" / f"{kind}.mkv") for kind in ("dirt", "scratch")))[..., 0]
    # The film is made smaller for the prior, so the mask reaches further by the pixels that it stands for.
    near = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((27, 27))) for mask in masks]) > 0
    assert changed.any() and not (changed & ~near).any()


def test_masks_are_moved_with_the_picture(dirty, monkeypatch) -> None:
    from vldm_core.film.weave.stabilise import WeaveTrack

    track = object.__new__(WeaveTrack)
    monkeypatch.setattr(weave, "apply_stabilise", lambda frames, *_, **__: frames.roll(1, dims=-1))
    monkeypatch.setattr(weave, "warp_masks", lambda masks, track, first: masks.roll(1 + first, dims=-1))
    dirt = torch.zeros(8, 8)
    dirt[:, 2] = 1
    frames = (StageFrame(image=torch.rand(3, 8, 8), origin=t, dirt=dirt, number=t) for t in range(3))
    shot = ShotContext(analysis=replace(ShotAnalysis.unmeasured(3, 8, 8), weave=track), window=4)
    found = [
        frame.dirt.argmax(dim=1)[0].item() for frame in weave.Stabilise(settings=StabiliseSettings()).run(frames, shot)
    ]
    assert found == [3, 4, 5]


def test_stabilised_masks_still_lie_on_their_damage(pipeline, dirty, tmp_path, monkeypatch) -> None:
    told = listened(pipeline, monkeypatch)
    reel = replace(ReelSettings(), flicker=None, average=None, stabilise=StabiliseSettings())
    settings = PriorReelSettings(reel=reel, steps=1, strength=0.0, fitting=FIT)
    restore_film_with_prior(dirty, tmp_path / "out.mkv", pipeline, settings)
    masks = torch.cat([call["masks"] for call in told])
    assert set(masks.unique().tolist()) == {0.0, 1.0} and masks.shape[0] == 10


def lora(folder, name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_q"
    save_file(
        {
            f"{layer}.lora_down.weight": torch.randn(4, 64, generator=generator),
            f"{layer}.lora_up.weight": torch.randn(64, 4, generator=generator),
            f"{layer}.alpha": torch.tensor(4.0),
        },
        folder / f"{name}.safetensors",
    )


def test_loras_act_by_the_era_of_each_shot(film, pipeline, base, tmp_path) -> None:
    lora(tmp_path, "twenties", 1)
    table = ShotTable(
        descriptions=(
            ShotDescription(first=0, last=2, era="unknown"),
            ShotDescription(first=2, last=FRAMES, era="1920s", era_confidence=0.9),
        )
    )
    eras = EraLoras(eras={"1920s": LoraChoice(file="twenties.safetensors", strength=2.0)})
    chosen = ReelLoras(loras=eras, folders=(tmp_path,))
    # Colour is matched over shots, so the other cut alone would change the film.
    settings = PriorReelSettings(
        reel=QUICK, steps=4, strength=0.5, fitting=FIT, table=table, prompt="a street", finish=RAW
    )
    runs = {}
    for name, loras in (("plain", None), ("era", chosen), ("little", replace(chosen, strength=0.02))):
        restore_film_with_prior(film, tmp_path / f"{name}.mkv", pipeline, replace(settings, loras=loras))
        runs[name] = pictures(tmp_path / f"{name}.mkv")
    assert np.array_equal(runs["era"][:2], runs["plain"][:2])
    differences = [np.abs(runs[name][2:] - runs["plain"][2:]).mean() for name in ("era", "little")]
    assert 0 < differences[1] < differences[0]
    assert pipeline.attachments == {}

    named = replace(chosen, eras=("1920s",))
    assert named.of_shots((Shot(0, 2), Shot(2, 5)), None) == ({"twenties.safetensors": 2.0},) * 2
    with pytest.raises(SettingsError, match="need the eras of the film, or a table"):
        replace(settings, table=None, loras=chosen)


def test_a_lora_that_cannot_be_used_is_refused_before_the_work(film, pipeline, tmp_path) -> None:
    def touched(*_: Any, **__: Any) -> Any:
        raise AssertionError("work began")

    eras = EraLoras(eras={"1920s": LoraChoice(file="twenties.safetensors")})
    loras = ReelLoras(loras=eras, folders=(tmp_path,), eras=("1920s",))
    settings = PriorReelSettings(reel=QUICK, fitting=FIT, loras=loras)
    with pytest.raises(SettingsError, match=r"no LoRA file 'twenties.safetensors'"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, settings, touched)
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_q"
    wide = {f"{layer}.lora_down.weight": torch.ones(4, 320), f"{layer}.lora_up.weight": torch.ones(320, 4)}
    save_file(wide, tmp_path / "twenties.safetensors")
    with pytest.raises(SettingsError):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, settings, touched)
    named = replace(loras, eras=("1890s",))
    with pytest.raises(SettingsError, match="no era '1890s'"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, replace(settings, loras=named), touched)


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    """A model and a ControlNet for it, as a folder and as a file."""
    from diffusers import ControlNetModel

    folder = tmp_path_factory.mktemp("controlled")
    pipeline = tiny_pipeline()
    pipeline.save_pretrained(folder / "model")
    net = ControlNetModel.from_unet(pipeline.unet)
    torch.manual_seed(0)
    for block in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(block.weight, std=0.1)
    net.save_pretrained(folder / "net")
    save_file(net.state_dict(), folder / "net.safetensors")
    return folder


def test_a_control_net_looks_at_the_film_or_at_hints(controlled, film, tmp_path) -> None:
    nets = (controlled / "net", controlled / "net.safetensors")
    opened = [open_prior(controlled / "model", controlnet=net, device="cpu") for net in nets]
    weights = [pipeline.controlnet.state_dict() for pipeline in opened]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    pipeline = opened[1]
    generator = np.random.default_rng(0)
    pattern = [cv2.resize(generator.integers(0, 256, (4, 6, 3), np.uint8), (96, 64)) for _ in range(FRAMES)]
    write(tmp_path / "hints.mkv", pattern)
    write(tmp_path / "single.mkv", pattern[:1])
    write(tmp_path / "short.mkv", pattern[:2])
    # Joined along the motion, the hint of one frame would be seen in the others.
    apart = replace(default_restoration(), propagation=None)
    runs = {}
    for name, control in {
        "none": None,
        "film": ReelControl(),
        "weak": ReelControl(strength=0.0),
        "late": ReelControl(start=1.0),
        "hints": ReelControl(hint=tmp_path / "hints.mkv"),
        "single": ReelControl(hint=tmp_path / "single.mkv"),
    }.items():
        settings = PriorReelSettings(
            reel=QUICK, restoration=apart, steps=4, strength=0.5, fitting=FIT, control=control, finish=RAW
        )
        restore_film_with_prior(film, tmp_path / f"made-{name}.mkv", pipeline, settings)
        runs[name] = pictures(tmp_path / f"made-{name}.mkv")
    assert np.array_equal(runs["weak"], runs["none"]) and np.array_equal(runs["late"], runs["none"])
    names = ("none", "film", "hints", "single")
    assert all(np.abs(runs[a] - runs[b]).max() > 0 for a in names for b in names if a < b)
    assert np.array_equal(runs["single"][0], runs["hints"][0]), "a single hint is for all frames"
    settings = replace(settings, control=ReelControl(hint=tmp_path / "short.mkv"))
    with pytest.raises(SettingsError, match="2 control hints for 5 frames"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, settings)
    with pytest.raises(SettingsError, match="opened without one"):
        restore_film_with_prior(film, tmp_path / "out.mkv", tiny_pipeline(), settings)


def test_a_control_net_of_another_family_is_refused(controlled, tmp_path) -> None:
    from diffusers import ControlNetModel

    small = ControlNetModel.load_config(controlled / "net")
    ControlNetModel.from_config({**small, "cross_attention_dim": 32}).save_pretrained(tmp_path / "other")
    with pytest.raises(SettingsError, match="text of 32 channels and the model has 64"):
        open_prior(controlled / "model", controlnet=tmp_path / "other", device="cpu")
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(VLDMError, match=r"x.safetensors cannot be opened"):
        open_prior(controlled / "model", controlnet=tmp_path / "x.safetensors", device="cpu")


def test_the_temporal_vae_decodes_a_reel(film, pipeline, base, tmp_path) -> None:
    from diffusers import AutoencoderKLTemporalDecoder

    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "block_out_channels": (32,) * 4}
    AutoencoderKLTemporalDecoder(**kinds, layers_per_block=1).save_pretrained(tmp_path / "svd")
    settings = replace(PriorOptions(steps=4, strength=0.5, temporal_vae=tmp_path / "svd").settings(QUICK), fitting=FIT)
    restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, settings)
    found = pictures(tmp_path / "out.mkv")
    assert np.abs(found - base).max() > 0
    missing = replace(settings, temporal_vae=tmp_path / "nothing")
    with pytest.raises(SettingsError, match="no temporal VAE"):
        restore_film_with_prior(film, tmp_path / "never.mkv", pipeline, missing)


def test_flicker_is_removed_before_the_prior(pipeline, tmp_path, monkeypatch) -> None:
    """As in the graph: what the prior sees, and what comes out, is even."""
    gains = 1 + 0.1 * np.sin(np.arange(24) * 2.4)
    scene = damaged_frame(0, damaged=False)[0][20:68, 20:84].astype(float)
    write(tmp_path / "film.mkv", [(scene * gain).clip(0, 255).round().astype(np.uint8) for gain in gains])
    told = listened(pipeline, monkeypatch)
    spread = {}
    for name, flicker in (("left", None), ("removed", FlickerSettings())):
        told.clear()
        settings = PriorReelSettings(reel=replace(QUICK, flicker=flicker), steps=2, strength=0.5, fitting=FIT)
        restore_film_with_prior(tmp_path / "film.mkv", tmp_path / f"{name}.mkv", pipeline, settings)
        seen = torch.cat([call["frames"] for call in told]).mean(dim=(1, 2, 3)).numpy()
        out = pictures(tmp_path / f"{name}.mkv").mean(axis=(1, 2, 3)) / 255
        spread[name] = (np.abs(np.diff(seen)).mean() / seen.mean(), np.abs(np.diff(out)).mean() / out.mean())
    assert spread["removed"][0] < 0.2 * spread["left"][0]
    assert spread["removed"][1] < 0.5 * spread["left"][1]
    assert PriorOptions().settings(ReelSettings()).reel.flicker is not None, "on unless it is switched off"


def test_the_command_line_takes_all_of_it(controlled, film, tmp_path) -> None:
    lora(tmp_path, "twenties", 1)
    (tmp_path / "map.json").write_text(json.dumps({"1920s": {"file": "twenties.safetensors"}}))
    write_table(
        ShotTable(descriptions=(ShotDescription(first=0, last=FRAMES, era="1920s", era_confidence=1.0),)),
        tmp_path / "table.csv",
    )
    command = ["restore", str(film), str(tmp_path / "out.mkv"), "--no-average", "--device", "cpu"]
    command += ["--prior", str(controlled / "model"), "--steps", "2", "--strength", "0.5", "--short-side", "64"]
    command += ["--controlnet", str(controlled / "net.safetensors"), "--control-strength", "0.5"]
    command += ["--era-map", str(tmp_path / "map.json"), "--shots-table", str(tmp_path / "table.csv")]
    command += ["--noise", "shared", "--start", "added_noise", "--guidance-weighting", "edges", "--fusion", "weight"]
    result = runner.invoke(app, [*command, "--freeinit-rounds", "2", "--move", "--window", "4", "--overlap", "1"])
    assert result.exit_code == 0, result.output
    assert pictures(tmp_path / "out.mkv").shape == (FRAMES, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fusion", "weight", "--seed", "3"], "--seed and --fusion: give --prior PATH too"),
        (["--prior", "x", "--control-strength", "2"], "--control-strength: give --controlnet PATH too"),
        (["--prior", "x", "--eras", "1920s"], "--eras: give --era-map FILE too"),
        (["--prior", "x", "--temporal-strength", "2"], "--temporal-strength: give --temporal FILE too"),
        (["--prior", "x", "--controlnet", "y", "--control-start", "0.5", "--control-end", "0.2"], "end not before"),
        (["--prior", "x", "--fusion", "mask", "--no-dirt", "--no-lines"], "needs masks"),
        (["--prior", "x", "--window", "4", "--overlap", "4"], "window overlap is 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_say_nothing_together_are_refused(options, message, film, tmp_path) -> None:
    result = runner.invoke(app, ["restore", str(film), str(tmp_path / "out.mkv"), "--no-average", *options])
    assert result.exit_code == 1 and message in " ".join(result.stderr.split()), result.output
    assert list(tmp_path.iterdir()) == []

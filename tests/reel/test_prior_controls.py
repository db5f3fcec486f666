"""A reel is restored with the controls of restoration systems: in the pipeline's terms, shot by shot, told of early."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from vldm_core import VideoRestorationPipeline
from vldm_core.cli.app import app
from vldm_core.cli.prior import PriorOptions
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.controls.use import ControlUse
from vldm_core.prior.finish import FinishSettings
from vldm_core.reel.prior import restore_film_with_prior
from vldm_core.reel.prior_company import ReelControl
from vldm_core.reel.prior_controls import ControlShelf, ReelRestorationControl
from vldm_core.reel.restore import ReelSettings
from vldm_core.reel.with_prior.settings import PriorReelSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.restoration import default_restoration
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable
from vldm_core.video.geometry import FitSettings
from vldm_core.video.reading.reader import open_film
from vldm_core.video.shots import Shot

from ..prior.controls.coser.tiny_coser import Q_FORMER, control_file, encoder_file, sd2_unet, tiny_clip
from ..prior.controls.seesr.tiny_seesr import seesr_files
from ..prior.tiny_models import tiny_diffbir, tiny_unet
from ..prior.tiny_pipeline import tiny_pipeline
from .conftest import damaged_frame

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = ReelSettings(dirt=None, lines=None, flicker=None, average=None)
FRAMES, HEIGHT, WIDTH = 6, 32, 48
SHORT = PriorReelSettings(
    reel=QUICK,
    restoration=replace(default_restoration(), propagation=None),
    finish=FinishSettings(colour=None),
    steps=4,
    strength=0.5,
    fitting=FitSettings(short_side=32, multiple=16),
)
TABLE = ShotTable(
    descriptions=(ShotDescription(first=0, last=2), ShotDescription(first=2, last=4), ShotDescription(first=4, last=6))
)
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


def pictures(path) -> np.ndarray:
    with open_film(path, deinterlace="off") as reader:
        return np.stack([frame.image for frame in reader]).astype(int)


def saved(path, tensors):
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A film, a model, and files of systems."""
    folder = tmp_path_factory.mktemp("files")
    write(
        folder / "film.mkv",
        [damaged_frame(t, damaged=False)[0][20 : 20 + HEIGHT, 20 : 20 + WIDTH] for t in range(FRAMES)],
    )
    tiny_pipeline().save_pretrained(folder / "model")
    saved(folder / "diffbir.safetensors", tiny_diffbir().branch.state_dict())
    saved(folder / "coser.safetensors", control_file())
    control, unet = seesr_files(tiny_unet())
    saved(folder / "seesr_control.safetensors", control)
    saved(folder / "seesr_unet.safetensors", unet)
    saved(folder / "tokens.safetensors", {"0": torch.zeros(2, 5)})
    return folder


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def restored(folder, out, pipeline, *controls: ReelRestorationControl, **more: Any) -> np.ndarray:
    restore_film_with_prior(folder / "film.mkv", out, pipeline, replace(SHORT, controls=controls, **more))
    return pictures(out)


def test_a_control_looks_at_the_film_or_at_hints(folder, pipeline, tmp_path) -> None:
    diffbir = ReelRestorationControl(files=(folder / "diffbir.safetensors",))
    generator = np.random.default_rng(0)
    write(tmp_path / "hints.mkv", [generator.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(FRAMES)])
    write(tmp_path / "short.mkv", [generator.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(2)])
    runs = {
        name: restored(folder, tmp_path / f"made-{name}.mkv", pipeline, *controls)
        for name, controls in {
            "none": (),
            "off": (replace(diffbir, settings=ControlSettings(strength=0)),),
            "film": (diffbir,),
            "hints": (replace(diffbir, hint=tmp_path / "hints.mkv"),),
            "both": (diffbir, replace(diffbir, hint=tmp_path / "hints.mkv")),
        }.items()
    }
    assert np.array_equal(runs["none"], runs["off"])
    names = ("none", "film", "hints", "both")
    assert all(np.abs(runs[a] - runs[b]).max() > 0 for a in names for b in names if a < b)
    with pytest.raises(SettingsError, match="2 control hints for 6 frames"):
        restored(folder, tmp_path / "out.mkv", pipeline, replace(diffbir, hint=tmp_path / "short.mkv"))


def test_film_frames_choose_the_factor_in_every_part(folder, pipeline, tmp_path) -> None:
    """The parts of a shot begin inside it, and factors go by frames of the film."""
    late = ControlSettings(over_frames=((3, 0), (4, 1)))
    windows = replace(SHORT.restoration, windows=WindowSettings(length=2, overlap=0))
    parts = {"most_frames": 2, "restoration": windows}
    diffbir = ReelRestorationControl(files=(folder / "diffbir.safetensors",))
    plain = restored(folder, tmp_path / "plain.mkv", pipeline, **parts)
    full = restored(folder, tmp_path / "full.mkv", pipeline, diffbir, **parts)
    found = restored(folder, tmp_path / "late.mkv", pipeline, replace(diffbir, settings=late), **parts)
    assert np.array_equal(found[:4], plain[:4]) and np.array_equal(found[4:], full[4:])
    assert np.abs(plain[4:] - full[4:]).max() > 0


def test_damage_reaches_the_control(folder, pipeline, tmp_path) -> None:
    write(tmp_path / "masks.mkv", [np.full((HEIGHT, WIDTH, 3), 255 * (t < 2), np.uint8) for t in range(FRAMES)])
    masks = {"masks": tmp_path / "masks.mkv"}
    diffbir = ReelRestorationControl(files=(folder / "diffbir.safetensors",), settings=ControlSettings(in_damage=0.0))
    plain = restored(folder, tmp_path / "plain.mkv", pipeline, **masks)
    found = restored(folder, tmp_path / "found.mkv", pipeline, diffbir, **masks)
    full = restored(
        folder, tmp_path / "full.mkv", pipeline, replace(diffbir, settings=ControlSettings(in_damage=1.0)), **masks
    )
    assert np.array_equal(found[:2], plain[:2]) and np.abs(full[:2] - plain[:2]).max() > 0


def test_tokens_and_references_belong_to_shots(folder, tmp_path) -> None:
    pipeline = tiny_pipeline()
    pipeline.register_modules(unet=sd2_unet())
    width = Q_FORMER.width
    saved(tmp_path / "tokens.safetensors", {f"shot.{n}": torch.full((2, width), float(n)) for n in range(3)})
    write(tmp_path / "pictures.mkv", [np.full((40, 30, 3), 50 * n, np.uint8) for n in range(3)])
    control = ReelRestorationControl(
        files=(folder / "coser.safetensors",),
        tokens=tmp_path / "tokens.safetensors",
        reference=tmp_path / "pictures.mkv",
    )
    shelf = ControlShelf((control,), TABLE, pipeline)
    assert shelf.counted
    shelf.check(FRAMES, lambda film: sum(1 for _ in film))
    shelf.meet(TABLE.shots)
    for number, shot in enumerate(TABLE.shots):
        for part in (shot, Shot(shot.first + 1, shot.last)):
            (use,) = shelf.uses(part, shot, lambda path: None)
            assert torch.equal(use.tokens, torch.full((len(part), 2, width), float(number)))
            assert use.references.shape == (1, 3, 40, 30)
            assert torch.allclose(use.references, torch.full_like(use.references, 50 * number / 255), atol=1e-3)
    shelf.close()
    one = ReelRestorationControl(files=control.files, reference=tmp_path / "pictures.mkv")
    restore_film_with_prior(
        folder / "film.mkv", tmp_path / "a.mkv", pipeline, replace(SHORT, controls=(one,), table=TABLE)
    )
    restore_film_with_prior(
        folder / "film.mkv",
        tmp_path / "b.mkv",
        pipeline,
        replace(SHORT, controls=(replace(one, reference=None),), table=TABLE),
    )
    assert np.abs(pictures(tmp_path / "a.mkv") - pictures(tmp_path / "b.mkv")).max() > 0

    alone = ControlShelf((control,), None, pipeline)
    with pytest.raises(SettingsError, match=r"3 embeddings for 6 frames in 1 shots.*needs a table of shots"):
        alone.check(FRAMES, lambda film: sum(1 for _ in film))
    with pytest.raises(SettingsError, match=r"has 3 reference pictures for the shots.*needs a table of shots"):
        ControlShelf((one,), None, pipeline).check(FRAMES, lambda film: sum(1 for _ in film))


def test_the_parts_of_a_shot_share_what_the_first_chose(folder, tmp_path, monkeypatch) -> None:
    pipeline = tiny_pipeline()
    pipeline.register_modules(unet=sd2_unet())
    tiny_clip().save_pretrained(tmp_path / "clip")
    saved(tmp_path / "whole.safetensors", control_file() | encoder_file())
    seen = []
    real = ControlUse.look

    def looking(use, control, clip, *args, **named):
        real(use, control, clip, *args, **named)
        seen.append((control.material.reference[0], control.material.tokens[0], clip.latent[0]))

    monkeypatch.setattr(ControlUse, "look", looking)
    control = ReelRestorationControl(files=(tmp_path / "whole.safetensors",), clip=tmp_path / "clip")
    table = ShotTable(descriptions=(ShotDescription(first=0, last=4), ShotDescription(first=4, last=6)))
    shelf = ControlShelf((control,), table, pipeline)
    shelf.meet(table.shots)
    film = torch.rand(6, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    first, second = table.shots
    for part, shot in ((Shot(0, 2), first), (Shot(2, 4), first), (Shot(4, 6), second)):
        pipeline(
            film[part.first : part.last],
            controls=shelf.uses(part, shot, lambda path: None),
            num_inference_steps=2,
            strength=0.5,
            fitting=SHORT.fitting,
            finish=SHORT.finish,
            output="latents",
        )
    shelf.close()
    references, tokens, latents = zip(*seen, strict=True)
    assert torch.equal(references[0], latents[0])
    assert torch.equal(references[1], references[0])
    assert torch.equal(tokens[1], tokens[0])
    assert torch.equal(references[2], latents[2])
    assert not torch.equal(tokens[2], tokens[0])


def whole_clip(vision: Any) -> Any:
    """A CLIP with a text encoder beside a vision encoder's weights, as it is published."""
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=text,
        vision_config=vision.config.to_dict() | {"projection_dim": 7},
        projection_dim=vision.config.projection_dim,
    )
    made = CLIPModel(config)
    made.load_state_dict(vision.state_dict(), strict=False)
    return made


def test_coser_looks_through_its_clip(folder, tmp_path) -> None:
    pipeline = tiny_pipeline()
    pipeline.register_modules(unet=sd2_unet())
    tiny_clip().save_pretrained(tmp_path / "clip")
    saved(tmp_path / "whole.safetensors", control_file() | encoder_file())
    whole = ReelRestorationControl(files=(tmp_path / "whole.safetensors",))
    runs = [
        restored(folder, tmp_path / f"{name}.mkv", pipeline, control)
        for name, control in (("without", whole), ("with", replace(whole, clip=tmp_path / "clip")))
    ]
    assert np.abs(runs[0] - runs[1]).max() > 0
    whole_clip(tiny_clip()).save_pretrained(tmp_path / "whole_clip")
    of_both = restored(folder, tmp_path / "both.mkv", pipeline, replace(whole, clip=tmp_path / "whole_clip"))
    assert np.array_equal(of_both, runs[1]), "a CLIP with its text encoder has the same eyes"
    options = PriorOptions(prior=folder, control=[tmp_path / "whole.safetensors"], control_clip=tmp_path / "clip")
    assert options.settings(QUICK).controls == (replace(whole, clip=tmp_path / "clip"),)
    with pytest.raises(SettingsError, match="no cognitive encoder"):
        replace(options, control=[folder / "coser.safetensors"]).settings(QUICK)
    with pytest.raises(VLDMError, match=r"config\.json is missing"):
        replace(options, control_clip=folder).settings(QUICK)
    with pytest.raises(SettingsError, match="DiffBIR does not look through CLIP"):
        replace(options, control=[folder / "diffbir.safetensors"]).settings(QUICK)
    with pytest.raises(SettingsError, match="leave one out"):
        replace(whole, clip=tmp_path / "clip", tokens=folder / "tokens.safetensors")


def test_a_control_that_cannot_be_used_is_refused_before_the_work(folder, pipeline, tmp_path) -> None:
    def touched(*_: Any, **__: Any) -> Any:
        raise AssertionError("work began")

    def said(match: str, control: ReelRestorationControl) -> None:
        with pytest.raises(SettingsError, match=match):
            restore_film_with_prior(
                folder / "film.mkv", tmp_path / "out.mkv", pipeline, replace(SHORT, controls=(control,)), touched
            )

    said("choose a Stable Diffusion 2.1 model", ReelRestorationControl(files=(folder / "coser.safetensors",)))
    diffbir = ReelRestorationControl(files=(folder / "diffbir.safetensors",))
    said("DiffBIR does not look at tokens", replace(diffbir, tokens=folder / "tokens.safetensors"))
    said("DiffBIR does not look at a reference", replace(diffbir, reference=folder / "film.mkv"))
    with pytest.raises(SettingsError, match="without files"):
        replace(diffbir, files=())
    for more in ({"controls": (replace(diffbir, hint=tmp_path / "none.mkv"),)}, {"masks": tmp_path / "none.mkv"}):
        with pytest.raises(VLDMError, match=r"none\.mkv"):
            restore_film_with_prior(
                folder / "film.mkv", tmp_path / "out.mkv", pipeline, replace(SHORT, **more), touched
            )
    assert list(tmp_path.iterdir()) == []


def test_options_become_settings(folder) -> None:
    assert PriorOptions().settings(QUICK).controls == ()
    both = [folder / "diffbir.safetensors", folder / "seesr_unet.safetensors", folder / "seesr_control.safetensors"]
    how: dict[str, Any] = {
        "control_start": 0.1,
        "control_end": 0.9,
        "control_hint": folder / "film.mkv",
        "control_in_damage": 0.2,
        "control_reuse": 2,
        "control_pixel_window": 64,
        "control_over_steps": "0:1,1:0.5",
        "control_over_frames": "24:0.5",
        "control_tokens": folder / "tokens.safetensors",
    }
    options = PriorOptions(prior=folder, control=both, control_strength=0.8, control_mix="1,0.5", **how)
    options.check()
    first, second = options.settings(QUICK).controls
    acting = ControlSettings(
        strength=0.8,
        start=0.1,
        end=0.9,
        over_steps=((0, 1), (1, 0.5)),
        over_frames=((24, 0.5),),
        in_damage=0.2,
        reuse=2,
        pixel_window=64,
    )
    assert first == ReelRestorationControl(files=(both[0],), settings=acting, hint=folder / "film.mkv")
    assert set(second.files) == set(both[1:])
    assert second.settings == replace(acting, strength=0.4)
    assert second.tokens == folder / "tokens.safetensors", "DiffBIR takes none"
    net = PriorOptions(prior=folder, controlnet=folder, control=both[:1], control_hint=folder / "film.mkv")
    assert net.settings(QUICK).control == ReelControl(hint=folder / "film.mkv")
    assert net.settings(QUICK).controls[0].hint is None


def failing(folder, tmp_path, monkeypatch, *options: Any) -> str:
    """Run the command line, check that no model was loaded and nothing written, and return what it said."""

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(VideoRestorationPipeline, "from_pretrained", loaded)
    command = ["restore", folder / "film.mkv", tmp_path / "out.mkv", "--no-average", *options]
    result = runner.invoke(app, [str(word) for word in command])
    assert result.exit_code == 1 and not isinstance(result.exception, AssertionError), result.output
    assert list(tmp_path.iterdir()) == []
    return " ".join(result.stderr.split())


def test_what_does_not_fit_is_told_before_a_model_is_loaded(folder, tmp_path, monkeypatch) -> None:
    prior = ("--prior", folder / "model")
    diffbir = (*prior, "--control", folder / "diffbir.safetensors")

    def said(*options: Any) -> str:
        return failing(folder, tmp_path, monkeypatch, *options)

    assert "its UNet" in said(*prior, "--control", folder / "seesr_control.safetensors")
    assert "not a part of a known restoration control" in said(*prior, "--control", folder / "tokens.safetensors")
    assert "does not exist" in said(*prior, "--control", folder / "nothing.safetensors")
    assert "choose a model of the family" in said(
        *prior, "--control", folder / "seesr_control.safetensors", "--control", folder / "seesr_unet.safetensors"
    )
    assert "--control-tokens: DiffBIR takes none" in said(*diffbir, "--control-tokens", folder / "tokens.safetensors")
    assert "--control-reference: DiffBIR takes none" in said(*diffbir, "--control-reference", folder / "film.mkv")
    assert "2 factors for 1 system;" in said(*diffbir, "--control-mix", "1,2")
    assert "give numbers" in said(*diffbir, "--control-mix", "a")
    assert "is not a point" in said(*diffbir, "--control-over-steps", "half")
    assert "the end not before the start" in said(*diffbir, "--control-start", "0.6", "--control-end", "0.5")
    assert "--control-reuse: give --control FILE too" in said(*prior, "--control-reuse", "2")
    assert "or --control FILE" in said(*prior, "--control-strength", "2")
    assert "--control: give --prior PATH too" in said("--control", folder / "diffbir.safetensors")


def test_the_command_line_restores_with_controls(folder, tmp_path) -> None:
    command = ["restore", folder / "film.mkv", tmp_path / "out.mkv", "--no-average", "--device", "cpu"]
    command += ["--prior", folder / "model", "--steps", "2", "--strength", "1", "--short-side", "64"]
    command += ["--control", folder / "diffbir.safetensors", "--control", folder / "diffbir.safetensors"]
    command += ["--control-mix", "1,0.5", "--control-reuse", "2", "--control-over-frames", "0:1,5:0.5"]
    command += ["--start", "noise", "--window", "4", "--overlap", "1", "--tile", "64"]
    result = runner.invoke(app, [str(word) for word in command])
    assert result.exit_code == 0, result.output
    assert pictures(tmp_path / "out.mkv").shape == (FRAMES, HEIGHT, WIDTH, 3)

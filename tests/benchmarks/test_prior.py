"""The small world in which trained parts are tried: its models, what is shown of them, and what is refused."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.prior.benchmark import PARTS, PriorBenchmarkSettings, PriorReport, check_weights
from benchmarks.prior.evidence.finding import Claim, Finding
from benchmarks.prior.page import write_json, write_page
from benchmarks.prior.scores import Mean, means
from benchmarks.prior.world.models import SHIPPED, halve, new_pipeline, open_world, save_part, write_layouts
from benchmarks.prior.world.parts_training import ROUTES
from benchmarks.prior.world.vae_training import even_out, start_gently
from vldm_core.decode.fusion_decoder import KIND as fusion_kind  # noqa: N811 - two kinds of files
from vldm_core.errors import SettingsError
from vldm_core.files.tensors import write_tensors
from vldm_core.files.weights import WeightFileError, read_contents, read_header
from vldm_core.prerestore.network import KIND as prerestorer_kind  # noqa: N811
from vldm_core.prior.checkpoints.opening import open_prior
from vldm_core.prior.controls.reading import read_control
from vldm_core.prior.temporal.files import read_temporal_layers
from vldm_core.prior.unet import UNetView
from vldm_core.training.control_branch.branch import heads_of
from vldm_core.training.diffusion.prior import training_prior


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """An untrained small world."""
    folder = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    pipeline = new_pipeline()
    for part in ("unet", "vae"):
        save_part(getattr(pipeline, part), folder / f"{part}.safetensors")
    return folder


def test_both_layouts_give_the_same_model(world, tmp_path) -> None:
    prior = open_world(world)
    folder, checkpoint, configuration = write_layouts(prior, tmp_path)
    pictures, noise = torch.rand(2, 3, 32, 32), torch.randn(2, 4, 4, 4)
    text = prior.texts(["a colour film", ""])
    assert not torch.equal(text[0], text[1])
    times = torch.tensor([10, 900])
    wanted = prior.latents(pictures), prior.unet(noise, times, text).sample
    for opened in (open_prior(folder, device="cpu"), open_prior(checkpoint, config=configuration, device="cpu")):
        found = training_prior(opened)
        assert torch.equal(found.texts(["a colour film", ""]), text)
        # The same weights, which lie elsewhere in memory: kernels may add in another order.
        for module, own in ((found.unet, prior.unet), (found.vae, prior.vae)):
            assert all(torch.equal(value, own.state_dict()[key]) for key, value in module.state_dict().items())
        torch.testing.assert_close(found.latents(pictures), wanted[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found.unet(noise, times, text).sample, wanted[1], rtol=0, atol=1e-5)


def test_latents_are_evened_out_without_a_change_of_the_picture(tmp_path) -> None:
    import numpy as np

    torch.manual_seed(1)
    vae = new_pipeline().vae
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), np.uint8)
    np.savez(tmp_path / "film.npz", target=frames)
    picture = torch.from_numpy(frames[:1]).float() / 255 * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(picture).latent_dist.mode()).sample
        even_out(vae, [tmp_path / "film.npz"])
        latents = (
            vae.config.scaling_factor * vae.encode(torch.from_numpy(frames).float() / 255 * 2 - 1).latent_dist.mode()
        )
        after = vae.decode(vae.encode(picture).latent_dist.mode()).sample
    assert torch.allclose(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-3)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(after, before, atol=1e-3)


def test_a_new_vae_starts_from_its_shortcuts_alone() -> None:
    torch.manual_seed(0)
    vae = new_pipeline().vae
    start_gently(vae)
    block = vae.encoder.down_blocks[0].resnets[0]
    features = torch.randn(1, block.conv1.in_channels, 8, 8)
    with torch.no_grad():
        assert torch.equal(block(features, None), features)
        spread = vae.encode(torch.rand(1, 3, 64, 64)).latent_dist
    assert float(spread.logvar.mean()) == pytest.approx(-4, abs=1)
    assert float(spread.mean.std()) > 0


def test_halves_keep_what_is_written_beside_them(tmp_path) -> None:
    file = tmp_path / "part.safetensors"
    write_tensors({"weight": torch.full((2,), 0.1), "count": torch.tensor([3])}, file, {"kind": "part"})
    halve(file)
    assert read_header(file).metadata["kind"] == "part"
    tensors = read_contents(file)
    assert tensors["weight"].dtype == torch.float16 and tensors["count"].dtype == torch.int64


def test_the_world_that_ships_opens_with_all_its_parts() -> None:
    check_weights(SHIPPED, PARTS)
    world = open_world(SHIPPED)
    assert read_temporal_layers(SHIPPED / "temporal.safetensors", UNetView(world.unet)).layers
    read_control([SHIPPED / "control.safetensors"], heads=heads_of(world.unet))
    assert prerestorer_kind.load(SHIPPED / "prerestorer.safetensors").latent is not None
    for source in ROUTES:
        assert fusion_kind.load(SHIPPED / f"fusion_{source}.safetensors").config.source == source
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30e6
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        decoded = world.pictures(world.latents(torch.nn.functional.interpolate(picture[..., :8, :8], size=(64, 64))))
    assert decoded.shape == picture.shape and bool(decoded.isfinite().all())


def test_missing_weights_are_named_before_anything_is_made(world, tmp_path) -> None:
    check_weights(world, ())
    with pytest.raises(WeightFileError, match=r"lacks temporal, control, .*eras/eras\.json"):
        check_weights(world, PARTS)
    words = ["prior", "--data", str(tmp_path), "--cache", str(tmp_path / "cache"), "--weights", str(world)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1 and "python -m benchmarks world" in " ".join(result.stderr.split())
    assert not (tmp_path / "cache").exists()
    with pytest.raises(SettingsError, match="no part 'hope'"):
        PriorBenchmarkSettings(parts=("hope",))


def test_the_page_says_what_holds_and_what_does_not(tmp_path) -> None:
    assert means([[{"psnr": 1.0}, {"psnr": 3.0}], [{"psnr": 4.0}, {"psnr": 4.0}]]) == {"psnr": Mean(value=3, spread=1)}
    finding = Finding(
        part="Hope",
        how="Tried.",
        figures={"with": {"psnr": Mean(value=30.0, spread=0.5)}, "without": {"psnr": Mean(value=31.0, spread=0.0)}},
        claims=(Claim(aim="better", found="-1 dB", holds=False), Claim(aim="steadier", found="-40 %", holds=True)),
        rows={"with": torch.rand(6, 3, 64, 64), "without": torch.rand(6, 3, 64, 64)},
    )
    report, pictures = PriorReport(findings=(finding,), seconds=1.0), tmp_path / "pictures"
    finding.write_picture(pictures)
    write_page(report, tmp_path / "page.md", command="python -m benchmarks prior", pictures=pictures)
    write_json(report, tmp_path / "page.json")
    page = (tmp_path / "page.md").read_text()
    assert "| Hope | better | -1 dB | ✗ |" in page and "| Hope | steadier | -40 % | ✓ |" in page
    assert "| with | 30.000 ± 0.500 |" in page and "![Hope](pictures/hope.png)" in page
    assert (pictures / "hope.png").is_file() and '"holds": true' in (tmp_path / "page.json").read_text()
    assert "30.000 ± 0.500" in report.text()

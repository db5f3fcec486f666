"""The dirt detector is trained the same way every time, interrupted or not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from vldm_core.ageing import BlotchModel, DirtModel, SimulationSettings, simulate
from vldm_core.cli.app import app
from vldm_core.data.clean_shots import TrainingMaterial
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.dirt.features import PLANES
from vldm_core.film.dirt.network import KIND, DirtNetwork, DirtNetworkConfig
from vldm_core.training.dirt_detector.examples import (
    BLOTCH,
    DIRT,
    FAINT_BLOTCH,
    FAINT_DIRT,
    STEPS,
    ExampleSettings,
    generate_examples,
    label,
    load_examples,
    make_examples,
    to_bytes,
)
from vldm_core.training.dirt_detector.task import DirtTrainingSettings, calibrated, dirt_loss, train_dirt_network

TINY = DirtNetworkConfig(widths=(4, 4, 4), depths=(0, 0, 1))
QUICK = DirtTrainingSettings(steps=20, batch=2, side=32, warmup=2, held_out=0.2, checkpoint_every=10, rate=1e-2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    stream = np.random.default_rng(0)
    for number in range(2):
        noise = cv2.GaussianBlur(stream.standard_normal((400, 520, 3)), (0, 0), 6) * 400 + 128
        cv2.imwrite(str(folder / f"photo{number}.png"), np.clip(noise, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture
def examples() -> tuple[Tensor, Tensor]:
    """Spots whose every plane stands out."""
    stream = torch.Generator().manual_seed(1)
    planes = torch.randint(-8, 9, (10, len(PLANES), 40, 40), generator=stream, dtype=torch.int8)
    labels = torch.zeros(10, 40, 40, dtype=torch.uint8)
    for number in range(10):
        top, left = (int(value) for value in torch.randint(0, 30, (2,), generator=stream))
        planes[number, :, top : top + 6, left : left + 6] += 60
        labels[number, top : top + 6, left : left + 6] = BLOTCH if number % 3 == 0 else DIRT
    return planes, labels


def test_examples_depend_on_number_and_seed_alone(photos: Path) -> None:
    material, settings = TrainingMaterial(photos), ExampleSettings(side=64)
    first, again = make_examples(material, 1, settings), make_examples(TrainingMaterial(photos), 1, settings)
    assert first.planes.shape[1:] == (len(PLANES), 64, 64)
    assert len(first.planes) == len(first.labels) >= 3
    assert np.array_equal(first.planes, again.planes) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.planes, make_examples(material, 2, settings).planes)


def test_examples_are_made_once(photos: Path, tmp_path: Path) -> None:
    settings = ExampleSettings(shots=1, hard_shots=1, side=32)
    paths = generate_examples(photos, tmp_path, settings)
    assert sorted(path.name for path in paths) == ["hard-00000.npz", "shot-00000.npz"]
    times = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in generate_examples(photos, tmp_path, settings)] == times
    planes, labels = load_examples(paths)
    assert len(planes) == len(labels) > 0
    with pytest.raises(SettingsError, match="other settings"):
        generate_examples(photos, tmp_path, ExampleSettings(shots=1, side=48))
    paths[0].write_bytes(b"damaged")
    with pytest.raises(FilmFileError, match="holds no examples"):
        load_examples(paths)


def test_bytes_hold_planes() -> None:
    planes = torch.linspace(-4.5, 4.5, 200)[None]
    assert (torch.from_numpy(to_bytes(planes)).float() / STEPS - planes).abs().max() <= 0.51 / STEPS


def test_labels_follow_what_can_be_seen() -> None:
    clean = torch.full((2, 3, 128, 128), 0.5)
    aged = simulate(
        clean,
        SimulationSettings(
            dirt=DirtModel(rate=20), blotches=BlotchModel(rate=4), textures=None,
        ).only("dirt", "blotches"),
        seed=3,
    )  # fmt: skip
    found = label(aged)
    change = (aged.frames - clean).abs().amax(1).numpy() * 255
    assert (found & DIRT).any() and (found & BLOTCH).any()
    assert (change[(found & (DIRT | BLOTCH)) > 0] > 4).all()
    assert (change[found == 0] < 8).all()
    assert not ((found & DIRT > 0) & (found & FAINT_DIRT > 0)).any()


def test_what_is_too_faint_counts_neither_way() -> None:
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, 0], labels[0, 1], labels[0, 2], labels[0, 3] = FAINT_DIRT, FAINT_BLOTCH, DIRT, BLOTCH
    dirt_loss(logits, labels, evidence=1.0).backward()
    assert logits.grad is not None
    dirt, blotch = logits.grad[0].abs().amax(-1)
    assert dirt[0] == 0 and dirt[3] == 0 and dirt[1] > 0 and dirt[2] > 0
    assert blotch[1] == 0 and blotch[2] == 0 and blotch[0] > 0 and blotch[3] > 0


def test_a_resumed_run_gives_the_same_weights(examples: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    class InterruptError(Exception):
        pass

    def stop(phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
        if done == 13:
            raise InterruptError

    whole, pieces = tmp_path / "whole.safetensors", tmp_path / "pieces.safetensors"
    train_dirt_network(*examples, whole, QUICK, TINY)
    with pytest.raises(InterruptError):
        train_dirt_network(*examples, pieces, QUICK, TINY, progress=stop)
    train_dirt_network(*examples, pieces, QUICK, TINY, resume=True)
    assert whole.read_bytes() == pieces.read_bytes()
    other = DirtTrainingSettings(steps=20, batch=2, side=32, held_out=0.2, seed=1)
    with pytest.raises(FilmFileError, match="other settings"):
        train_dirt_network(*examples, pieces, other, TINY, resume=True)
    pieces.with_suffix(".checkpoint").write_bytes(b"damaged")
    with pytest.raises(FilmFileError, match="not a checkpoint"):
        train_dirt_network(*examples, pieces, QUICK, TINY, resume=True)


def test_training_learns(examples: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    planes, labels = examples
    settings = DirtTrainingSettings(steps=60, batch=4, side=32, warmup=5, held_out=0.2, rate=1e-2, average=0.9)
    train_dirt_network(planes, labels, tmp_path / "network.safetensors", settings, TINY)
    network = KIND.load(tmp_path / "network.safetensors")
    found = torch.stack([network.probability(one.float() / STEPS).amax(0) for one in planes]) > 0.5
    assert (found == (labels > 0)).float().mean() > 0.97


def test_calibration_moves_the_operating_point(examples: tuple[Tensor, Tensor]) -> None:
    class Shifted(DirtNetwork):
        def forward(self, planes: Tensor) -> Tensor:
            return torch.stack([planes[:, 0] * 4 - 11, planes[:, 0] * 0 - 9], dim=1)

    planes, labels = examples
    assert calibrated(Shifted(TINY), planes, labels).config.offset[0] >= 0.5


def test_training_refuses_what_cannot_be(examples: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="squares"):
        train_dirt_network(*examples, tmp_path / "network.safetensors", DirtTrainingSettings(side=64), TINY)
    for wrong in ({"steps": 0}, {"side": 12}, {"rate": 0.0}, {"average": 1.0}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            DirtTrainingSettings(**wrong)  # type: ignore[arg-type]
    for wrong in ({"shots": 0}, {"side": 16}, {"clean_share": 0.6}, {"hard_shots": -1}):
        with pytest.raises(SettingsError):
            ExampleSettings(**wrong)  # type: ignore[arg-type]


def test_command(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "detector.safetensors"
    arguments = ["train", "dirt-detector", "--data", str(photos), "--out", str(out), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(app, [*arguments, "--shots", "1", "--hard-shots", "0", "--steps", "1"])
    assert result.exit_code == 0, result.output
    assert KIND.load(out).config == DirtNetworkConfig(offset=KIND.load(out).config.offset)

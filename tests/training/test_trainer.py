"""The trainer learns, stops anywhere, goes on bit for bit, and refuses checkpoints of other runs."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vldm_core.data.samples import NumberedSamples
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.training.checkpoints import newest_checkpoint
from vldm_core.training.settings import TrainerSettings
from vldm_core.training.trainer import Trainer, Validation, learning_rate

from .training_kit import StopError, stop_at


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.frozen


class Fit:
    """Fit a plane, with chance inside the step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module: Any = Line()
        self.validated: list[float] = []

    def loss(self, module: nn.Module, batch: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        noisy = batch + 0.01 * torch.randn(batch.shape)
        loss = (module(noisy) - wanted(batch)).square().mean()
        return loss, {"square": loss}

    def validate(self, module: nn.Module) -> Validation:
        assert not torch.is_grad_enabled()
        grid = torch.eye(3)
        error = float((module(grid) - wanted(grid)).abs().max())
        self.validated.append(error)
        return Validation(figures={"error": error}, pictures={"picture": torch.rand(3, 4, 4)})


def wanted(x: Tensor) -> Tensor:
    return x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.25


class Numbers(NumberedSamples[Tensor]):
    def __init__(self, batch: int = 4) -> None:
        super().__init__(seed=0, batch=batch)

    def sample(self, index: int) -> Tensor:
        return torch.randn(3, generator=torch.Generator().manual_seed(index))

    @property
    def start(self) -> int:
        return self.state_dict()["start"]


SETTINGS = TrainerSettings(
    steps=60, batch=4, accumulation=2, rate=0.2, warmup=5, average=0.9, checkpoint_every=10, validate_every=20, seed=3
)


def train(folder=None, settings: TrainerSettings = SETTINGS, **options) -> tuple[Fit, Numbers]:
    task, data = Fit(), Numbers()
    Trainer(task, data, settings, folder, description={"task": "line"}).run(**options)
    return task, data


def test_it_learns_and_records(tmp_path) -> None:
    task, data = train(tmp_path)
    assert task.validated[-1] < 0.05 < task.validated[0]
    assert len(task.validated) == 3
    assert data.start == 60 * 8
    assert not task.module.training
    assert torch.equal(task.module.frozen, torch.ones(1))
    (record,) = (tmp_path / "record").iterdir()
    assert record.stat().st_size > 500


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path) -> None:
    whole, _ = train()
    with pytest.raises(StopError):
        train(tmp_path, progress=stop_at(37))
    resumed, data = train(tmp_path, resume=True)
    assert data.start == 60 * 8
    for key, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[key])
    again, _ = train(tmp_path / "none", resume=True)
    assert torch.equal(again.module.layer.weight, whole.module.layer.weight)


def test_one_checkpoint_is_kept_and_a_new_run_removes_it(tmp_path) -> None:
    with pytest.raises(StopError):
        train(tmp_path, progress=stop_at(37))
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-000030"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert {path.name for path in (tmp_path / "step-000030").iterdir()} >= {
        "model.safetensors",
        "model_1.safetensors",
        "optimizer.bin",
        "scheduler.bin",
        "run.json",
    }
    # What a run has left that was killed while it wrote is removed, too.
    (tmp_path / ".unfinished-step-000040").mkdir()
    with pytest.raises(StopError):
        train(tmp_path, progress=stop_at(3))
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_checkpoint_leaves_out_what_is_not_trained(tmp_path) -> None:
    class Large(Fit):
        def __init__(self, frozen: float) -> None:
            super().__init__()
            self.module.frozen = nn.Parameter(torch.full((1,), frozen), requires_grad=False)

    def run(task: Fit, **options) -> None:
        Trainer(task, Numbers(), SETTINGS, tmp_path).run(**options)

    with pytest.raises(StopError):
        run(Large(1.0), progress=stop_at(30))
    stored = load_file(tmp_path / "step-000030" / "model.safetensors")
    assert sorted(stored) == ["layer.bias", "layer.weight"]
    resumed = Large(1.0)
    run(resumed, resume=True)
    whole = Large(1.0)
    Trainer(whole, Numbers(), SETTINGS).run()
    assert torch.equal(whole.module.layer.weight, resumed.module.layer.weight)


def test_a_second_training_may_have_another_precision() -> None:
    settings = replace(SETTINGS, steps=3)
    for precision in ("bf16", "no", "bf16"):
        task = Fit()
        module = Trainer(task, Numbers(), replace(settings, precision=precision)).run()
        # What comes back works in float32, without what accelerate wraps around it.
        assert module is task.module and "_original_forward" not in vars(module)
        assert torch.equal(module(torch.eye(3)), task.module.layer(torch.eye(3)))


def test_the_learning_rate_rises_and_falls() -> None:
    settings = TrainerSettings(steps=60, rate=0.2, final_rate=1e-6, warmup=5)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=settings.rate)
    schedule = learning_rate(optimiser, settings)
    rates = []
    for _ in range(60):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    assert rates[:6] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2, 0.2])
    cosine = [1e-6 + (0.2 - 1e-6) * 0.5 * (1 + math.cos(math.pi * step / 55)) for step in range(55)]
    assert rates[5:] == pytest.approx(cosine)
    assert schedule.get_last_lr()[0] == pytest.approx(1e-6)


def test_a_damaged_checkpoint_is_named(tmp_path) -> None:
    train(tmp_path, replace(SETTINGS, steps=20))
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    for name in ("optimizer.bin", "model.safetensors", "run.json"):
        whole = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SettingsError, match="step-000020 is not a checkpoint of this training"):
            train(tmp_path, replace(SETTINGS, steps=20), resume=True)
        (checkpoint / name).write_bytes(whole)
    train(tmp_path, replace(SETTINGS, steps=20), resume=True)


def test_accumulation_is_one_large_batch() -> None:
    class Plain(Fit):
        def loss(self, module, batch):
            loss = (module(batch) - wanted(batch)).square().mean()
            return loss, {}

    results = []
    for batch, accumulation in ((8, 1), (4, 2)):
        task = Plain()
        settings = replace(SETTINGS, batch=batch, accumulation=accumulation, steps=5)
        Trainer(task, Numbers(batch), settings).run()
        results.append(task.module.layer.weight)
    assert torch.allclose(results[0], results[1], atol=1e-5)


def test_a_checkpoint_of_another_run_is_refused(tmp_path) -> None:
    train(tmp_path, replace(SETTINGS, steps=20))
    with pytest.raises(SettingsError, match="settings differ"):
        train(tmp_path, replace(SETTINGS, steps=20, rate=0.01), resume=True)
    # How often something is written makes no other run.
    train(tmp_path, replace(SETTINGS, steps=20, checkpoint_every=3), resume=True)
    task = Fit()
    with pytest.raises(SettingsError, match="task differ"):
        Trainer(task, Numbers(), replace(SETTINGS, steps=20), tmp_path, description={"task": "curve"}).run(resume=True)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path) -> None:
    class Broken(Fit):
        def loss(self, module, batch):
            return module(batch).mean() * torch.nan, {}

    with pytest.raises(VLDMError, match="loss is nan at step 1"):
        Trainer(Broken(), Numbers(), SETTINGS, tmp_path).run()
    assert newest_checkpoint(tmp_path) is None


def test_settings_are_checked() -> None:
    for wrong in (
        {"steps": 0},
        {"workers": -1},
        {"rate": 0.0},
        {"average": 1.0},
        {"precision": "int8"},
        {"betas": (0.9, 1.0)},
        {"final_rate": 1.0},
    ):
        with pytest.raises(SettingsError):
            TrainerSettings(**wrong)
    task = Fit()
    task.module.requires_grad_(False)
    with pytest.raises(SettingsError, match="nothing to train"):
        Trainer(task, Numbers(), SETTINGS)
    with pytest.raises(SettingsError, match="blocks of 2"):
        Trainer(Fit(), Numbers(2), SETTINGS)

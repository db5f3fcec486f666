"""The trainer learns, stops anywhere, goes on bit for bit, and refuses checkpoints of other runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from vldm_core.errors import SettingsError, VLDMError
from vldm_core.training.trainer import Trainer, TrainerSettings, Validation


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


class Numbers(IterableDataset):
    def __init__(self) -> None:
        self.start = 0

    def __iter__(self):
        index = self.start
        while True:
            yield torch.randn(3, generator=torch.Generator().manual_seed(index))
            index += 1

    def advance(self, samples: int) -> None:
        self.start += samples

    def state_dict(self) -> dict[str, int]:
        return {"start": self.start}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.start = state["start"]


SETTINGS = TrainerSettings(
    steps=60, batch=4, accumulation=2, rate=0.2, warmup=5, average=0.9, checkpoint_every=10, validate_every=20, seed=3
)


def train(folder=None, settings: TrainerSettings = SETTINGS, **options) -> tuple[Fit, Numbers]:
    task, data = Fit(), Numbers()
    Trainer(task, data, settings, folder, description={"task": "line"}).run(**options)
    return task, data


class StopError(Exception):
    pass


def stop_at(step: int):
    def progress(phase, done, total, preview=None) -> None:
        if done == step:
            raise StopError

    return progress


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


def test_accumulation_is_one_large_batch() -> None:
    class Plain(Fit):
        def loss(self, module, batch):
            loss = (module(batch) - wanted(batch)).square().mean()
            return loss, {}

    results = []
    for batch, accumulation in ((8, 1), (4, 2)):
        task = Plain()
        settings = replace(SETTINGS, batch=batch, accumulation=accumulation, steps=5)
        Trainer(task, Numbers(), settings).run()
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
    assert not (tmp_path / "state.pt").exists()


def test_settings_are_checked() -> None:
    assert SETTINGS.rate_at(0) == pytest.approx(0.04) and SETTINGS.rate_at(5) == pytest.approx(0.2)
    assert SETTINGS.rate_at(60) == pytest.approx(1e-6)
    for wrong in ({"steps": 0}, {"workers": -1}, {"rate": 0.0}, {"average": 1.0}, {"precision": "int8"}):
        with pytest.raises(SettingsError):
            TrainerSettings(**wrong)
    task = Fit()
    task.module.requires_grad_(False)
    with pytest.raises(SettingsError, match="nothing to train"):
        Trainer(task, Numbers(), SETTINGS)

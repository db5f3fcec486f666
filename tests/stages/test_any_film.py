"""Every film stage does any film of any size, without an error, a NaN or a warning of NumPy or torch.

Sizes from 1 to 200, contents and masks of every kind. `VLDM_FUZZ=300` makes so many films per stage instead of the few
that the suite has time for.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vldm_core.ageing import SimulationSettings, simulate
from vldm_core.decode.colour import ColourSettings, match_colour
from vldm_core.decode.regrain import RegrainSettings, regrain
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.fill.repair import DirtRepairSettings
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.masks import MaskEdit, edit_mask
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.film.scratches.repair.repair import ScratchRepairSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.semantics.describe import describe_shots
from vldm_core.stages import batch as pipeline
from vldm_core.video.shots import Shot

from ..prerestore.test_network import TINY, trained

EXAMPLES = int(os.environ.get("VLDM_FUZZ", "0"))
CONTENTS = (
    "flat",
    "black",
    "white",
    "noise",
    "alternating",
    "texture",
    "pan",
    "gradient",
    "clipped",
    "points",
    "scratched",
    "mixed",
)
MASKS = ("empty", "full", "noise", "lines", "two lines", "blobs", "frames", "soft")


def quickly(examples: int):
    """Few films in the suite, many when they are asked for."""
    return settings(
        max_examples=EXAMPLES or examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@contextmanager
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("error")
        yield


@st.composite
def films(
    draw: st.DrawFn,
    *,
    most: int = 9,
    smallest: int = 1,
    largest: int = 200,
    contents: tuple[str, ...] = CONTENTS,
) -> torch.Tensor:
    """(T, 3, H, W) of some kind."""
    # Sides beyond the reach of filters and windows, and far below it.
    reaches = (min(12, largest), min(72, largest), largest)
    side = st.one_of(*(st.integers(smallest, max(smallest, reach)) for reach in reaches))
    height, width, count = draw(side), draw(side), draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(contents))
    grey = draw(st.booleans())
    frames = np.stack([_picture(kind, t, count, height, width, rng) for t in range(count)])
    if not grey:
        frames = frames * rng.uniform(0.3, 1, (1, 3, 1, 1))
    frames = np.broadcast_to(frames, (count, 3, height, width)).clip(0, 1)
    return torch.from_numpy(np.round(frames * 255).astype(np.float32) / 255)


def _picture(kind: str, t: int, count: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(1, H, W), 0 … 1."""
    if kind == "mixed":
        kind = CONTENTS[int(rng.integers(len(CONTENTS) - 1))]
    if kind in ("black", "white"):
        return np.full((1, height, width), float(kind == "white"))
    if kind == "alternating":
        return np.full((1, height, width), float(t % 2))
    if kind == "noise":
        return rng.random((1, height, width))
    if kind == "flat":
        return np.full((1, height, width), 0.4) + rng.normal(0, 0.01 * (count % 2), (1, height, width))
    if kind == "points":
        return (rng.random((1, height, width)) > 0.98).astype(float)
    y, x = np.mgrid[:height, :width]
    if kind == "scratched":
        # Lines that stay where they are, two of them close together and one at the border.
        pan = 0.5 + 0.2 * np.sin((x + 2.3 * t) / 5) * np.cos(y / 6) + rng.normal(0, 0.02, x.shape)
        for place in (width // 3, width // 3 + 4 + 8 * (t % 2), width - 3):
            pan[:, max(0, place) : place + 2] += 0.15
        return pan[None]
    if kind == "gradient":
        return (x / max(width - 1, 1) + 0.1 * t)[None] % 1.0
    shift = t * 1.7 if kind == "pan" else 0.0
    wave = 0.5 + 0.4 * np.sin((x + shift) / 3.1) * np.cos(y / 4.3 + 0.2 * np.sin(x / 7)) + rng.normal(0, 0.01, x.shape)
    return ((wave > 0.5).astype(float) if kind == "clipped" else wave * (1 + 0.1 * (-1) ** t))[None]


@st.composite
def masks(draw: st.DrawFn, frames: torch.Tensor) -> torch.Tensor:
    """(T, H, W) of some kind."""
    count, _, height, width = frames.shape
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(MASKS))
    mask = np.zeros((count, height, width), np.float32)
    if kind == "full":
        mask[:] = 1
    elif kind in ("noise", "soft"):
        mask = rng.random(mask.shape).astype(np.float32)
        mask = mask if kind == "soft" else (mask > draw(st.sampled_from([0.3, 0.9, 0.99]))).astype(np.float32)
    elif kind in ("lines", "two lines"):
        place, wide = int(rng.integers(width)), int(rng.integers(1, 6))
        for t in range(count):
            mask[t, :, place + t % 2 : place + t % 2 + wide] = 1
            if kind == "two lines":
                apart = wide + int(rng.integers(1, 8))
                mask[t, :, place + apart : place + apart + wide] = 1
    elif kind == "blobs":
        for t in range(count):
            for _ in range(3):
                y, x, size = int(rng.integers(height)), int(rng.integers(width)), int(rng.integers(1, 40))
                mask[t, y : y + size, x : x + size] = 1
    elif kind == "frames":
        mask[rng.random(count) > 0.5] = 1
    return torch.from_numpy(mask)


def shots_of(draw: Callable[..., Any], count: int) -> tuple[Shot, ...] | None:
    if count < 2 or draw(st.booleans()):
        return None
    cut = draw(st.integers(1, count - 1))
    return Shot(0, cut), Shot(cut, count)


def check_pictures(made: torch.Tensor, frames: torch.Tensor) -> None:
    assert made.shape == frames.shape
    assert bool(torch.isfinite(made).all())
    assert float(made.min()) >= 0 and float(made.max()) <= 1


@quickly(30)
@given(st.data())
@pytest.mark.parametrize("kind", ["dirt", "scratch", "both"])
def test_repair(kind: str, data: st.DataObject) -> None:
    frames = data.draw(films())
    given_masks: dict[str, Any] = {
        name: data.draw(masks(frames)) for name in ("dirt", "scratch") if kind in (name, "both")
    }
    how: dict[str, Any] = {
        "dirt_settings": DirtRepairSettings(
            feather=data.draw(st.sampled_from([0.0, 3.0])), grain=data.draw(st.sampled_from([0.0, 1.0]))
        ),
        "scratch_settings": ScratchRepairSettings(rows=data.draw(st.sampled_from([8, 40, 400]))),
    }
    with no_warning():
        made = pipeline.repair_damage(frames, **given_masks, shots=shots_of(data.draw, len(frames)), **how, strict=True)
    check_pictures(made, frames)
    free = ~torch.stack([mask > 0.5 for mask in given_masks.values()]).any(0)
    assert torch.equal(made.movedim(1, -1)[free], frames.movedim(1, -1)[free])


@quickly(20)
@given(st.data())
@pytest.mark.parametrize("detector", ["learned", "weight-free"])
def test_detection(detector: Any, data: st.DataObject) -> None:
    # Scratches are looked for in eight frames or more.
    frames = data.draw(films(most=14, largest=120))
    dirt = DirtSettings(
        polarity=data.draw(st.sampled_from(["both", "bright", "dark"])),
        lifetime=data.draw(st.integers(1, 3)),
    )
    lines = ScratchSettings(detector=detector, locked_shots=data.draw(st.sampled_from(["off", "cautious", "on"])))
    wanted: dict[str, Any] = {
        "dirt": data.draw(st.sampled_from([dirt, dirt, None])),
        "lines": data.draw(st.sampled_from([lines, lines, None])),
    }
    shots = shots_of(data.draw, len(frames))
    with no_warning():
        found = pipeline.detect_damage(frames, **wanted, shots=shots, strict=True)
        judged = pipeline.damage_probability(frames, **wanted, shots=shots, strict=True)
    for plane in (found.dirt, found.scratch, judged.dirt, judged.scratch):
        assert plane.shape == (len(frames), *frames.shape[-2:])
        assert bool(torch.isfinite(plane).all()) and float(plane.min()) >= 0 and float(plane.max()) <= 1


@quickly(6)
@given(st.data())
@pytest.mark.parametrize("detector", ["learned", "weight-free"])
def test_scratches_of_longer_films(detector: Any, data: st.DataObject) -> None:
    frames = data.draw(films(most=60, largest=48, contents=("scratched", "pan", "mixed", "alternating", "noise")))
    # As little as a line can be.
    lines = ScratchSettings(detector=detector, sensitivity=10.0, min_depth=0.0, locked_shots="on", certainty=0.1)
    with no_warning():
        found = pipeline.detect_damage(frames, lines=lines, strict=True)
        made = pipeline.repair_damage(frames, scratch=found.scratch, strict=True)
        judged = pipeline.damage_probability(frames, lines=lines, strict=True)
    assert bool(torch.isfinite(judged.scratch).all())
    check_pictures(made, frames)


@quickly(30)
@given(st.data())
@pytest.mark.parametrize("stage", ["flicker", "stabilise", "shots", "pre-restoration"])
def test_whole_pictures(stage: str, data: st.DataObject) -> None:
    frames = data.draw(films(most=14, largest=64 if stage == "pre-restoration" else 200))
    shots = shots_of(data.draw, len(frames))
    with no_warning():
        if stage == "flicker":
            how = FlickerSettings(spatial=data.draw(st.booleans()), period=data.draw(st.sampled_from([4.0, 24.0])))
            made = pipeline.remove_flicker(frames, shots=shots, settings=how, strict=True)
        elif stage == "stabilise":
            move = StabiliseSettings(least_weave=data.draw(st.sampled_from([0.0, 0.08])))
            made = pipeline.stabilise(frames, shots=shots, settings=move, strict=True)
        elif stage == "shots":
            found = pipeline.detect_shots_in(frames, strict=True)
            assert [shot.first for shot in found] == [0, *(shot.last for shot in found[:-1])]
            assert found[-1].last == len(frames)
            made = frames
        else:
            network = trained(replace(TINY, latent=data.draw(st.booleans())))
            restoration = PreRestoration(segment=data.draw(st.integers(1, 5)), lookahead=data.draw(st.integers(0, 3)))
            mask = data.draw(masks(frames))
            made, _ = pipeline.pre_restore_frames(
                frames, dirt=mask, shots=shots, settings=restoration, network=network, strict=True
            )
    check_pictures(made, frames)


@quickly(20)
@given(st.data())
@pytest.mark.parametrize("stage", ["key frames", "grain", "colour", "mask", "simulate"])
def test_what_goes_with_restoring(stage: str, data: st.DataObject) -> None:
    # The simulation says what it needs.
    frames = data.draw(films(most=6, smallest=16 if stage == "simulate" else 1, largest=100))
    shots = shots_of(data.draw, len(frames))
    made = frames
    with no_warning():
        if stage == "key frames":
            table = describe_shots(frames, shots, masks=data.draw(masks(frames)))
            assert all(described.key_frames for described in table)
        elif stage == "grain":
            made = regrain(frames.roll(1, 0), frames, RegrainSettings(seed=3), shots=shots)
        elif stage == "colour":
            method: Any = data.draw(st.sampled_from(["wavelet", "adain", "lab"]))
            statistics: Any = data.draw(st.sampled_from(["shot", "frame"]))
            made = match_colour(
                frames.flip(0), frames, ColourSettings(method=method, statistics=statistics), shots=shots
            )
        elif stage == "mask":
            edit = MaskEdit(
                min_size=data.draw(st.integers(0, 9)),
                fill_holes=data.draw(st.booleans()),
                grow=data.draw(st.integers(-5, 20)),
                hold=data.draw(st.integers(0, 3)),
                feather=data.draw(st.sampled_from([0.0, 4.0])),
            )
            mask = data.draw(masks(frames))
            made = edit_mask(mask, edit)[:, None].expand(-1, 3, -1, -1)
        else:
            preset = data.draw(st.sampled_from(["light", "heavy", "1900s", "8mm amateur"]))
            made = simulate(frames, SimulationSettings.preset(preset), seed=data.draw(st.integers(0, 99))).frames
    check_pictures(made, frames)

"""What controls cost by arithmetic, at full size and without memory: as their page says, no more than the originals."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sampler.variants import CONTROLS, VARIANTS
from tests.conftest import ROOT
from tests.manifests import manifest
from vldm_core.prior.controls.control import ControlSystem, RestorationControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.reading import FORMATS
from vldm_core.prior.controls.settings import ControlSettings

from .oracle_unets import run

SIDE = 64
FILES = {
    "DiffBIR": (("diffbir_controlnet_v2",),),
    "PASD": (("pasd_controlnet",), ("pasd_unet_extra",)),
    "PASD light": (("pasd_light_controlnet",), ("pasd_light_unet_extra",)),
    "SeeSR": (("seesr_controlnet",), ("seesr_unet_extra",)),
    "StableSR": (("stablesr_structcond", "stablesr_spade"),),
    "CoSeR": (("coser_tianhewu_structcond", "coser_tianhewu_aia_unet_extra"),),
}
"""Manifests of each part that a system needs."""
TOKENS = {"SeeSR": (145, 512), "CoSeR": (50, 1024)}
SIZES: dict[str, dict[str, Any]] = {
    "sd1": {"cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
}


def empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def full_size(name: str) -> ControlSystem:
    (known,) = [known for known in FORMATS if known.system == name]
    needed = [part.name for part in known.parts if not part.optional]
    parts: dict[str, Mapping[str, Tensor]] = {}
    for part, names in zip(needed, FILES[name], strict=True):
        parts[part] = {key: empty(*shape) for file in names for key, shape in manifest(file).items()}
    with torch.device("meta"):
        return known.build(parts, None)


def inputs_of(family: str) -> tuple[Tensor, Tensor, Tensor]:
    return empty(1, 4, SIDE, SIDE), empty(1), empty(1, 77, SIZES[family]["cross_attention_dim"])


@cache
def unet_of(family: str) -> tuple[Any, int]:
    """The UNet of a family, and what a pass of it costs alone."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**SIZES[family]).eval()
    return unet, operations(lambda: unet(*inputs_of(family)))


def operations(run_it: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run_it()
    return counter.get_total_flops()


def page_rows() -> dict[str, list[str]]:
    section = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8").split("\n## Cost\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", section, re.M)[2:]]
    return {row[0]: row[1:] for row in rows}


def test_every_known_system_is_counted() -> None:
    assert [known.system for known in FORMATS] == list(FILES) == list(page_rows())


@pytest.mark.parametrize(("variant", "name", "family"), CONTROLS, ids=[name for _, name, _ in CONTROLS])
def test_a_pass_costs_what_the_page_says_and_no_more_than_the_original(variant: str, name: str, family: str) -> None:
    system, (unet, plain) = full_size(name), unet_of(family)
    x, time, text = inputs_of(family)
    hint = empty(1, 4, SIDE, SIDE) if system.hint == "latent" else empty(1, 3, 8 * SIDE, 8 * SIDE)
    tokens = empty(1, *TOKENS[name]) if name in TOKENS else None
    reference = empty(1, 4, SIDE, SIDE) if system.takes_reference != "none" else None
    material = ControlMaterial(hint=hint, tokens=tokens, reference=reference)
    control = RestorationControl(system, material, ControlSettings(reuse=2))
    looking, resting = (
        operations(lambda sigma=sigma: run(unet, x, time, text, control, call={"sigma": sigma})) for sigma in (2, 1)
    )

    def over(reuse: int) -> float:
        """Return what a pass costs over that of the UNet alone, in the mean of the steps that one look serves."""
        return (looking + (reuse - 1) * resting) / (reuse * plain)

    whole, half = over(1), over(2)
    target, reused = VARIANTS[variant].target, VARIANTS[f"{variant}_reused"]
    assert target is not None
    assert whole <= target + 5e-4
    thrifty = over(reused.reuse)
    assert thrifty <= 1.2
    millions = sum(parameter.numel() for parameter in system.parameters()) / 1e6
    said = page_rows()[name]
    assert said[0] == f"{millions:.0f} M"
    assert said[3] == str(reused.reuse)
    # The tables of the benchmark and of the page are rounded to three places.
    for wanted, found in zip((said[1], said[2], said[4]), (whole, half, thrifty), strict=True):
        assert abs(float(wanted) - found) <= 1.5e-3

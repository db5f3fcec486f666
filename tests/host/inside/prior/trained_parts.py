"""What the training commands wrote, in the host and headlessly, on the model that it was trained on."""

from pathlib import Path
from typing import Any

import comfy.sd
import torch
from diffusers import UNet2DConditionModel
from inside.models import model_of
from inside.prior.headless import headless
from inside.sampling import SCALE, conditioning, random, sample
from pack.nodes.host.prior.attachments import view_of, with_attachment
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.reading import read_control
from pack.vldm_core.prior.pipeline import VideoRestorationPipeline
from pack.vldm_core.prior.temporal.files import read_temporal_layers
from pack.vldm_core.prior.unet import UNetView
from safetensors.torch import load_file

FRAMES, STEPS, HEADS = 4, 2, (4, 4)
NOISE, LATENT, HINT = (random(FRAMES, 4, 8, 8, seed=seed) for seed in (1, 5, 6))


def compare(folder: str, parts: str) -> None:
    """Sample in both hosts with some parts.

    Args:
        folder: With `model` in diffusers' layout, `temporal.safetensors`, `control.safetensors` and `lora.safetensors`.
        parts: Their names, with commas between them.

    Raises:
        AssertionError: The hosts do not agree, or the parts do nothing.
    """
    place, names = Path(folder), tuple(parts.split(","))
    unet = UNet2DConditionModel.from_pretrained(place / "model" / "unet", local_files_only=True).eval()
    model = model_of(unet)
    plain, found = _sampled(model), _sampled(_in_the_host(model, place, names))
    wanted = _headlessly(model, unet, place, names)
    apart, done = (float((found - other).abs().max()) * SCALE for other in (wanted, plain))
    assert apart < 1e-4, f"the hosts are {apart:.2g} apart"
    assert done > 1e-2, f"the parts change no more than {done:.2g}"


def _sampled(model: Any) -> torch.Tensor:
    return sample(model, conditioning(), conditioning(seed=3), NOISE, LATENT, steps=STEPS)


def _control(place: Path) -> RestorationControl:
    return RestorationControl(read_control([place / "control.safetensors"], heads=HEADS), ControlMaterial(hint=HINT))


def _in_the_host(model: Any, place: Path, parts: tuple[str, ...]) -> Any:
    if "lora" in parts:
        model = comfy.sd.load_lora_for_models(model, None, load_file(place / "lora.safetensors"), 1.0, 0.0)[0]
    if "control" in parts:
        model = with_attachment(model, _control(place), "control", whole_picture=True)
    if "temporal" in parts:
        layers = read_temporal_layers(place / "temporal.safetensors", view_of(model))
        model = with_attachment(model, layers, "temporal")
    return model


def _headlessly(model: Any, unet: Any, place: Path, parts: tuple[str, ...]) -> torch.Tensor:
    view, joined = UNetView(unet), []
    if "control" in parts:
        joined.append(_control(place))
    if "temporal" in parts:
        joined.append(read_temporal_layers(place / "temporal.safetensors", view))
    if "lora" in parts:
        # As the pipeline's own `load_lora_weights` does it.
        weights, alphas = VideoRestorationPipeline.lora_state_dict(
            str(place), weight_name="lora.safetensors", unet_config=unet.config, local_files_only=True
        )
        VideoRestorationPipeline.load_lora_into_unet(weights, network_alphas=alphas, unet=unet)
    for part in joined:
        part.attach(view)
    ends = conditioning(), conditioning(seed=3)
    return headless(model, unet, "eps", *ends, NOISE, LATENT, steps=STEPS, attachments=joined)

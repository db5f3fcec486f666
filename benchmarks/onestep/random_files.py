"""Published files of one-step restorers for networks of any size, with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vldm_core.prior.checkpoints.inspection import one_step_keys as keys
from vldm_core.prior.onestep.dloral.retrieval import FrameRetrieval
from vldm_core.prior.onestep.networks import shapes_of, unet_layers, vae_layers
from vldm_core.prior.unet import UNetView

Shape = tuple[int, ...]
SYSTEMS = ("osediff", "pisasr", "s3diff", "hypir", "dloral")


def tables_for(name: str, unet: Mapping[str, Shape], vae: Mapping[str, Shape]) -> dict[str, dict[str, Shape]]:
    """Shapes of the entries of a system's file; HYPIR's one is called ""."""
    side, later = keys.side_of, lambda layer: () if layer == "conv_in" else ("default",)
    if name == "osediff":
        first = {f"conv_in.base_layer.{kind}": unet[f"conv_in.{kind}"] for kind in ("weight", "bias")}
        return {
            "state_dict_unet": first | keys.adapters(unet, 4, lambda layer: (f"default_{side(layer)}",)),
            "state_dict_vae": keys.adapters(vae, 4, lambda _: ("default_encoder",)),
        }
    if name == "pisasr":
        both = keys.adapters(unet, 4, lambda layer: tuple(f"default_{side(layer)}_{which}" for which in ("pix", "sem")))
        return {"state_dict_unet": both}
    if name == "hypir":
        return {"": keys.adapters(unet, 256, later)}
    if name == "s3diff":
        first = {f"conv_in.{kind}": unet[f"conv_in.{kind}"] for kind in ("weight", "bias")}
        encoder = {key: shape for key, shape in vae.items() if key.startswith("encoder.")}
        found = {
            "state_dict_unet": first | keys.adapters(unet, 32, later),
            "state_dict_vae": keys.adapters(encoder, 16, lambda _: ("vae_skip",)),
        }
        for key, shape in keys.s3diff_steering().items():
            entry, _, rest = key.rpartition(".") if key == "w" else _parted(key)
            found.setdefault(entry, {})[rest] = shape
        return found
    wide = {**unet, "conv_in.weight": (unet["conv_in.weight"][0], 8, 3, 3)}
    layers = set(keys.adapted(wide))
    own = {}
    for key, shape in wide.items():
        layer, _, kind = key.rpartition(".")
        own[f"{layer}.base_layer.{kind}" if layer in layers else key] = shape
    names = ("quality", "consistency")
    own |= keys.adapters(wide, 4, lambda layer: tuple(f"default_{side(layer)}_{which}" for which in names))
    return {"state_dict_unet": own, "state_dict_bpp": {}}


def _parted(key: str) -> tuple[str, str, str]:
    if key.startswith("state_embeddings."):
        _, entry, rest = key.split(".", 2)
        return f"state_embeddings/{entry}", ".", rest
    entry, rest = key.split(".", 1)
    return entry, ".", rest


def random_contents(
    name: str, unet: nn.Module, vae: nn.Module, *, seed: int = 5, strength: float = 0.3
) -> dict[str, Any]:
    """Return what a system's file holds for networks of any size.

    Args:
        name: "osediff", "pisasr", "s3diff", "hypir" or "dloral".
        unet: diffusers' UNet; what a file takes over of it has its values.
        vae: diffusers' VAE.
        seed: Of the values.
        strength: How far adapters are from nothing.
    """
    layers = shapes_of(unet_layers(UNetView(unet)))
    return contents_of_shapes(
        name, layers, shapes_of(vae_layers(vae)), own=unet.state_dict(), seed=seed, strength=strength
    )


def contents_of_shapes(
    name: str,
    unet: Mapping[str, Shape],
    vae: Mapping[str, Shape],
    *,
    own: Mapping[str, Tensor] | None = None,
    seed: int = 5,
    strength: float = 0.3,
) -> dict[str, Any]:
    """Return what a system's file holds for networks of which the shapes are known.

    Args:
        name: See :func:`random_contents`.
        unet: Shapes of the UNet, by diffusers' keys.
        vae: Shapes of the VAE's encoder and the convolution behind it.
        own: Tensors of the UNet that the file takes over; those that are not there are random.
        seed: Of the values.
        strength: How far adapters are from nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    held = own or {}

    def made(key: str, shape: Shape) -> Tensor:
        plain = key.replace(".base_layer.", ".")
        if plain in held and ".lora_" not in key:
            if tuple(held[plain].shape) == tuple(shape):
                return held[plain].detach().clone()
            # DLoRAL's first convolution: the frame itself as the model's own reads it, and nothing of the one before.
            return torch.cat((torch.zeros_like(held[plain]), held[plain].detach()), dim=1)
        fan = max(1, torch.Size(shape[1:]).numel())
        return torch.randn(shape, generator=generator) * (strength * fan**-0.5)

    found: dict[str, Any] = {}
    for entry, table in tables_for(name, unet, vae).items():
        tensors = {key: made(key, tuple(shape)) for key, shape in table.items()}
        if entry == "":
            found |= tensors
        elif "/" in entry:
            outer, inner = entry.split("/")
            found.setdefault(outer, {})[inner] = tensors
        else:
            found[entry] = tensors
    if name == "dloral":
        torch.manual_seed(seed)
        found["state_dict_bpp"] = FrameRetrieval().state_dict()
    return found


def random_file(name: str, unet: nn.Module, vae: nn.Module, folder: Path, **how: Any) -> Path:
    """Write the file of a system; see :func:`random_contents`."""
    path = folder / f"{name}.pkl"
    torch.save(random_contents(name, unet, vae, **how), path)
    return path

"""Keys of the host's models: what a result depends on, so that one that was kept is taken by the same graph only.

The host gives patched models a random mark, which is another one after every start. Here a model is told by its
weights, by the tensors that are patched into them and live beside them, and by the part of the graph that has made
it: names, numbers and choices of every node before. So the graph tells what those patches are that have no weights.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfyui_version import __version__ as host_version
from torch import Tensor, nn

from ....vldm_core.reel.resumable.keys import key_of, sampled_tensors_key

_DEEPEST = 12
"""Levels of objects in objects that are looked through for tensors; conditionings and LoRAs have about four."""


def graph_key(find: Callable[[str], Mapping[str, Any]], links: Sequence[Any]) -> str:
    """Return the key of the part of a graph that leads to some inputs; the numbers of its nodes do not count.

    Args:
        find: Returns a node by its number, with "class_type" and "inputs" as a prompt has them.
        links: What stands at the inputs: [number, output] for a link.
    """
    known: dict[str, str] = {}

    def of(value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str) and _is_place(value[1]):
            return [node(value[0]), value[1]]
        return repr(value)

    def node(number: str) -> str:
        if number not in known:
            # The host refuses circles; a key has to end nevertheless.
            known[number] = ""
            told = find(number)
            inputs = {name: of(value) for name, value in told["inputs"].items()}
            known[number] = key_of(kind=told["class_type"], inputs=inputs)
        return known[number]

    return key_of(links=[of(link) for link in links], host=host_version)


def _is_place(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def model_key(model: ModelPatcher) -> str:
    """Return the key of a MODEL: its weights as they were before patches, and the tensors of the patches.

    Of every tensor a few values are read, so it takes well below a second for Stable Diffusion; whoever trains a
    network further, or merges it, changes nearly all of them.
    """
    beside = [one.model for models in model.additional_models.values() for one in models]
    # Attachments that share their weights hold numbers of their own.
    held = [value for value in model.attachments.values() if isinstance(value, nn.Module)]
    return key_of(
        kind=type(model.model).__name__,
        weights=sampled_tensors_key(_unpatched(model)),
        patches={name: described(patches, sampled=True) for name, patches in model.patches.items()},
        beside=[[type(module).__name__, sampled_tensors_key(module.state_dict())] for module in [*beside, *held]],
        objects=sorted(model.object_patches),
    )


def vae_key(vae: Any) -> str:
    """Return the key of a VAE."""
    return key_of(
        kind=type(vae.first_stage_model).__name__,
        weights=sampled_tensors_key(_unpatched(vae.patcher)),
        patches={name: described(patches, sampled=True) for name, patches in vae.patcher.patches.items()},
    )


def _unpatched(model: ModelPatcher) -> dict[str, Tensor]:
    """The weights of a model as its file has them, whether its patches are in them just now or not."""
    weights = dict(model.model.state_dict())
    for name, kept in model.backup.items():
        if name in weights:
            weights[name] = kept.weight
    return weights


def described(value: Any, *, sampled: bool = False, depth: int = 0) -> Any:
    """Return what a conditioning, a patch or another object of the host holds, as JSON has it.

    Functions and objects without tensors are told by their names alone: which ones they are, the graph says.

    Args:
        value: The object.
        sampled: Whether its tensors are weights, of which a few values are read; of others all are.
        depth: Levels of objects around it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return sampled_tensors_key({"": value}) if sampled else _whole(value)
    if isinstance(value, ModelPatcher):
        return model_key(value)
    if isinstance(value, nn.Module):
        return [type(value).__name__, sampled_tensors_key(value.state_dict())]
    name = type(value).__qualname__
    if depth > _DEEPEST:
        return name

    def inner(each: Any) -> Any:
        return described(each, sampled=sampled, depth=depth + 1)

    if isinstance(value, Mapping):
        return {str(key): inner(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [inner(each) for each in value]
    if hasattr(value, "previous_controlnet"):
        # Of what changes while a ControlNet runs nothing counts.
        return [name, {key: inner(getattr(value, key, None)) for key in _OF_CONTROLS}]
    weights = getattr(value, "weights", None)
    return name if weights is None else [name, inner(weights)]


_OF_CONTROLS = (
    "strength", "timestep_percent_range", "cond_hint_original", "extra_concat_orig", "control_model",
    "previous_controlnet",
)  # fmt: skip


def _whole(value: Tensor) -> str:
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(f"{value.dtype} {tuple(value.shape)}".encode() + flat.numpy().tobytes()).hexdigest()

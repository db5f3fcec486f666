"""The files of the workflows of restoration systems, in their published layouts and under their published names.

They fit the small checkpoints of `inside.checkpoint`: every level 320 wide, with one residual block.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.onestep.random_files import contents_of_shapes
from vldm_core.decode.wrapping.network import FeatureWrapping
from vldm_core.prior.checkpoints.inspection.vae_keys import encoder_shapes
from vldm_core.prior.controls.coser.all_in_attention import AllInAttention, AllInAttentionConfig
from vldm_core.prior.controls.coser.branch import CoserBranch
from vldm_core.prior.controls.diffbir.branch import DiffBirControl
from vldm_core.prior.controls.network.encoder import EncoderConfig
from vldm_core.prior.controls.stablesr.config import StructureEncoderConfig
from vldm_core.prior.onestep.networks import shapes_of, unet_layers
from vldm_core.prior.unet import UNetView

from ..prerestore.stage1_nets import published, write
from ..prior.controls.coser.tiny_coser import random_weights
from ..prior.controls.pasd.tiny_pasd import pasd_files
from ..prior.controls.seesr.tiny_seesr import seesr_files
from ..prior.controls.stablesr.tiny_stablesr import stablesr_file
from ..semantics.tiny_models import save_clip

WIDTH = 320
CHANNELS = (WIDTH,) * 4
SD1_TEXT, SD2_TEXT = 768, 1024
SD1_HEADS, SD2_HEADS = 8, WIDTH // 64
STRUCTURE = StructureEncoderConfig(width=32, widths=(32, 32, 64, 64), blocks=1, out_channels=64)
CLIP = "clip"
"""Folder of a whole CLIP of transformers' below models/vldm_clip."""


def write_control_files(models: Path) -> None:
    """Write everything that the five workflows need beside a checkpoint and CLIP Vision below the models folder."""
    controls = models / "vldm_control"
    folders = {name: controls / name for name in ("pasd/checkpoint-100000", "seesr")}
    for folder in (
        models / "upscale_models",
        *(each / net for each in folders.values() for net in ("controlnet", "unet")),
    ):
        folder.mkdir(parents=True)
    torch.save(_half(_diffbir()), controls / "DiffBIR_v2.1.pt")
    torch.save({"state_dict": _half(_coser())}, controls / "CoSeR.ckpt")
    torch.save({"state_dict": _half(stablesr_file(_unet(SD2_TEXT), STRUCTURE))}, controls / "stablesr_000117.ckpt")
    torch.save({"state_dict": _half(_wrapping())}, controls / "vqgan_cfw_00011.ckpt")
    systems = {"pasd/checkpoint-100000": pasd_files(_unet(SD1_TEXT)), "seesr": seesr_files(_unet(SD2_TEXT))}
    for name, (control, added) in systems.items():
        for net, tensors in (("controlnet", control), ("unet", added)):
            save_file(_half(tensors), folders[name] / net / "diffusion_pytorch_model.safetensors")
    write(models / "upscale_models" / "realesrgan_s4_swinir_100k.pth", published("swinir"))
    save_clip(models / "vldm_clip" / CLIP)


def write_one_step_file(models: Path) -> None:
    """Write what the workflow of one-step restorers needs beside a checkpoint below the models folder."""
    folder = models / "vldm_onestep"
    folder.mkdir(parents=True)
    layers = shapes_of(unet_layers(UNetView(_unet(SD2_TEXT))))
    torch.save(contents_of_shapes("osediff", layers, encoder_shapes("diffusers")), folder / "osediff.pkl")


def _half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.half().contiguous() for key, value in tensors.items()}


def _unet(text: int) -> Any:
    """Return diffusers' UNet of a checkpoint's shape, without values."""
    from diffusers import UNet2DConditionModel

    kinds = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    with torch.device("meta"):
        return UNet2DConditionModel(
            block_out_channels=CHANNELS,
            down_block_types=tuple(kinds),
            up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
            layers_per_block=1,
            cross_attention_dim=text,
            attention_head_dim=SD1_HEADS if text == SD1_TEXT else SD2_HEADS,
            use_linear_projection=text == SD2_TEXT,
        )


def _sd2_encoder(**changes: Any) -> EncoderConfig:
    shape: dict[str, Any] = {"channels": CHANNELS, "blocks": 1, "context": SD2_TEXT, "heads": (SD2_HEADS,) * 4}
    return EncoderConfig(**shape, linear=True, **changes)


def _diffbir() -> dict[str, Tensor]:
    return random_weights(DiffBirControl(_sd2_encoder(in_channels=8)), seed=40).branch.state_dict()


def _coser() -> dict[str, Tensor]:
    # As published, the second level of its branch has no transformers.
    branch = random_weights(CoserBranch(_sd2_encoder(attended=(True, False, True, False))), seed=41)
    file = {f"structcond_stage_model.{key}": value for key, value in branch.state_dict().items()}
    for seed, place in enumerate(
        ["middle_block.1", *(f"output_blocks.{number}.1" for number in range(2, 8))], start=42
    ):
        layers = random_weights(AllInAttention(AllInAttentionConfig(channels=WIDTH, features=WIDTH)), seed)
        file |= {f"model.diffusion_model.{place}.{key}": value for key, value in layers.state_dict().items()}
    return file


def _wrapping() -> dict[str, Tensor]:
    layers = random_weights(FeatureWrapping(), seed=50).layers
    return {f"decoder.fusion_layer_{key}": value for key, value in layers.state_dict().items()}

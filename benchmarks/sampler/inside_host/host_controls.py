"""Published restoration controls at any width, with random weights, on the host's UNet, for the sampler benchmark.

Random weights of the right size cost what trained ones cost. Imported when the process already is a host and the pack
is loaded as `pack`.
"""

from collections.abc import Callable
from typing import Any

import torch
from host_networks import HEADS, LEVELS, SD_WIDTH, fill, head_channels, text_width
from torch import Tensor

_SMALL = 0.1
"""Gain of the random weights: as trained ones, they add little to what passes."""

_PICTURE = (16, 32, 96, 256)
"""Channels of PASD's and SeeSR's embedding of the picture."""

_SEESR_TOKENS, _SEESR_WIDTH = 145, 512
"""Size of SeeSR's embedding with its tagger's pictures of 384×384."""

_COSER_TOKENS = 50
"""Tokens of language that CoSeR's cognitive encoder makes."""

_STRUCTURE = (1.0, 1.0, 2.0, 2.0)
"""Channels of the levels of StableSR's structure encoder, in widths of its first, which is 256."""

_STRUCTURE_WIDTH, _MODULATION = 256, 128


def controlled(model: Any, system: Any, frames: int, side: int, seed: int, *, reuse: int = 1) -> Any:
    """Return the MODEL with a control that looks at random hints.

    Args:
        model: The host's MODEL.
        system: From `SYSTEMS`.
        frames: Frames of the clip.
        side: Of the square latents.
        seed: Of the hints.
        reuse: Steps that one look serves.
    """
    from pack.nodes.host.prior.attachments import with_attachment
    from pack.vldm_core.prior.controls.control import RestorationControl
    from pack.vldm_core.prior.controls.material import ControlMaterial
    from pack.vldm_core.prior.controls.settings import ControlSettings

    def noise(*shape: int, salt: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + salt))

    latent = noise(frames, 4, side, side, salt=20)
    picture = noise(frames, 3, 8 * side, 8 * side, salt=21).sigmoid()
    tokens = reference = None
    if system.name == "SeeSR":
        tokens = noise(1, _SEESR_TOKENS, _SEESR_WIDTH, salt=22)
    elif system.name == "CoSeR":
        tokens = noise(1, _COSER_TOKENS, system.branch.config.context, salt=22)
        reference = noise(1, 4, side, side, salt=23)
    material = ControlMaterial(hint=latent if system.hint == "latent" else picture, tokens=tokens, reference=reference)
    return with_attachment(model, RestorationControl(system, material, ControlSettings(reuse=reuse)), "control")


def _encoder(width: int, family: str, **changes: Any) -> Any:
    from pack.vldm_core.prior.controls.network.encoder import EncoderConfig

    channels = tuple(width * level for level in LEVELS)
    second = family == "sd2"
    config: dict[str, Any] = {
        "channels": channels,
        "context": text_width(family, width),
        "heads": tuple(count // head_channels(width) if second else HEADS for count in channels),
        "linear": second,
        **changes,
    }
    return EncoderConfig(**config)


def _diffbir(model: Any, width: int) -> Any:  # noqa: ARG001 - all makers are called alike
    from pack.vldm_core.prior.controls.diffbir.branch import DiffBirControl

    return DiffBirControl(_encoder(width, "sd2", in_channels=8))


def _pasd(model: Any, width: int) -> Any:
    from pack.nodes.host.prior.attachments import view_of
    from pack.vldm_core.prior.controls.network.blocks import SpatialTransformer
    from pack.vldm_core.prior.controls.network.control_branch import ControlBranch
    from pack.vldm_core.prior.controls.pasd.embedding import DegradationRemoval
    from pack.vldm_core.prior.controls.pasd.pixel_attention import PixelTransformers
    from pack.vldm_core.prior.controls.pasd.system import PasdControl

    branch = ControlBranch(_encoder(width, "sd1"))
    rising = [site for site in view_of(model).layers() if site.name.startswith("up.")]
    layers = {
        site.layer: SpatialTransformer(site.channels, skip, HEADS, linear=False)
        for site, skip in zip(rising, reversed(branch.skips), strict=True)
    }
    return PasdControl(branch, DegradationRemoval(width, _PICTURE), PixelTransformers(layers))


def _pasd_light(model: Any, width: int) -> Any:
    from pack.nodes.host.prior.attachments import view_of
    from pack.vldm_core.prior.controls.network.control_branch import ControlBranch
    from pack.vldm_core.prior.controls.pasd.embedding import DegradationRemoval
    from pack.vldm_core.prior.controls.pasd.pixel_attention import InsideAttention, InsideTransformer
    from pack.vldm_core.prior.controls.pasd.system import PasdLightControl

    branch = ControlBranch(_encoder(width, "sd1"))
    rising = [site for site in view_of(model).layers() if site.name.startswith("up.")]
    layers = {
        site.layer: InsideTransformer(site.channels, skip, linear=False, depth=1)
        for site, skip in zip(rising, reversed(branch.skips), strict=True)
        if site.kind == "attn"
    }
    return PasdLightControl(branch, DegradationRemoval(width, _PICTURE), InsideAttention(layers))


def _seesr(model: Any, width: int) -> Any:
    from pack.nodes.host.prior.attachments import view_of
    from pack.vldm_core.prior.controls.network.blocks import SpatialTransformer
    from pack.vldm_core.prior.controls.network.control_branch import ControlBranch
    from pack.vldm_core.prior.controls.network.picture_embedding import PictureEmbedding
    from pack.vldm_core.prior.controls.seesr.representation import RepresentationAttention
    from pack.vldm_core.prior.controls.seesr.system import SeeSrControl

    layers = {
        site.layer: SpatialTransformer(site.channels, _SEESR_WIDTH, HEADS, linear=True)
        for site in view_of(model).of_kind("attn")
    }
    return SeeSrControl(
        ControlBranch(_encoder(width, "sd2", tokens=_SEESR_WIDTH)),
        PictureEmbedding(width, _PICTURE),
        RepresentationAttention(layers, _SEESR_WIDTH),
    )


def _stablesr(model: Any, width: int) -> Any:
    from pack.nodes.host.prior.attachments import view_of
    from pack.vldm_core.prior.controls.stablesr.config import ModulationConfig, StructureEncoderConfig
    from pack.vldm_core.prior.controls.stablesr.network import SpatialModulation, StructureEncoder
    from pack.vldm_core.prior.controls.stablesr.system import StableSrControl, residual_blocks

    narrow = max(32, _STRUCTURE_WIDTH * width // SD_WIDTH // 32 * 32)
    encoder = StructureEncoder(
        StructureEncoderConfig(
            width=narrow, widths=tuple(int(level * narrow) for level in _STRUCTURE), out_channels=narrow
        )
    )
    modulation = {
        place: SpatialModulation(
            ModulationConfig(
                channels=site.channels, label_channels=narrow, hidden=_MODULATION * narrow // _STRUCTURE_WIDTH
            )
        )
        for place, site in residual_blocks(view_of(model)).items()
    }
    return StableSrControl(encoder, modulation)


def _coser(model: Any, width: int) -> Any:  # noqa: ARG001 - all makers are called alike
    from pack.vldm_core.prior.controls.coser.all_in_attention import AllInAttention, AllInAttentionConfig
    from pack.vldm_core.prior.controls.coser.branch import CoserBranch
    from pack.vldm_core.prior.controls.coser.system import CoserControl

    low, middle, high, _ = (width * level for level in LEVELS)
    # Each block on the way up reads the feature of the skip that it takes.
    read = [(high, high)] * 2 + [(high, middle)] + [(middle, middle)] * 2 + [(middle, low)] + [(low, low)] * 3
    places = {"middle_block.1": (high, high)}
    places |= {f"output_blocks.{number}.1": widths for number, widths in enumerate(read, start=3)}
    attention = {
        place: AllInAttention(AllInAttentionConfig(channels=channels, features=features))
        for place, (channels, features) in places.items()
    }
    return CoserControl(CoserBranch(_encoder(width, "sd2", attended=(True, False, True, False))), attention)


_MAKERS: dict[str, Callable[[Any, int], Any]] = {
    "diffbir": _diffbir,
    "pasd": _pasd,
    "pasd_light": _pasd_light,
    "seesr": _seesr,
    "stablesr": _stablesr,
    "coser": _coser,
}


def control_system(name: str, model: Any, width: int, seed: int) -> Any:
    """Return a published system with random weights.

    Args:
        name: Its variant in the benchmark.
        model: The host's MODEL that it joins.
        width: Channels of the UNet's first level.
        seed: Of the weights.
    """
    system = _MAKERS[name](model, width)
    fill(system, seed, _SMALL)
    return system.eval()

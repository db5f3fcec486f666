"""Which tensors the parts of checkpoints must have, by part: exact lists to compare a file with.

A function gets the shapes of a part as a file has them, without the prefix, and returns those that it must have. It
returns None where the part is of a size that nobody published, and where what is in it varies: nothing is said then.
Networks of this package say their own lists, built without memory from the sizes that the file shows.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor, nn

from ....errors import VLDMError
from ....prerestore.architectures.architecture import Stage1Architecture
from ....prerestore.published import ARCHITECTURES
from ...controls.coser.all_in_attention import AllInAttention, AllInAttentionConfig
from ...controls.coser.branch import CoserBranch
from ...controls.coser.presr import PreSR, PreSRConfig
from ...controls.coser.qformer import QFormer, QFormerConfig, is_unused, published_name
from ...controls.network.control_branch import ControlBranch
from ...controls.network.encoder import EncoderConfig
from ...controls.stablesr.config import StructureEncoderConfig
from ...controls.stablesr.network import StructureEncoder
from . import control_keys, one_step_keys
from .signatures import stage1_part
from .unet_keys import SD2_UNET, UNETS, Layout, Shape, UNetSizes, down, unet_shapes, up, with_inputs
from .vae_keys import encoder_shapes, vae_shapes

Shapes = Mapping[str, Shape]
Expected = Callable[[Shapes], Shapes | None]

_ENTRIES: dict[Layout, str] = {"original": "input_blocks.0.0.weight", "diffusers": "conv_in.weight"}
# Text attention, but not that over tokens of a picture or features of a control.
_TEXT = re.compile(r"(.+\.)?(input_blocks|middle_block|output_blocks|attentions)\.\d.*attn2\.to_k\.weight")
_FOREIGN = ("image_attentions", "pixel_attentions", "_lna")
_MIDDLE = "middle_block.1"
_ADDED_TO = re.compile(r"(middle_block\.1|output_blocks\.\d+\.1)\.(.+)")


def text_width(shapes: Shapes) -> int | None:
    """Return the channels of the text that a network attends to; None where it attends to none."""
    for key, shape in shapes.items():
        if _TEXT.fullmatch(key) and not any(word in key for word in _FOREIGN):
            return shape[-1]
    return None


def expected_tensors(part: str, shapes: Shapes) -> Shapes | None:
    """Return the tensors that a part must have; None where no list of them is known.

    Args:
        part: Short name of the part, of `signatures`.
        shapes: What a file has of it, without the prefix.
    """
    known = EXPECTED.get(part)
    try:
        return None if known is None else known(shapes)
    except VLDMError:
        # The sizes make no sense: what tells the part is there, and its network cannot be built.
        return None


def _family_sizes(shapes: Shapes, entry: str) -> UNetSizes | None:
    width = text_width(shapes)
    sizes = next((sizes for sizes in UNETS.values() if sizes.context == width), None)
    first = shapes.get(entry)
    if sizes is None or (first is not None and first[0] != sizes.width):
        return None
    return sizes


def _unet(shapes: Shapes, *, layout: Layout) -> Shapes | None:
    sizes = _family_sizes(shapes, _ENTRIES[layout])
    if sizes is None:
        return None
    # Inpainting and editing models differ in what goes in alone.
    first = shapes.get(_ENTRIES[layout])
    return unet_shapes(sizes if first is None else with_inputs(sizes, first[1]), layout)


def _control(shapes: Shapes, *, layout: Layout) -> Shapes | None:
    sizes = _family_sizes(shapes, _ENTRIES[layout])
    if sizes is None:
        return None
    known = {"original": control_keys.control_shapes, "diffusers": control_keys.diffusers_control_shapes}
    return known[layout](sizes)


def _pasd_control(shapes: Shapes) -> Shapes | None:
    blocks = {key.split(".")[2] for key in shapes if key.startswith("controlnet_cond_embedding.preprocesser.")}
    return _if_published(shapes, control_keys.pasd_control(blocks=len(blocks)))


def _if_published(shapes: Shapes, wanted: Shapes) -> Shapes | None:
    """Return the list of the published size where a file is of that size, told by its first tensor that fits."""
    for key, shape in wanted.items():
        if key in shapes:
            return wanted if shapes[key] == shape else None
    return None


def _of_size(list_of: Callable[[], Shapes], otherwise: Expected | None = None) -> Expected:
    """Return what compares with a published list; a network of another size is asked for its own, where one is."""
    made = cache(list_of)

    def expected(shapes: Shapes) -> Shapes | None:
        wanted = _if_published(shapes, made())
        return otherwise(shapes) if wanted is None and otherwise is not None else wanted

    return expected


def _modulation(shapes: Shapes) -> Shapes | None:
    wanted = control_keys.stablesr_modulation()
    if not any(".spade." in key for key in shapes):
        wanted = {re.sub(r"(?<=blocks\.)(\d+)\.0\.spade|\.spade", r"\1", key): shape for key, shape in wanted.items()}
    return _if_published(shapes, wanted)


def _vae(shapes: Shapes, *, layout: Layout) -> Shapes | None:
    return _if_published(shapes, vae_shapes(layout))


def _stage1(shapes: Shapes, *, kind: Stage1Architecture) -> Shapes:
    with warnings.catch_warnings():
        # Of torch, about how a network's tables are made; nobody who asks what a file is can do anything about it.
        warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)
        return kind.published_shapes(kind.config_of(shapes))


def _empty(shapes: Shapes) -> dict[str, Tensor]:
    """Return tensors without numbers: networks read their sizes off them."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def _shapes_of(network: nn.Module) -> dict[str, Shape]:
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def _branch(shapes: Shapes, *, kind: type[ControlBranch]) -> Shapes:
    with torch.device("meta"):
        return _shapes_of(kind(EncoderConfig.of(shapes)))


def _structure(shapes: Shapes) -> Shapes:
    with torch.device("meta"):
        return _shapes_of(StructureEncoder(StructureEncoderConfig.of(_empty(shapes))))


def _pre_sr(shapes: Shapes) -> Shapes:
    with torch.device("meta"):
        return _shapes_of(PreSR(PreSRConfig.of(_empty(shapes))))


def _q_former(shapes: Shapes) -> Shapes:
    with torch.device("meta"):
        network = QFormer(QFormerConfig.of(_empty(shapes)))
    wanted = {published_name(key): shape for key, shape in _shapes_of(network).items()}
    return wanted | {key: shape for key, shape in shapes.items() if is_unused(key)}


def _all_in_attention(shapes: Shapes) -> Shapes:
    configs = _published_attention()
    # Of the published size, places that the file lacks altogether are missed too; of another, those that it has count.
    if shapes.get(f"{_MIDDLE}.norm_clr_lna.weight") != (configs[_MIDDLE].channels,):
        places: dict[str, dict[str, Shape]] = {}
        for key, shape in shapes.items():
            if match := _ADDED_TO.fullmatch(key):
                places.setdefault(match[1], {})[match[2]] = shape
        configs = {place: AllInAttentionConfig.of(_empty(own)) for place, own in places.items()}
    wanted: dict[str, Shape] = {}
    for place, config in configs.items():
        with torch.device("meta"):
            network = AllInAttention(config)
        wanted |= {f"{place}.{key}": shape for key, shape in _shapes_of(network).items()}
    return wanted


def _published_attention() -> dict[str, AllInAttentionConfig]:
    """Return what CoSeR adds to in the published UNet: the transformers in the middle and on the way up."""
    places = [*down(SD2_UNET), *up(SD2_UNET)]
    return {
        # The features are those of the control branch at the same height.
        place.original: AllInAttentionConfig(channels=place.outputs, features=place.skip or place.outputs)
        for place in places
        if place.kind == "transformer" and not place.original.startswith("input_blocks")
    }


EXPECTED: Mapping[str, Expected] = {
    "unet_original": partial(_unet, layout="original"),
    "unet_diffusers": partial(_unet, layout="diffusers"),
    "vae_original": partial(_vae, layout="original"),
    "vae_diffusers": partial(_vae, layout="diffusers"),
    "controlnet_original": partial(_control, layout="original"),
    "controlnet_diffusers": partial(_control, layout="diffusers"),
    "diffbir_control": _of_size(control_keys.diffbir_control, partial(_branch, kind=ControlBranch)),
    "diffbir_hint_encoder": _of_size(lambda: encoder_shapes("original")),
    "pasd_control": _pasd_control,
    "pasd_attention": _of_size(control_keys.pasd_additions),
    "pasd_light_attention": _of_size(control_keys.pasd_light_additions),
    "seesr_control": _of_size(control_keys.seesr_control),
    "seesr_attention": _of_size(control_keys.seesr_additions),
    "stablesr_modulation": _modulation,
    "stablesr_structure": _structure,
    "stablesr_fusion": _of_size(control_keys.stablesr_fusion),
    "coser_branch": _of_size(control_keys.coser_branch, partial(_branch, kind=CoserBranch)),
    "coser_attention": _all_in_attention,
    "coser_pre_sr": _pre_sr,
    "coser_q_former": _q_former,
    "osediff_unet": _of_size(one_step_keys.osediff_unet),
    "osediff_vae": _of_size(one_step_keys.osediff_vae),
    "pisasr_unet": _of_size(one_step_keys.pisasr_unet),
    "s3diff_unet": _of_size(one_step_keys.s3diff_unet),
    "s3diff_vae": _of_size(one_step_keys.s3diff_vae),
    "s3diff_steering": _of_size(one_step_keys.s3diff_steering),
    "s3diff_damage": _of_size(one_step_keys.s3diff_damage),
    "hypir_unet": _of_size(one_step_keys.hypir_unet),
    "dloral_unet": _of_size(one_step_keys.dloral_unet),
    "dloral_frames": _of_size(one_step_keys.dloral_frames),
    **{stage1_part(kind.name): partial(_stage1, kind=kind) for kind in ARCHITECTURES},
}
"""Exact lists by part. A part that is not here is told by its marks alone."""

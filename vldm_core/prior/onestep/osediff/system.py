"""OSEDiff (R. Wu et al., "One-Step Effective Diffusion Network for Real-World Image Super-Resolution", NeurIPS 2024).

Its file holds adapters of the UNet and of the VAE's encoder, and a first convolution of the UNet that takes the place
of the base model's before its adapter acts on it.
"""

from collections.abc import Mapping

from torch import Tensor

from ....files.weights import WeightFileError, some
from ..adapters import AdapterLayout, by_side, in_one_group
from ..changes import Change
from ..format import Contents, OneStepFormat
from ..step import OneStep
from ..system import OneStepSystem, UNetPass
from ..tiles import PublishedTiles

RANK = 4
_FIRST = {"conv_in.base_layer.weight": "conv_in.weight", "conv_in.base_layer.bias": "conv_in.bias"}
_UNET = AdapterLayout(what="OSEDiff's UNet entry", rank=RANK, names=by_side())
_VAE = AdapterLayout(what="OSEDiff's VAE entry", rank=RANK, names=in_one_group("default_encoder"))


class OseDiff(OneStepSystem):
    """OSEDiff.

    Args:
        unet: Entry `state_dict_unet` of the published file.
        vae: Entry `state_dict_vae`.

    Raises:
        WeightFileError: They are incomplete, or hold something else.
    """

    def __init__(self, unet: Mapping[str, Tensor], vae: Mapping[str, Tensor]) -> None:
        self.format = OSEDIFF
        updates, rest = _UNET.read(unet)
        encoder, left = _VAE.read(vae)
        missing = [key for key in _FIRST if key not in rest]
        unexpected = [key for key in (*rest, *left) if key not in _FIRST]
        if missing or unexpected:
            raise WeightFileError(
                f"OSEDiff's file does not fit: missing: {some(missing) or 'nothing'}; unexpected: "
                f"{some(unexpected) or 'nothing'}; take the published file"
            )
        self._unet = Change(updates=(updates[""],), replaced={_FIRST[key]: value for key, value in rest.items()})
        self._vae = Change(updates=(encoder[""],))

    def passes(self, *, invention: float, guidance: float, scores: Tensor | None) -> tuple[UNetPass, ...]:
        """Return its one pass."""
        return (UNetPass(change=self._unet),)

    def vae_change(self, scores: Tensor | None) -> Change:
        """Return its adapters of the encoder."""
        return self._vae

    def adapts_vae(self, layer: str) -> bool:
        """Whether a layer of the VAE has an adapter: the encoder's, and the convolution behind it."""
        return layer.startswith("encoder.") or layer == "quant_conv"


def _build(contents: Contents) -> OseDiff:
    return OseDiff(contents["state_dict_unet"], contents["state_dict_vae"])


OSEDIFF = OneStepFormat(
    system="OSEDiff",
    base="Stable Diffusion 2.1-base",
    source="https://github.com/cswry/OSEDiff",
    files="osediff.pkl or osediff_face.pkl",
    licence="Apache-2.0",
    commercial=True,
    step=OneStep(timestep=999, subtracts=False),
    tables=("state_dict_unet", "state_dict_vae"),
    notes=(
        "vae_lora_encoder_modules",
        "unet_lora_encoder_modules",
        "unet_lora_decoder_modules",
        "unet_lora_others_modules",
        "rank_unet",
        "rank_vae",
    ),
    mark=".lora_A.default_encoder.weight",
    build=_build,
    ranks={"rank_unet": RANK, "rank_vae": RANK},
    colour="adain",
    tiles=PublishedTiles(low=True),
    text="tags of the picture",
)
"""What is published of OSEDiff."""

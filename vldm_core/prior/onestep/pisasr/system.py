"""PiSA-SR (L. Sun et al., "Pixel-level and Semantic-level Adjustable Super-resolution", CVPR 2025).

Two sets of adapters: one was trained to remove what is wrong in the pixels, the other on top of it to add what the
picture means. The published program takes eps = a · eps_pix + b · (eps_both - eps_pix); here a is 1 and b is the dial.
"""

from collections.abc import Mapping

from torch import Tensor

from ....files.weights import WeightFileError, some
from ..adapters import AdapterLayout, by_side
from ..changes import Change
from ..format import Contents, OneStepFormat
from ..step import OneStep
from ..system import OneStepSystem, UNetPass
from ..tiles import PublishedTiles

RANK = 4
PIXELS, MEANING = "pix", "sem"
_UNET = AdapterLayout(what="PiSA-SR's UNet entry", rank=RANK, names=by_side(PIXELS, MEANING))


class PisaSr(OneStepSystem):
    """PiSA-SR.

    Args:
        unet: Entry `state_dict_unet` of the published file.

    Raises:
        WeightFileError: It is incomplete, or holds something else.
    """

    def __init__(self, unet: Mapping[str, Tensor]) -> None:
        self.format = PISASR
        updates, rest = _UNET.read(unet)
        if rest:
            raise WeightFileError(
                f"PiSA-SR's UNet entry does not fit: unexpected: {some(list(rest))}; take the published file"
            )
        self._pixels = Change(updates=(updates[PIXELS],))
        self._both = Change(updates=(updates[PIXELS], updates[MEANING]))

    def passes(self, *, invention: float, guidance: float, scores: Tensor | None) -> tuple[UNetPass, ...]:
        """Return one pass at either end of the dial, two between."""
        return self.weighted(1.0, invention)

    def weighted(self, pixels: float, meaning: float) -> tuple[UNetPass, ...]:
        """Return the passes for both factors of the published program.

        Args:
            pixels: a above; more removes more noise, too much smooths.
            meaning: b above; more invents more detail.
        """
        passes = (
            UNetPass(change=self._pixels, weight=pixels - meaning),
            UNetPass(change=self._both, weight=meaning),
        )
        return tuple(each for each in passes if each.weight != 0)


def _build(contents: Contents) -> PisaSr:
    return PisaSr(contents["state_dict_unet"])


PISASR = OneStepFormat(
    system="PiSA-SR",
    base="Stable Diffusion 2.1-base",
    source="https://github.com/csslc/PiSA-SR",
    files="pisa_sr.pkl",
    licence="Apache-2.0 as its readme says, without a file",
    commercial=None,
    step=OneStep(timestep=1, subtracts=True),
    tables=("state_dict_unet",),
    notes=(
        *(
            f"unet_lora_{side}_modules_{which}"
            for which in (PIXELS, MEANING)
            for side in ("encoder", "decoder", "others")
        ),
        *(f"lora_rank_unet_{which}" for which in (PIXELS, MEANING)),
    ),
    mark=".lora_A.default_encoder_pix.weight",
    build=_build,
    ranks={f"lora_rank_unet_{which}": RANK for which in (PIXELS, MEANING)},
    colour="adain",
    tiles=PublishedTiles(),
    dial=("the adapters for pixels alone", "those for meaning too"),
    text="nothing: its program gives every picture the empty text",
)
"""What is published of PiSA-SR."""

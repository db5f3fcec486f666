"""HYPIR for Stable Diffusion 2.

X. Lin et al., "Harnessing Diffusion-Yielded Score Priors for Image Restoration", arXiv:2507.20590. Its file is one
table of adapters of rank 256. It is the one system whose training set alpha, to the rank, so that its scale is 1. The
timestep is a setting of its program; all published weights go with 200.
"""

from collections.abc import Mapping

from torch import Tensor

from ....files.weights import WeightFileError, some
from ..adapters import AdapterLayout, in_one_group
from ..changes import Change
from ..format import Contents, OneStepFormat
from ..step import OneStep
from ..system import OneStepSystem, UNetPass
from ..tiles import PublishedTiles

RANK = 256
_UNET = AdapterLayout(what="HYPIR's file", rank=RANK, names=in_one_group("default"), alpha=None)


class Hypir(OneStepSystem):
    """HYPIR.

    Args:
        unet: The published file.

    Raises:
        WeightFileError: It is incomplete, or holds something else.
    """

    def __init__(self, unet: Mapping[str, Tensor]) -> None:
        self.format = HYPIR
        updates, rest = _UNET.read(unet)
        if rest:
            raise WeightFileError(f"HYPIR's file does not fit: unexpected: {some(list(rest))}; take the published file")
        self._unet = Change(updates=(updates[""],))

    def passes(self, *, invention: float, guidance: float, scores: Tensor | None) -> tuple[UNetPass, ...]:
        """Return its one pass."""
        return (UNetPass(change=self._unet),)

    def adapts(self, layer: str) -> bool:
        """Whether a layer has an adapter: all but those of the time and the first convolution."""
        return super().adapts(layer) and layer != "conv_in"


def _build(contents: Contents) -> Hypir:
    return Hypir(contents)


HYPIR = OneStepFormat(
    system="HYPIR",
    base="Stable Diffusion 2.1-base",
    source="https://huggingface.co/lxq007/HYPIR",
    files="HYPIR_sd2.pth",
    licence="its own, non-commercial",
    commercial=False,
    step=OneStep(timestep=200, subtracts=False),
    tables=(),
    mark=".lora_A.default.weight",
    build=_build,
    colour="wavelet",
    # Its program cuts pictures into parts of 512 pixels, half of which overlap.
    tiles=PublishedTiles(size=64, overlap=32),
    text="what the picture shows, in a sentence",
)
"""What is published of HYPIR."""

"""DLoRAL, which restores a frame with the one before it.

Y. Sun et al., "One-Step Diffusion for Detail-Rich and Temporally Consistent Video Super-Resolution", NeurIPS 2025. Its
file holds a whole UNet, which takes the latent of the frame before beside the current one, two sets of adapters on it,
for consistency and for quality, and the retrieval between frames. Pairs are those of raw frames: nothing that was
restored is carried on. Its program gives N - 1 frames for N; here the first frame of a shot looks at itself.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ....errors import SettingsError
from ....files.published import fill
from ....files.weights import WeightFileError
from ..adapters import AdapterLayout, by_side, scaled
from ..changes import Change, check_fit
from ..format import Contents, OneStepFormat
from ..step import OneStep
from ..system import LATENT_CHANNELS, LatentFrame, OneStepSystem, Shapes, UNetPass
from ..tiles import PublishedTiles
from .retrieval import FrameRetrieval

RANK = 4
CONSISTENCY, QUALITY = "consistency", "quality"
LEAST_SIDE = 64
"""Latent pixels that each side must have: six levels of the flow need as many."""

_UNET = AdapterLayout(what="DLoRAL's UNet entry", rank=RANK, names=by_side(QUALITY, CONSISTENCY))
_UNUSED = (
    "feat_extract.",
    "weight_predict.",
    "weight_predict_final.",
    "reconstruction_feat.",
    "conv_hr.",
    "conv_last.",
)


class DLoral(OneStepSystem):
    """DLoRAL.

    Args:
        unet: Entry `state_dict_unet` of the published file.
        frames: Entry `state_dict_bpp`.

    Raises:
        WeightFileError: They are incomplete, or hold something else.
    """

    channels = 2 * LATENT_CHANNELS
    looks_back = True
    carries_unet = True

    def __init__(self, unet: Mapping[str, Tensor], frames: Mapping[str, Tensor]) -> None:
        self.format = DLORAL
        self._updates, rest = _UNET.read(unet)
        self._own = {key.replace(".base_layer.", "."): value for key, value in rest.items()}
        if "conv_in.weight" not in self._own or self._own["conv_in.weight"].shape[1] != self.channels:
            raise WeightFileError(
                f"DLoRAL's UNet entry has no first convolution of {self.channels} channels; take the published file"
            )
        with torch.device("meta"):
            self.retrieval = FrameRetrieval()
        fill(self.retrieval, frames, "DLoRAL's retrieval entry", unused=lambda key: key.startswith(_UNUSED))
        self.retrieval.eval().requires_grad_(False)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """Flow and retrieval."""
        return (self.retrieval,)

    def passes(self, *, invention: float, guidance: float, scores: Tensor | None) -> tuple[UNetPass, ...]:
        """Return its one pass: the adapters for consistency, and as much of those for quality as asked for."""
        updates = [self._updates[CONSISTENCY]]
        if invention:
            updates.append(scaled(self._updates[QUALITY], invention))
        return (UNetPass(change=Change(updates=tuple(updates), replaced=self._own)),)

    def inputs(self, frame: LatentFrame, before: LatentFrame | None) -> tuple[Tensor, Tensor]:
        """Return the latent before beside the current one with what was found in it, and the latter.

        Raises:
            SettingsError: The latent is smaller than the flow needs.
        """
        assert before is not None and frame.small is not None and before.small is not None
        height, width = frame.latent.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise SettingsError(
                f"DLoRAL needs pictures of 512 pixels or more a side, these are {8 * width}×{8 * height}; let them be "
                "fitted to a short side of 512"
            )
        warped, fused = self.retrieval(frame.latent, before.latent, frame.small, before.small)
        return torch.cat((warped, fused), dim=1), fused

    def check(self, unet: Shapes, vae: Shapes) -> None:
        """Check that the UNet is of the file's kind: every tensor of it is replaced.

        Raises:
            SettingsError: It is not; the message lists what is missing.
        """
        whole = self.unet_changes()[0]
        check_fit("DLoRAL's UNet part", whole, unet, adapted=self.adapts, free=self.resizes, whole=True)

    def resizes(self, key: str) -> bool:
        """Whether a tensor has another size: the first convolution, of 8 channels."""
        return key == "conv_in.weight"


def _build(contents: Contents) -> DLoral:
    return DLoral(contents["state_dict_unet"], contents["state_dict_bpp"])


DLORAL = OneStepFormat(
    system="DLoRAL",
    base="none: the file holds the UNet; text encoder and VAE of Stable Diffusion 2.1-base",
    source="https://github.com/yjsunnn/DLoRAL",
    files="model.pkl",
    licence="MIT",
    commercial=True,
    step=OneStep(timestep=1, subtracts=True),
    tables=("state_dict_unet", "state_dict_bpp"),
    notes=(
        *(
            f"unet_lora_{side}_modules_{which}"
            for which in (QUALITY, CONSISTENCY)
            for side in ("encoder", "decoder", "others")
        ),
        *(f"lora_rank_unet_{which}" for which in (QUALITY, CONSISTENCY)),
    ),
    mark=".lora_A.default_encoder_consistency.weight",
    build=_build,
    ranks={f"lora_rank_unet_{which}": RANK for which in (QUALITY, CONSISTENCY)},
    colour="adain",
    tiles=PublishedTiles(low=True),
    dial=("the adapters for consistency alone", "those for quality too"),
    text="tags of the first frame, for the whole shot",
)
"""What is published of DLoRAL."""

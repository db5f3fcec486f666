"""A small network that tells dirt, scratches of one frame and blotches from everything else that stands out in a frame.

It is a U-Net (O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015) on the planes of `features`, begun at half resolution so that it costs little on a CPU; the last
layer gives four pixels at once (W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
Sub-Pixel Convolutional Neural Network", CVPR 2016). Its configuration holds the calibration of the output.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError
from ...files.networks import WEIGHTS, NetworkKind
from .features import COARSE_PLANES, FINE_PLANES, GRANULARITY, PLANES, DirtPlanes

KINDS = ("dirt", "scratch", "blotch")
"""What the outputs stand for: dust, dirt and hair; scratches of one frame; and large patches, see-through or not."""


@dataclass(frozen=True, kw_only=True)
class DirtNetworkConfig:
    """Shape of the network.

    Attributes:
        planes: Planes it looks at, in order; those of `features.PLANES`.
        widths: Channels at half, quarter and eighth resolution.
        depths: Blocks on the way down at each; there is one on the way up at half and at quarter. At eighth each looks
            twice as far as the one before.
        scale: Calibration: factor on the raw outputs.
        offset: Calibration: what is added to each of the scaled outputs.
    """

    planes: tuple[str, ...] = PLANES
    widths: tuple[int, int, int] = (16, 32, 48)
    depths: tuple[int, int, int] = (1, 1, 3)
    scale: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if tuple(self.planes) != PLANES:
            raise SettingsError(f"the dirt network looks at {self.planes}; this version computes {PLANES}")
        if len(self.widths) != 3 or not all(isinstance(width, int) and 1 <= width <= 512 for width in self.widths):
            raise SettingsError(f"dirt network widths are {self.widths}; use three whole numbers, 1 … 512")
        if len(self.depths) != 3 or not all(isinstance(depth, int) and 0 <= depth <= 4 for depth in self.depths):
            raise SettingsError(f"dirt network depths are {self.depths}; use three whole numbers, 0 … 4")
        calibrated = len(self.offset) == len(KINDS) and all(math.isfinite(offset) for offset in self.offset)
        if not calibrated or not 0 < self.scale < 100:
            raise SettingsError(
                f"dirt network calibration is {self.scale}, {self.offset}; give a factor and three offsets"
            )


class _Block(nn.Module):
    """A convolution on top of what is there."""

    def __init__(self, width: int, spread: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=spread, dilation=spread)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.convolution(x).add_(x), inplace=True)


class DirtNetwork(nn.Module):
    """The network; its calibration is applied by `probability` only."""

    def __init__(self, config: DirtNetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DirtNetworkConfig()
        fine, middle, coarse = config.widths
        self.stem = nn.Conv2d(4 * len(FINE_PLANES) + len(COARSE_PLANES), fine, 1)
        self.fine = nn.Sequential(*(_Block(fine) for _ in range(config.depths[0])))
        self.down_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle = nn.Sequential(*(_Block(middle) for _ in range(config.depths[1])))
        self.down_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = nn.Sequential(*(_Block(coarse, 2**number) for number in range(config.depths[2])))
        self.up_middle = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.middle_again = _Block(middle)
        self.up_fine = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.fine_again = _Block(fine)
        self.head = nn.Conv2d(fine, 4 * len(KINDS), 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Look at frames.

        Args:
            fine: (N, len(FINE_PLANES), H, W), see `features.DirtPlanes`; sides are multiples of `GRANULARITY`.
            coarse: (N, len(COARSE_PLANES), H / 2, W / 2).

        Returns:
            (N, len(KINDS), H, W) raw logits, one plane per kind.
        """
        return functional.pixel_shuffle(
            self._logits(torch.cat([functional.pixel_unshuffle(fine, 2), coarse], dim=1)), 2
        )

    def _logits(self, seen: Tensor) -> Tensor:
        """Logits (N, 4 len(KINDS), h, w), four pixels of a kind after one another, of all planes at half size."""
        near = functional.relu(self.stem(seen), inplace=True).contiguous(memory_format=torch.channels_last)
        return self._deeper(near)

    def _deeper(self, near: Tensor) -> Tensor:
        near = self.fine(near)
        middle = self.middle(functional.relu(self.down_middle(near), inplace=True))
        far = self.coarse(functional.relu(self.down_coarse(middle), inplace=True))
        middle = self.middle_again(functional.relu(self.up_middle(far).add_(middle), inplace=True))
        near = self.fine_again(functional.relu(self.up_fine(middle).add_(near), inplace=True))
        return self.head(near)

    @property
    def reach(self) -> int:
        """Pixels on each side that the network looks at around a place."""
        fine, middle, coarse = self.config.depths
        # The blocks on the way down and up and the head, at the size at which each of them works.
        return 2 * (fine + 1 + 1) + 4 * (middle + 1) + 8 * (2**coarse - 1) + GRANULARITY

    @torch.inference_mode()
    def probability(self, planes: DirtPlanes) -> Tensor:
        """Return the calibrated probability of each kind, (len(KINDS), H, W), for the planes of one frame."""
        fine, coarse = planes.fine.numpy(), planes.coarse.numpy()
        count, height, width = fine.shape[0], fine.shape[1] // 2, fine.shape[2] // 2
        seen = np.empty((4 * count + len(coarse), height, width), np.float32)
        # As torch's pixel_unshuffle, in a fifth of its time.
        parts = fine.reshape(count, height, 2, width, 2).transpose(0, 2, 4, 1, 3)
        seen[: 4 * count].reshape(parts.shape)[:] = parts
        seen[4 * count :] = coarse
        # The stem as a product of matrices gives the order of values that the convolutions want.
        pixels = torch.from_numpy(seen).view(len(seen), -1).t()
        near = torch.addmm(self.stem.bias, pixels, self.stem.weight.view(-1, len(seen)).t()).relu_()  # type: ignore[arg-type]
        logits = self._deeper(near.view(1, height, width, -1).permute(0, 3, 1, 2)) * self.config.scale
        offset = torch.tensor(self.config.offset).repeat_interleave(4)[:, None, None]
        sure = torch.sigmoid(logits + offset).view(len(KINDS), 2, 2, height, width)
        # As pixel_shuffle, in a third of its time.
        result = torch.empty(len(KINDS), height, 2, width, 2)
        result.copy_(sure.permute(0, 3, 1, 4, 2))
        return result.view(len(KINDS), 2 * height, 2 * width)


KIND: NetworkKind[DirtNetwork] = NetworkKind("vldm.dirt_network", "dirt detector", DirtNetwork, DirtNetworkConfig)
"""How such networks are kept in files."""


def shared_network() -> DirtNetwork:
    """Return the network that ships with the package, read once per process and laid out for speed.

    Raises:
        WeightFileError: Its file is missing, damaged, or does not hold such a network.
    """
    network = KIND.shared(WEIGHTS / "dirt_detector.safetensors")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

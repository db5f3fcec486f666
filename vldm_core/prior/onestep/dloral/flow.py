"""SPyNet (A. Ranjan, M. Black, "Optical Flow Estimation using a Spatial Pyramid Network", CVPR 2017) as DLoRAL runs it.

DLoRAL feeds it pictures in [-1, 1], though the mean and deviation that are taken away belong to [0, 1]; it was trained
so, and is run so here.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 6
_CHANNELS = (8, 32, 64, 32, 16, 2)
_MULTIPLE = 32


class _Layer(nn.Module):
    """A convolution under the name that the published file has for it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Level(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Layer(*sides) for sides in pairwise(_CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.basic_module):
            x = layer(x if number == 0 else x.relu())
        return x


class SPyNet(nn.Module):
    """Two pictures to the flow between them."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Level() for _ in range(LEVELS))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, here: Tensor, other: Tensor) -> Tensor:
        """Estimate.

        Args:
            here: (N, 3, h, w), [-1, 1]: the flow lives on this picture.
            other: Likewise: what it looks up.

        Returns:
            (N, 2, h, w), pixels, x first.
        """
        height, width = here.shape[-2:]
        raised = [-(-side // _MULTIPLE) * _MULTIPLE for side in (height, width)]
        pictures = [
            functional.interpolate(each, size=raised, mode="bilinear", align_corners=False) for each in (here, other)
        ]
        flow = self._flow(*((each - self.mean) / self.std for each in pictures))
        flow = functional.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
        return flow * flow.new_tensor([width / raised[1], height / raised[0]]).view(1, 2, 1, 1)

    def _flow(self, here: Tensor, other: Tensor) -> Tensor:
        pyramid = [(here, other)]
        for _ in range(LEVELS - 1):
            small = [functional.avg_pool2d(each, 2, count_include_pad=False) for each in pyramid[0]]
            pyramid.insert(0, (small[0], small[1]))
        count, _, height, width = pyramid[0][0].shape
        flow = here.new_zeros(count, 2, height, width)
        for number, (level, (own, theirs)) in enumerate(zip(self.basic_module, pyramid, strict=True)):
            if number:
                flow = 2 * functional.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            flow = flow + level(torch.cat((own, looked_up(theirs, flow, padding="border"), flow), dim=1))
        return flow


def looked_up(picture: Tensor, flow: Tensor, *, padding: str) -> Tensor:
    """Look a picture up along a flow, bilinearly.

    Args:
        picture: (N, C, h, w).
        flow: (N, 2, h, w), pixels, x first.
        padding: What lies outside: "border" or "zeros".
    """
    height, width = picture.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device, dtype=flow.dtype),
        torch.arange(width, device=flow.device, dtype=flow.dtype),
        indexing="ij",
    )
    grid = torch.stack(
        (2 * (x + flow[:, 0]) / max(width - 1, 1) - 1, 2 * (y + flow[:, 1]) / max(height - 1, 1) - 1), dim=-1
    )
    return functional.grid_sample(picture, grid, mode="bilinear", padding_mode=padding, align_corners=True)

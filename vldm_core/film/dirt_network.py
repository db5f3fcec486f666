"""A small network that tells dirt and blotches from everything else that stands out in a frame.

It is a U-Net (O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015) on the planes of `dirt_features`, begun at half resolution so that it costs little on a CPU; the last
layer gives four pixels at once (W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
Sub-Pixel Convolutional Neural Network", CVPR 2016). Its file holds the weights, and as metadata the configuration and
the calibration of the output.
"""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError, VLDMError
from .dirt_features import PLANES

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "dirt_detector.safetensors"
"""The file that ships with the package."""

KINDS = ("dirt", "blotch")
"""What the outputs stand for: dust, dirt and hair; and large faint patches."""

METADATA_KEY = "vldm.dirt_network"
FORMAT = 1


class NetworkFileError(VLDMError):
    """The file of a detector is missing, damaged or made for something else."""


@dataclass(frozen=True, kw_only=True)
class DirtNetworkConfig:
    """Shape of the network.

    Attributes:
        planes: Planes it looks at, in order; those of `dirt_features.PLANES`.
        widths: Channels at half, quarter and eighth resolution.
        depths: Blocks on the way down at each; there is one on the way up at half and at quarter.
        scale: Calibration: factor on the raw outputs.
        offset: Calibration: what is added to each of the scaled outputs.
    """

    planes: tuple[str, ...] = PLANES
    widths: tuple[int, int, int] = (24, 48, 64)
    depths: tuple[int, int, int] = (1, 1, 2)
    scale: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if tuple(self.planes) != PLANES:
            raise SettingsError(f"the dirt network looks at {self.planes}; this version computes {PLANES}")
        if len(self.widths) != 3 or not all(isinstance(width, int) and 1 <= width <= 512 for width in self.widths):
            raise SettingsError(f"dirt network widths are {self.widths}; use three whole numbers, 1 … 512")
        if len(self.depths) != 3 or not all(isinstance(depth, int) and 0 <= depth <= 16 for depth in self.depths):
            raise SettingsError(f"dirt network depths are {self.depths}; use three whole numbers, 0 … 16")
        if len(self.offset) != len(KINDS) or not 0 < self.scale < 100:
            raise SettingsError(f"dirt network calibration is {self.scale}, {self.offset}; give a factor, two offsets")


class _Block(nn.Module):
    """A convolution on top of what is there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.convolution(x))


class DirtNetwork(nn.Module):
    """The network; its calibration is applied by `probability` only."""

    def __init__(self, config: DirtNetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DirtNetworkConfig()
        fine, middle, coarse = config.widths
        self.stem = nn.Conv2d(len(config.planes), fine, 2, stride=2)
        self.fine = nn.Sequential(*(_Block(fine) for _ in range(config.depths[0])))
        self.down_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle = nn.Sequential(*(_Block(middle) for _ in range(config.depths[1])))
        self.down_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = nn.Sequential(*(_Block(coarse) for _ in range(config.depths[2])))
        self.up_middle = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.middle_again = _Block(middle)
        self.up_fine = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.fine_again = _Block(fine)
        self.head = nn.Conv2d(fine, 4 * len(KINDS), 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        """Look at frames.

        Args:
            planes: (N, len(PLANES), H, W), see `dirt_features`; any size.

        Returns:
            (N, 2, H, W) raw logits, one plane per kind of `KINDS`.
        """
        height, width = planes.shape[-2:]
        below, right = -height % 8, -width % 8
        if below or right:
            mode = "reflect" if below < height and right < width else "replicate"
            planes = functional.pad(planes, (0, right, 0, below), mode=mode)
        fine = self.fine(functional.relu(self.stem(planes)))
        middle = self.middle(functional.relu(self.down_middle(fine)))
        coarse = self.coarse(functional.relu(self.down_coarse(middle)))
        middle = self.middle_again(functional.relu(middle + self.up_middle(coarse)))
        fine = self.fine_again(functional.relu(fine + self.up_fine(middle)))
        return functional.pixel_shuffle(self.head(fine), 2)[..., :height, :width]

    @torch.inference_mode()
    def probability(self, planes: Tensor) -> Tensor:
        """Return the calibrated probability of each kind, (2, H, W), for the planes (C, H, W) of one frame."""
        logits = self(planes[None])[0]
        offset = torch.tensor(self.config.offset)[:, None, None]
        return torch.sigmoid(logits * self.config.scale + offset)


def save_network(network: DirtNetwork, path: Path) -> None:
    """Write a network to a safetensors file."""
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
    text = json.dumps({"format": FORMAT, **asdict(network.config)})
    # One entry only: the order of several is left to chance, and the same network shall give the same file.
    save_file(tensors, path, metadata={METADATA_KEY: text})


def read_network(path: Path) -> DirtNetwork:
    """Read a network, ready to be used.

    Raises:
        NetworkFileError: The file is missing, damaged, or does not hold such a network.
    """
    if not path.is_file():
        raise NetworkFileError(
            f"the dirt detector {path} does not exist; install the package again, or use the detector 'weight-free'"
        )
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise NetworkFileError(f"{path} is not a readable safetensors file ({error}); install it again") from error
    if text is None:
        raise NetworkFileError(f"{path} does not say that it is a dirt detector (no {METADATA_KEY} in its metadata)")
    network = DirtNetwork(_config(text, path))
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if shapes != found:
        wrong = sorted(key for key in shapes.keys() | found.keys() if shapes.get(key) != found.get(key))
        raise NetworkFileError(f"{path} does not fit its own description at {', '.join(wrong[:3])}; install it again")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise NetworkFileError(f"{path} holds numbers that are not finite; install it again")
    network.load_state_dict(tensors)
    return network.eval()


@lru_cache(maxsize=4)
def shared_network(path: Path = WEIGHTS) -> DirtNetwork:
    """Read a network once per process; see `read_network`."""
    network = read_network(path)
    network.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _config(text: str, path: Path) -> DirtNetworkConfig:
    try:
        fields = dict(json.loads(text))
        version = fields.pop("format")
        if version != FORMAT:
            raise NetworkFileError(f"{path} has the format {version}, this version reads {FORMAT}; update the package")
        return DirtNetworkConfig(
            planes=tuple(fields.pop("planes")),
            widths=tuple(fields.pop("widths")),
            depths=tuple(fields.pop("depths")),
            offset=tuple(fields.pop("offset")),
            **fields,
        )
    except (ValueError, TypeError, KeyError, SettingsError) as error:
        raise NetworkFileError(f"{path} describes no dirt detector ({error}); install it again") from error

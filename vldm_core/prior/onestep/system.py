"""What every one-step restorer is to those who run it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ...errors import SettingsError
from .changes import NO_CHANGE, Change, check_fit
from .format import OneStepFormat

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every tensor of a network that has one, by its key in diffusers' layout."""

LATENT_CHANNELS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class UNetPass:
    """One pass of the UNet; the prediction is the weighted sum over all of them.

    Attributes:
        change: The UNet's, for this pass.
        weight: How much it counts.
        negative: Whether it reads what the picture shall not show.
    """

    change: Change
    weight: float = 1.0
    negative: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentFrame:
    """What a system may look at of one frame, cut to a tile.

    Attributes:
        latent: (1, 4, h, w), scaled.
        small: (1, 3, h, w), RGB, [-1, 1]: the picture, a pixel for each of the latent's; None where no system asks.
    """

    latent: Tensor
    small: Tensor | None = None


class OneStepSystem(ABC):
    """A system with its weights.

    Attributes:
        format: What is published of it.
        networks: Networks beside UNet and VAE, which the host is to move to its device.
        channels: Of what the UNet takes.
        looks_back: Whether a frame is restored with the one before it, of which the host gives it the picture too.
        needs_scores: Whether it is steered by scores of the damage.
        carries_unet: Whether its file holds the UNet, so that nothing of the model's own is left.
    """

    format: OneStepFormat
    channels: int = LATENT_CHANNELS
    looks_back: bool = False
    needs_scores: bool = False
    carries_unet: bool = False

    @property
    def networks(self) -> Sequence[nn.Module]:
        """Networks beside UNet and VAE."""
        return ()

    @abstractmethod
    def passes(self, *, invention: float, guidance: float, scores: Tensor | None) -> tuple[UNetPass, ...]:
        """Return the passes of the UNet; those that count nothing are left out.

        Args:
            invention: 0 … 1, see `format.dial`.
            guidance: How strongly the texts guide; 1 leaves the negative out.
            scores: (2,) of the damage, in [0, 1], where the system needs them.
        """

    def vae_change(self, scores: Tensor | None) -> Change:
        """Return what becomes of the VAE while it encodes."""
        return NO_CHANGE

    def measure(self, pictures: Tensor) -> Tensor | None:
        """Return scores (T, 2) of the damage of pictures (T, 3, H, W), RGB, [0, 1]; None where none are needed."""
        return None

    def inputs(self, frame: LatentFrame, before: LatentFrame | None) -> tuple[Tensor, Tensor]:
        """Return what the UNet is given, (1, channels, h, w), and the latent that its prediction is taken from.

        Args:
            frame: The frame.
            before: The one before it in its shot, or itself where it is the first; None unless `looks_back`.
        """
        return frame.latent, frame.latent

    def check(self, unet: Shapes, vae: Shapes) -> None:
        """Check that the system was made for networks of this kind.

        Args:
            unet: The UNet's tensors.
            vae: The VAE's, at least those of its encoder.

        Raises:
            SettingsError: It was not, or lacks a layer; the message lists them.
        """
        for change in self.unet_changes():
            check_fit(f"{self.format.system}'s UNet part", change, unet, adapted=self.adapts, free=self.resizes)
        encoder = self.vae_change_unsteered()
        if encoder is not NO_CHANGE:
            check_fit(f"{self.format.system}'s VAE part", encoder, vae, adapted=self.adapts_vae)

    def unet_changes(self) -> tuple[Change, ...]:
        """Return what becomes of the UNet in any of the passes, whatever the scores."""
        middle = 0.5 if self.format.dial else 1.0
        passes = self.passes(invention=middle, guidance=self.format.guidance, scores=None)
        return tuple({id(each.change): each.change for each in passes}.values())

    def vae_change_unsteered(self) -> Change:
        """Return what becomes of the VAE, whatever the scores."""
        return self.vae_change(None)

    def adapts(self, layer: str) -> bool:
        """Whether a layer of the UNet has an adapter: all but those of the time."""
        return "time_emb" not in layer

    def adapts_vae(self, layer: str) -> bool:
        """Whether a layer of the VAE has one."""
        return layer.startswith("encoder.")

    def resizes(self, key: str) -> bool:
        """Whether a tensor of the UNet is replaced by one of another size."""
        return False


def guided(change: Change, guidance: float) -> tuple[UNetPass, ...]:
    """Return the passes of classifier-free guidance, eps = eps_neg + g (eps_pos - eps_neg), of one change."""
    passes = (UNetPass(change=change, weight=guidance), UNetPass(change=change, weight=1 - guidance, negative=True))
    return tuple(each for each in passes if each.weight != 0)


def dialled(known: OneStepFormat, invention: float | None) -> float:
    """Return where the dial stands; None is as published.

    Raises:
        SettingsError: The system has no such dial.
    """
    if invention is None:
        return 1.0
    if known.dial is None and invention != 1:
        raise SettingsError(
            f"invention is {invention}, and {known.system} has no such dial; leave it at 1, or take PiSA-SR or DLoRAL"
        )
    return float(invention)

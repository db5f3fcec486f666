"""S3Diff, which measures how damaged a picture is.

A. Zhang et al., "Degradation-Guided One-Step Image Super-Resolution with Diffusion Priors", arXiv:2409.17058. Two
scores of a picture's damage steer adapters of the UNet and of the VAE's encoder. Its program measures them anew for
every picture; over a film one pair for a shot treats its frames alike, and one merge serves them all.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ....errors import SettingsError
from ....files.weights import WeightFileError, some
from ..adapters import AdapterLayout, in_one_group
from ..changes import Change
from ..format import Contents, OneStepFormat
from ..step import OneStep
from ..system import OneStepSystem, UNetPass, guided
from ..tiles import PublishedTiles
from .estimator import DamageEstimator
from .steering import Steering

RANK, VAE_RANK = 32, 16
ESTIMATOR = "de_net"
"""Key under which the contents of its second file stand."""

_FIRST = ("conv_in.weight", "conv_in.bias")
_UNET = AdapterLayout(what="S3Diff's UNet entry", rank=RANK, names=in_one_group("default"))
_VAE = AdapterLayout(what="S3Diff's VAE entry", rank=VAE_RANK, names=in_one_group("vae_skip"))


class S3Diff(OneStepSystem):
    """S3Diff.

    Args:
        unet: Entry `state_dict_unet` of the published file.
        vae: Entry `state_dict_vae`.
        steering: Its other tensors, entries joined with dots.
        estimator: Tensors of de_net.pth; without them scores have to be given.

    Raises:
        WeightFileError: Something is missing, left over or of another shape.
    """

    needs_scores = True

    def __init__(
        self,
        unet: Mapping[str, Tensor],
        vae: Mapping[str, Tensor],
        steering: Mapping[str, Tensor],
        estimator: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.format = S3DIFF
        updates, rest = _UNET.read(unet)
        encoder, left = _VAE.read(vae)
        missing = [key for key in _FIRST if key not in rest]
        unexpected = [key for key in (*rest, *left) if key not in _FIRST]
        if missing or unexpected:
            raise WeightFileError(
                f"S3Diff's file does not fit: missing: {some(missing) or 'nothing'}; unexpected: "
                f"{some(unexpected) or 'nothing'}; take the published file"
            )
        self._updates, self._first, self._encoder = updates[""], rest, encoder[""]
        self.unet_steering = Steering("unet", RANK, steering)
        self.vae_steering = Steering("vae", VAE_RANK, steering)
        self.estimator = None if estimator is None else DamageEstimator.from_published(estimator)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """The estimator, where it was given."""
        return () if self.estimator is None else (self.estimator,)

    def measure(self, pictures: Tensor) -> Tensor:
        """Return scores (T, 2) of the damage of pictures (T, 3, H, W), RGB, [0, 1].

        Raises:
            SettingsError: The estimator was not given.
        """
        if self.estimator is None:
            raise SettingsError(
                "S3Diff's estimator of the damage is missing: give de_net.pth too, or say the two scores yourself"
            )
        return self.estimator(pictures)

    def passes(self, *, invention: float, guidance: float, scores: Tensor | None) -> tuple[UNetPass, ...]:
        """Return its two passes, with and without what the picture shows."""
        assert scores is not None
        steered = self.unet_steering.steered(self._updates, scores)
        return guided(Change(updates=(steered,), replaced=self._first), guidance)

    def vae_change(self, scores: Tensor | None) -> Change:
        """Return its adapters of the encoder."""
        assert scores is not None
        return Change(updates=(self.vae_steering.steered(self._encoder, scores),))

    def unet_changes(self) -> tuple[Change, ...]:
        """Return what becomes of the UNet, without the matrices."""
        return (Change(updates=(self._updates,), replaced=self._first),)

    def vae_change_unsteered(self) -> Change:
        """Return what becomes of the VAE, without the matrices."""
        return Change(updates=(self._encoder,))

    def adapts(self, layer: str) -> bool:
        """Whether a layer has an adapter: all but those of the time and the first convolution."""
        return super().adapts(layer) and layer != "conv_in"


_TABLES = tuple(f"state_dict_{net}_{part}_mlp" for net in ("vae", "unet") for part in ("de", "block", "fuse"))


def _build(contents: Contents) -> S3Diff:
    steering = {"w": contents["w"]}
    for entry in _TABLES:
        steering |= {f"{entry}.{key}": value for key, value in contents[entry].items()}
    for entry, table in contents["state_embeddings"].items():
        steering |= {f"state_embeddings.{entry}.{key}": value for key, value in table.items()}
    return S3Diff(contents["state_dict_unet"], contents["state_dict_vae"], steering, contents.get(ESTIMATOR))


S3DIFF = OneStepFormat(
    system="S3Diff",
    base="SD-Turbo, a network of Stable Diffusion 2.1's shape",
    source="https://huggingface.co/zhangap/S3Diff",
    files="s3diff.pkl, and de_net.pth for its scores",
    licence="Apache-2.0",
    commercial=True,
    step=OneStep(timestep=999, subtracts=False),
    tables=("state_dict_unet", "state_dict_vae", *_TABLES, "state_embeddings"),
    notes=("unet_lora_target_modules", "vae_lora_target_modules", "rank_unet", "rank_vae", "w"),
    mark=".lora_A.vae_skip.weight",
    build=_build,
    ranks={"rank_unet": RANK, "rank_vae": VAE_RANK},
    prompt=("A high-resolution, 8K, ultra-realistic image with sharp focus, vibrant colors, and natural lighting."),
    negative="oil painting, cartoon, blur, dirty, messy, low quality, deformation, low resolution, oversmooth",
    guidance=1.07,
    colour="wavelet",
    tiles=PublishedTiles(low=True),
    text="nothing: its program has two fixed sentences",
)
"""What is published of S3Diff."""

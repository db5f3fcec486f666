"""CoSeR on a UNet: the control branch before every pass, All-in-Attention in the transformers, tokens beside the text.

The branch runs twice for each frame, on the degraded latent and on the reference's, with the conditioned text and the
tokens of language; both chunks of conditioning then read the same features. A clip without references has one run and
no hard attention. With `for_generation` the branch and All-in-Attention rest, and only the tokens speak: so the
original makes a reference out of nothing but what the frame shows.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ....errors import SettingsError
from ...call import CONDITIONED
from ...unet import Site, UNetView
from ..control import (
    ControlPlace,
    ControlRequest,
    ControlState,
    ControlSystem,
    Features,
    Need,
    PlaceChange,
    check_text_width,
)
from ..material import HintKind
from .all_in_attention import AllInAttention
from .branch import CoserBranch
from .cognition import CognitiveEncoder
from .language import append_tokens

_HINT, _REFERENCE, _TOKENS = "hint.", "reference.", "tokens"
_UP = re.compile(r"output_blocks\.(\d+)\.1")


class CoserControl(ControlSystem):
    """CoSeR's control.

    Args:
        branch: The control branch.
        attention: All-in-Attention by the original's name of the transformer, such as "output_blocks.3.1".
        cognition: Makes the tokens that the material brings; it is no part of the control's own weights, so that it
            does not lie on the device with them. None where no file had it.
    """

    name: ClassVar[str] = "CoSeR"
    hint: ClassVar[HintKind] = "latent"
    scales_itself: ClassVar[bool] = False
    conditioned_alone: ClassVar[bool] = True
    takes_tokens: ClassVar[Need] = "optional"
    takes_reference: ClassVar[Need] = "optional"

    def __init__(
        self,
        branch: CoserBranch,
        attention: Mapping[str, AllInAttention],
        *,
        cognition: CognitiveEncoder | None = None,
    ) -> None:
        super().__init__()
        self.branch = branch
        self.attention = nn.ModuleDict({place.replace(".", "_"): layers for place, layers in attention.items()})
        self._places = dict(attention)
        self._cognition = (cognition,)

    @property
    def cognition(self) -> CognitiveEncoder | None:
        """What makes tokens of frames."""
        return self._cognition[0]

    def for_generation(self) -> "CoserGeneration":
        """Return the same weights as they make a reference: sample from the frame's latent noised to the end."""
        return CoserGeneration(self.branch, self._places, cognition=self.cognition)

    def features(self, request: ControlRequest) -> Features:
        """Look at the degraded frames and at their references."""
        found: dict[str, Tensor] = {} if request.tokens is None else {_TOKENS: request.tokens}
        text = request.context
        if request.tokens is not None:
            text = torch.cat([text, request.tokens.to(text)], dim=1)
        looked = [(_HINT, request.hint), (_REFERENCE, request.reference)]
        for prefix, latent in looked:
            if latent is not None:
                seen = self.branch.look(request.x, request.timesteps, text, latent)
                found |= {f"{prefix}{name}": feature for name, feature in seen.items()}
        return found

    def places(self, view: UNetView) -> Iterable[ControlPlace]:
        """Return the blocks of the transformers in the middle and on the way up.

        Raises:
            SettingsError: The UNet is of another family.
        """
        check_text_width(view, self.branch.config.context, self.name)
        sites = _transformers(view)
        if set(sites) != set(self._places):
            raise SettingsError(
                f"this file of CoSeR was made for transformers at {', '.join(self._places)}, and this UNet has them at "
                f"{', '.join(sites)}; choose a Stable Diffusion 2.1 model"
            )
        found = []
        for name, layers in self._places.items():
            site, feature = sites[name], self._feature(name)
            if (site.channels, layers.config.features) != (layers.config.channels, self._width(feature)):
                raise SettingsError(
                    f"All-in-Attention of {name} has {layers.config.channels} channels and reads "
                    f"{layers.config.features}; the UNet has {site.channels} there and the branch gives "
                    f"{self._width(feature)}; choose a Stable Diffusion 2.1 model"
                )
            blocks = list(site.module.transformer_blocks)  # type: ignore[arg-type]
            for number, block in enumerate(blocks[: layers.config.depth]):
                change = _change(layers, feature, site.heads, number)
                found.append(
                    ControlPlace(module=block, at="picture", change=change, tokens=True, scale=site.scale, costly=True)
                )
        return found

    def hooks(self, view: UNetView, now: Callable[[], ControlState | None]) -> list[RemovableHandle]:
        """Set the tokens beside the text of the conditioned chunk, for the frames on which the control acts."""

        def tokens(batch: int) -> tuple[Tensor, Tensor] | None:
            state = now()
            if state is None or _TOKENS not in state.features:
                return None
            chosen, given = _items_with_tokens(state), state.features[_TOKENS]
            if len(chosen) != batch:
                raise SettingsError(f"a cross-attention runs on {batch} items, the pass has {len(chosen)}")
            return (chosen, given.repeat(len(state.call.chunks), 1, 1)) if bool(chosen.any()) else None

        return append_tokens(view, tokens)

    def _feature(self, place: str) -> str:
        """Return which residual a transformer reads: that of the UNet's skip beside it."""
        match = _UP.fullmatch(place)
        return "middle" if match is None else f"residual.{len(self.branch.skips) - 1 - int(match[1])}"

    def _width(self, feature: str) -> int:
        number = -1 if feature == "middle" else int(feature.removeprefix("residual."))
        return self.branch.skips[number]


class CoserGeneration(CoserControl):
    """CoSeR while it makes a reference: tokens of language beside the text, and nothing else."""

    takes_tokens: ClassVar[Need] = "required"
    takes_reference: ClassVar[Need] = "none"

    def features(self, request: ControlRequest) -> Features:
        """Hand the tokens on.

        Raises:
            SettingsError: There are none.
        """
        if request.tokens is None:
            raise SettingsError("CoSeR makes a reference of tokens of language; give the tokens of the frames")
        return {_TOKENS: request.tokens}

    def places(self, view: UNetView) -> Iterable[ControlPlace]:
        """Return no place.

        Raises:
            SettingsError: The UNet is of another family.
        """
        check_text_width(view, self.branch.config.context, self.name)
        return []


def _items_with_tokens(state: ControlState) -> Tensor:
    """Return which items of the batch get tokens (N · F,): conditioned ones of frames on which the control acts."""
    conditioned = torch.tensor([chunk == CONDITIONED for chunk in state.call.chunks for _ in state.call.frames])
    return conditioned & (state.gain.frames.flatten() != 0).cpu()


def _change(layers: AllInAttention, feature: str, heads: int, block: int) -> PlaceChange:
    def change(x: Tensor, features: Features) -> Tensor:
        reference = features.get(f"{_REFERENCE}{feature}")
        theirs = None if reference is None else reference.to(x)
        return layers(x, features[f"{_HINT}{feature}"].to(x), theirs, heads=heads, block=block)

    return change


def _transformers(view: UNetView) -> dict[str, Site]:
    """Return the transformers in the middle and on the way up, by the names of the original."""
    found = {"middle_block.1": view["mid.attn"]}
    up = [site.layer for site in view.of_kind("res") if site.name.startswith("up.")]
    for number, layer in enumerate(up):
        site = view.sites.get(f"{layer}.attn")
        if site is not None:
            found[f"output_blocks.{number}.1"] = site
    return found

"""Low-rank adapters in peft's layout, with the scale that was in force when they were trained.

peft names the halves of an adapter `X.lora_A.ADAPTER.weight` and `X.lora_B.ADAPTER.weight`, X being the layer in
diffusers' names. Its scale alpha / r is stored nowhere: where a program says nothing, alpha is 8 whatever the rank, so
the usual guess alpha = r gives a picture that is wrong by a factor of two to four and does not say so.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ...files.weights import WeightFileError, some
from ..lora.per_frame import LowRank

PEFT_ALPHA = 8.0
"""Where a training says nothing of it, peft's `LoraConfig.lora_alpha`."""

Updates = dict[str, LowRank]
"""Low-rank update of each layer, by its name in diffusers."""

_HALF = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])\.(?P<adapter>[^.]+)\.weight")


@dataclass(frozen=True, kw_only=True)
class AdapterLayout:
    """Which adapters a table holds.

    Attributes:
        what: Name of the table for messages: "PiSA-SR's UNet".
        rank: Of every adapter.
        names: Names of the adapters of a layer, each with the group that it belongs to; none leaves it alone.
        alpha: Of the training; None is the rank.
    """

    what: str
    rank: int
    names: Callable[[str], Mapping[str, str]]
    alpha: float | None = PEFT_ALPHA

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def read(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Updates], dict[str, Tensor]]:
        """Take a table apart.

        Args:
            tensors: The table.

        Returns:
            Updates of each group, and the tensors that belong to no adapter.

        Raises:
            WeightFileError: An adapter has one half only, another name than its layer's, or another rank, which would
                change its scale. The message lists them.
        """
        halves: dict[tuple[str, str], dict[str, Tensor]] = {}
        rest: dict[str, Tensor] = {}
        for key, tensor in tensors.items():
            match = _HALF.fullmatch(key)
            if match is None:
                rest[key] = tensor
            else:
                halves.setdefault((match["layer"], match["adapter"]), {})[match["half"]] = tensor
        self._check(halves)
        found: dict[str, Updates] = {}
        for (layer, adapter), half in halves.items():
            group = self.names(layer)[adapter]
            found.setdefault(group, {})[layer] = LowRank(down=half["A"].float(), up=half["B"].float(), scale=self.scale)
        return found, rest

    def _check(self, halves: Mapping[tuple[str, str], Mapping[str, Tensor]]) -> None:
        unknown, missing, ranks = [], [], []
        for (layer, adapter), half in halves.items():
            if adapter not in self.names(layer):
                unknown.append(f"{layer} ({adapter})")
            missing += [f"{layer}.lora_{side}.{adapter}.weight" for side in "AB" if side not in half]
            found = {half["A"].shape[0]} if "A" in half else set()
            found |= {half["B"].shape[1]} if "B" in half else set()
            if found - {self.rank}:
                ranks.append(f"{layer} has {', '.join(map(str, sorted(found - {self.rank})))}")
        for layer in dict.fromkeys(layer for layer, _ in halves):
            for adapter in self.names(layer):
                if (layer, adapter) not in halves:
                    missing.append(f"{layer}.lora_A.{adapter}.weight")
        complaints = [
            f"{label} {some(names)}"
            for label, names in (
                ("missing:", missing),
                ("unexpected adapters:", unknown),
                (f"of another rank than {self.rank}, so that its scale is not known:", ranks),
            )
            if names
        ]
        if not halves:
            complaints = ["it holds no adapter"]
        if complaints:
            raise WeightFileError(f"{self.what} does not fit: {'; '.join(complaints)}; take the published file")


def scaled(updates: Updates, factor: float) -> Updates:
    """Return updates that act so many times as strongly."""
    return {layer: replace(update, scale=update.scale * factor) for layer, update in updates.items()}


def in_one_group(adapter: str) -> Callable[[str], Mapping[str, str]]:
    """Return the naming of a table whose layers all have the same adapter."""
    names = {adapter: ""}
    return lambda _layer: names


def by_side(*groups: str) -> Callable[[str], Mapping[str, str]]:
    """Return the naming that parts the way down, the way up and the rest, for each group or for none.

    Args:
        groups: Their names, which the adapters' end in.
    """

    def names(layer: str) -> Mapping[str, str]:
        start = f"default_{side_of(layer)}"
        return {f"{start}_{group}": group for group in groups} if groups else {start: ""}

    return names


def side_of(layer: str) -> str:
    """Return which of three sets of adapters a layer's belongs to, as OSEDiff, PiSA-SR and DLoRAL part them."""
    if "down_blocks" in layer or "conv_in" in layer:
        return "encoder"
    return "decoder" if "up_blocks" in layer or "conv_out" in layer else "others"

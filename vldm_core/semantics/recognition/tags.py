"""Tags: words of a list that fit what a shot shows, by zero-shot CLIP."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...errors import SettingsError
from .features import TextEncoder
from .vocabulary import VOCABULARY, checked_vocabulary, tag_of
from .zero_shot import SCALE, encode_choices, similarities

TEMPLATES = ("a photo of {}.", "a film still of {}.", "a black and white photo of {}.", "an old photo of {}.")
"""Sentences a word is put into. That the picture is old is said for all words alike, so it decides nothing."""

# Scores that agree to this many digits are equal: the order of the list decides.
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class TagSettings:
    """Which words become tags.

    Attributes:
        most: Most tags of a shot.
        least: Least probability among all words of the list, 0 … 1. Higher gives fewer and surer tags.
        margin: A word must fit better than the middle one of the list by this much of cosine similarity. Keeps all
            words away where none fits.
        scale: Factor on similarities before the softmax.
    """

    most: int = 8
    least: float = 0.02
    margin: float = 0.03
    scale: float = SCALE

    def __post_init__(self) -> None:
        if self.most < 0:
            raise SettingsError(f"most is {self.most}; use 0 tags or more")
        if not 0 <= self.least <= 1:
            raise SettingsError(f"least is {self.least}; use 0 to 1")
        if not 0 <= self.margin <= 2:
            raise SettingsError(f"margin is {self.margin}; use 0 to 2")
        if not 0 < self.scale < math.inf:
            raise SettingsError(f"scale is {self.scale}; use a number above 0")


class Tagger:
    """Tags shots. The words are encoded once.

    Args:
        encoder: Of the same CLIP model as the features of the frames.
        words: Word list, as :mod:`.vocabulary` has it.
        settings: Which words become tags.
    """

    def __init__(
        self, encoder: TextEncoder, words: Sequence[str] = VOCABULARY, settings: TagSettings | None = None
    ) -> None:
        self._words = checked_vocabulary(tuple(words))
        self._settings = settings or TagSettings()
        self._texts = encode_choices([[form.format(word) for form in TEMPLATES] for word in self._words], encoder)

    def tags(self, features: Tensor) -> tuple[str, ...]:
        """Tag a shot.

        Args:
            features: (K, D) of its key frames; K may be 0.

        Returns:
            Tags, the likeliest first, equally likely ones in the order of the list; none where no word fits.

        Raises:
            SettingsError: The features are of another space.
        """
        if len(features) == 0:
            return ()
        how = self._settings
        likeness = similarities(features, self._texts)
        likely = (likeness * how.scale).softmax(1).mean(0)
        fits = likeness.mean(0)
        ahead = fits - fits.quantile(0.5) if len(self._words) > 1 else fits
        ranked = sorted(range(len(self._words)), key=lambda index: (-round(float(likely[index]), _DIGITS), index))
        chosen = [index for index in ranked if likely[index] >= how.least and ahead[index] >= how.margin]
        return tuple(tag_of(self._words[index]) for index in chosen[: how.most])

"""Era and medium of a shot: decade, kind of film, sound and colour, by zero-shot CLIP over its key frames.

Every question has answers, every answer some sentences; the answer that fits best is given with its probability. Below
the confidence that is asked for the answer is "unknown", and nothing follows from it. What can be measured is measured:
a film without colour has no colour process, whatever CLIP sees in it.

What is found labels the table. It chooses the LoRAs of a shot and the preset by which damage is simulated, and nothing
in detection, repair or pre-restoration: their networks were trained on all decades and media alike, and measure the
film at hand.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from ...ageing import PRESETS
from ...errors import SettingsError
from ...prior.lora.eras import EraLoras
from ..table.description import UNKNOWN, ShotDescription
from ..table.table import ShotTable
from .features import TextEncoder
from .tones import measure_tone
from .zero_shot import SCALE, encode_choices, probabilities

Answers = Mapping[str, tuple[str, ...]]
"""Sentences by answer. Answers of the name "unknown" compete and tell nothing when they win."""

_DECADES = tuple(f"{year}s" for year in range(1890, 2000, 10))

_QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "era": {
        **{
            decade: (
                f"a film still from the {decade}.",
                f"a photo taken in the {decade}.",
                f"people and streets of the {decade}.",
            )
            for decade in _DECADES
        },
        UNKNOWN: ("a modern digital video.", "a photo taken in the 2010s.", "people and streets of the 2020s."),
    },
    "medium": {
        "newsreel": ("a frame of a newsreel.", "an old news film of a public event.", "a newsreel with a title card."),
        "8mm amateur": ("a frame of an 8 mm home movie.", "an amateur film of a family.", "a super 8 holiday film."),
        "feature film": ("a still of a feature film.", "a movie scene with actors.", "a film studio set with actors."),
        "documentary": ("a frame of a documentary film.", "an educational film.", "an industrial film about work."),
        "animation": ("a frame of an animated cartoon.", "a hand-drawn animation.", "a film with animated puppets."),
        UNKNOWN: ("a modern digital video.", "a smartphone photo."),
    },
    "sound": {
        "silent": (
            "a frame of a silent film.",
            "an intertitle of a silent movie.",
            "a silent film actor with make-up.",
        ),
        "sound": ("a frame of a sound film.", "actors talking in a film.", "a talkie of the 1930s or later."),
    },
    "colour": {
        "hand-coloured": ("a hand-coloured film frame.", "a stencil-coloured film of the 1900s."),
        "two-colour": ("a film in two-colour Technicolor.", "a colour film with red and green only."),
        "technicolor": ("a film in three-strip Technicolor.", "a saturated Technicolor movie still."),
        "agfacolor": ("an Agfacolor film of the 1940s.", "a film still in soft Agfacolor."),
        "kodachrome": ("a Kodachrome home movie.", "a Kodachrome photo of the 1950s."),
        "eastmancolor": ("a faded Eastmancolor film.", "a colour film print that has turned magenta."),
        UNKNOWN: ("a modern colour video.", "a digital colour photo."),
    },
}
QUESTIONS: Mapping[str, Answers] = MappingProxyType({name: MappingProxyType(q) for name, q in _QUESTIONS.items()})
"""Answers by question. The names of decades and media are those of the presets of damage."""


@dataclass(frozen=True, kw_only=True)
class EraSettings:
    """How sure an answer must be.

    Attributes:
        least: Least probability of an answer, 0 … 1. Higher says "unknown" more often.
        scale: Factor on similarities before the softmax. Lower makes all answers less sure.
    """

    least: float = 0.5
    scale: float = SCALE

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise SettingsError(f"least is {self.least}; use 0 to 1")
        if not 0 < self.scale < math.inf:
            raise SettingsError(f"scale is {self.scale}; use a number above 0")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found.

    Attributes:
        name: The answer, or "unknown".
        confidence: How likely it is, 0 … 1; of an unknown one, how likely the best answer was.
    """

    name: str = UNKNOWN
    confidence: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EraReading:
    """What was found about a shot; see `ShotDescription` for the meaning of the fields."""

    era: Answer = Answer()
    medium: Answer = Answer()
    sound: Answer = Answer()
    colour: Answer = Answer()


class EraReader:
    """Reads era and medium from key frames. The sentences are encoded once.

    Args:
        encoder: Of the same CLIP model as the features of the frames; None answers only what can be measured.
        settings: How sure an answer must be.
        questions: Answers by question, for "era", "medium", "sound" and "colour".
    """

    def __init__(
        self,
        encoder: TextEncoder | None,
        settings: EraSettings | None = None,
        questions: Mapping[str, Answers] = QUESTIONS,
    ) -> None:
        if questions.keys() != QUESTIONS.keys():
            raise SettingsError(f"questions are {', '.join(questions) or 'none'}; give {', '.join(QUESTIONS)}")
        self._settings = settings or EraSettings()
        self._texts = {
            name: (tuple(answers), encode_choices(list(answers.values()), encoder))
            for name, answers in questions.items()
            if encoder is not None
        }

    def read(self, features: Tensor, frames: Tensor | None = None) -> EraReading:
        """Read a shot.

        Args:
            features: (K, D) of its key frames; K may be 0.
            frames: (K, 3, H, W), RGB, [0, 1], the key frames for measurements; None measures nothing.

        Raises:
            SettingsError: The features are of another space.
        """
        found = {name: self._answer(name, features) for name in ("era", "medium", "sound", "colour")}
        tone = None if frames is None else measure_tone(frames)
        if tone == "monochrome" or tone == "tinted":
            found["colour"] = Answer(name=tone, confidence=1.0)
        return EraReading(**found)

    def _answer(self, question: str, features: Tensor) -> Answer:
        if not self._texts or len(features) == 0:
            return Answer()
        names, texts = self._texts[question]
        likely = probabilities(features, texts, self._settings.scale).clamp(0, 1)
        # The first of equally likely ones; with a threshold above one half there are none.
        best = int(likely.argmax())
        ties = [index for index in range(len(names)) if math.isclose(likely[index], likely[best], abs_tol=1e-9)]
        sure = len(ties) == 1 and float(likely[best]) >= self._settings.least
        return Answer(name=names[best] if sure else UNKNOWN, confidence=float(likely[best]))


def damage_preset(described: ShotDescription) -> str | None:
    """Return the preset of damage for a shot: that of its medium, else that of its era, else None.

    A name that no preset has, "unknown" above all, picks none.
    """
    for name in (described.medium, described.era):
        if name != UNKNOWN and name in PRESETS:
            return name
    return None


def lora_eras(table: ShotTable, loras: EraLoras) -> tuple[tuple[str, ...], ...]:
    """Return the eras of every shot that a LoRA map knows, for :func:`vldm_core.prior.lora.eras.plan_loras`.

    Looked up are era, medium, colour and sound. What is "unknown", or not in the map, uses no LoRA.
    """
    known = {" ".join(name.split()).casefold() for name in loras.eras}
    return tuple(
        tuple(
            name
            for name in (described.era, described.medium, described.colour, described.sound)
            if name != UNKNOWN and " ".join(name.split()).casefold() in known
        )
        for described in table
    )

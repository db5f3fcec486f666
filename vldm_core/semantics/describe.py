"""From frames to the table of shots: key frames, then captions, tags and era of those.

Every frame is seen once, in order. Features of the frames that are looked at are kept, a few hundred per shot; the
pictures wait in a temporary file until the key frames are known. Captioner and zero-shot recognition see key frames
only.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from ..errors import SettingsError, VLDMError
from ..progress import Progress, Pulse, silent
from ..video.frames import check_frames
from ..video.shots import Shot, covering_shots
from .captioners.captioner import Captioner
from .key_frames import KeyFrameSettings, choose_key_frames, sampled_frames
from .picture_store import PictureStore
from .prompts.prompts import find_template, merge_captions, shot_prompt
from .recognition.era import EraReader, EraSettings
from .recognition.features import CHUNK, FrameEncoder, TextEncoder, encode_frames, look_features
from .recognition.tags import Tagger, TagSettings
from .recognition.vocabulary import VOCABULARY
from .table.automatic import marked
from .table.description import ShotDescription
from .table.table import ShotTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DescribeSettings:
    """How shots are described.

    Attributes:
        key_frames: How many key frames, and which.
        tags: Which words become tags.
        words: List of words for the tags.
        era: How sure an era must be.
        template: Prompt template, a key of `TEMPLATES`.
        damage_in_negative: Put words for damage, which are taken out of the prompt, into the negative one.
    """

    key_frames: KeyFrameSettings = field(default_factory=KeyFrameSettings)
    tags: TagSettings = field(default_factory=TagSettings)
    words: tuple[str, ...] = VOCABULARY
    era: EraSettings = field(default_factory=EraSettings)
    template: str = "plain"
    damage_in_negative: bool = True

    def __post_init__(self) -> None:
        find_template(self.template)


class ShotDescriber:
    """Describes shots one after the other. Words and eras are encoded once.

    Args:
        encoder: What makes features of frames; None measures how they look, which gives key frames only.
        text_encoder: Of the same CLIP model, for tags and era; None gives none of these, but what is measured.
        captioner: Says what key frames show; None leaves captions empty.
        settings: How.

    Raises:
        SettingsError: There is a text encoder without a frame encoder.
    """

    def __init__(
        self,
        *,
        encoder: FrameEncoder | None = None,
        text_encoder: TextEncoder | None = None,
        captioner: Captioner | None = None,
        settings: DescribeSettings | None = None,
    ) -> None:
        if text_encoder is not None and encoder is None:
            raise SettingsError("tags and era need the frame encoder of the same CLIP model; give both or none")
        self.settings = settings or DescribeSettings()
        self.encoder: FrameEncoder = encoder or look_features
        self._captioner = captioner
        self._tagger = None if text_encoder is None else Tagger(text_encoder, self.settings.words, self.settings.tags)
        self._eras = EraReader(text_encoder, self.settings.era)

    def describe(
        self, shot: Shot, key_frames: Sequence[int], features: Tensor, pictures: Tensor, progress: Progress = silent
    ) -> ShotDescription:
        """Describe a shot by its key frames.

        Args:
            shot: The shot.
            key_frames: Film numbers of its key frames, ascending; may be empty.
            features: (K, D), of the key frames.
            pictures: (K, 3, H, W), RGB, [0, 1], the key frames, repaired if they can be.
            progress: Called per captioned frame.

        Raises:
            VLDMError: A model gave what it should not.
        """
        captions = []
        for done, picture in enumerate(pictures if self._captioner is not None else (), start=1):
            captions += self._captions_of(picture)
            progress("caption", done, len(pictures))
        caption = merge_captions(captions)
        tags = () if self._tagger is None else self._tagger.tags(features)
        found = self._eras.read(features, pictures)
        prompt = shot_prompt(
            caption,
            tags,
            find_template(self.settings.template),
            damage_in_negative=self.settings.damage_in_negative,
        )
        described = ShotDescription(
            first=shot.first,
            last=shot.last,
            key_frames=tuple(key_frames),
            caption=caption,
            tags=tags,
            era=found.era.name,
            era_confidence=found.era.confidence,
            medium=found.medium.name,
            medium_confidence=found.medium.confidence,
            sound=found.sound.name,
            sound_confidence=found.sound.confidence,
            colour=found.colour.name,
            colour_confidence=found.colour.confidence,
            prompt=prompt.prompt,
            negative=prompt.negative,
        )
        # Made again later, a negative prompt would hold the words for damage that it was to be without.
        names = ("caption", "tags", "prompt", *(("negative",) if self.settings.damage_in_negative else ()))
        return marked(described, *names, template=self.settings.template)

    def _captions_of(self, picture: Tensor) -> list[str]:
        assert self._captioner is not None
        found = self._captioner(picture[None])
        if len(found) != 1 or not isinstance(found[0], str):
            raise VLDMError(f"the captioner gave {found!r} for one picture; it must give one text each")
        return found


@dataclass(frozen=True, kw_only=True)
class SeenFrame:
    """A frame as the description sees it.

    Attributes:
        image: (3, H, W), RGB, [0, 1].
        damage: Share of it that is damaged, 0 … 1.
    """

    image: Tensor
    damage: float = 0.0


def describe_shots(
    frames: Tensor,
    shots: Iterable[Shot] | None = None,
    *,
    encoder: FrameEncoder | None = None,
    text_encoder: TextEncoder | None = None,
    captioner: Captioner | None = None,
    masks: Tensor | None = None,
    settings: DescribeSettings | None = None,
    progress: Progress = silent,
) -> ShotTable:
    """Describe the shots of a clip.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1], repaired if they can be.
        shots: Shots that cover the clip; None is one shot.
        encoder: What makes features of frames; None measures how they look.
        text_encoder: Of the same CLIP model, for tags and era; None leaves these out.
        captioner: Says what key frames show; None leaves captions empty.
        masks: (T, H, W), 1 = damaged; key frames are chosen away from damage.
        settings: How.
        progress: Called per frame and per captioned key frame; may raise to interrupt.

    Returns:
        One description per shot. Same clip, same table.

    Raises:
        SettingsError: Frames, shots, masks or models do not fit each other.
    """
    check_frames(frames)
    parts = covering_shots(shots, len(frames))
    if masks is not None and masks.shape != (len(frames), *frames.shape[-2:]):
        raise SettingsError(
            f"masks are {tuple(masks.shape)}, the frames need {(len(frames), *frames.shape[-2:])}; "
            "use masks that were made from these frames"
        )
    describer = ShotDescriber(encoder=encoder, text_encoder=text_encoder, captioner=captioner, settings=settings)
    seen = (
        SeenFrame(image=frame, damage=0.0 if masks is None else float((masks[index] > 0.5).float().mean()))
        for index, frame in enumerate(frames)
    )
    return describe_stream(seen, parts, describer, progress)


def describe_stream(
    frames: Iterator[SeenFrame],
    shots: Sequence[Shot],
    describer: ShotDescriber,
    progress: Progress = silent,
    pulse: Pulse | None = None,
) -> ShotTable:
    """Describe the shots of a stream of frames; see `describe_shots`."""
    pulse = pulse or Pulse(progress, "describe", shots[-1].last)
    return ShotTable(descriptions=tuple(_described(frames, shot, describer, pulse) for shot in shots))


def _described(frames: Iterator[SeenFrame], shot: Shot, describer: ShotDescriber, pulse: Pulse) -> ShotDescription:
    """Take the frames of one shot from the stream and describe it."""
    settings = describer.settings.key_frames
    wanted = sampled_frames(shot, settings.samples)
    damage: list[float] = []
    with PictureStore() as kept:

        def looked_at() -> Iterator[Tensor]:
            choose, number = iter((*wanted, -1)), shot.first
            following = next(choose)
            for frame in islice(frames, len(shot)):
                if number == following:
                    damage.append(frame.damage)
                    kept.add(frame.image)
                    yield frame.image
                    following = next(choose)
                number += 1
                pulse.step()
            if number != shot.last:
                raise SettingsError(f"the film ended in frame {number}, though the shots go on to {shot.last - 1}")

        features = encode_frames(looked_at(), describer.encoder, chunk=CHUNK)
        rows = choose_key_frames(features, torch.tensor(damage, dtype=torch.float64), settings)
        return describer.describe(
            shot, [wanted[row] for row in rows], features[list(rows)], kept.take(rows), pulse.beat
        )

"""What a table of shots gains step by step: captions, tags, eras; each from the key frames alone.

:mod:`.describe` does all of it in one pass over a film. Here a table that exists already is added to, as in the graph;
what was written by hand stays.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import SettingsError, VLDMError
from ..prior.lora.eras import EraLoras
from ..progress import Progress, silent
from .captioners.captioner import Captioner
from .prompts.prompts import merge_captions
from .recognition.era import EraReader, damage_preset, lora_eras
from .recognition.features import FrameEncoder, encode_frames
from .recognition.tags import Tagger
from .table.automatic import marked, refreshed_shot
from .table.description import UNKNOWN
from .table.table import ShotTable


def key_pictures(frames: Tensor, table: ShotTable) -> tuple[Tensor, ...]:
    """Return the key frames of every shot as pictures.

    Args:
        frames: (T, 3, H, W): all frames of the film, or its key frames alone, in order.
        table: The table.

    Returns:
        (K, 3, H, W) for each shot; K is 0 where it has no key frame.

    Raises:
        SettingsError: There are neither as many frames as the film has nor as many as there are key frames.
    """
    wanted = [frame for described in table for frame in described.key_frames]
    if len(frames) == table.frames:
        chosen = frames[torch.tensor(wanted, dtype=torch.long)]
    elif len(frames) == len(wanted):
        chosen = frames
    else:
        raise SettingsError(
            f"images holds {len(frames)} frames; the table is of {table.frames} frames with {len(wanted)} key frames: "
            "connect all frames of the clip, or the key frames from Key Frames"
        )
    return chosen.split([len(described.key_frames) for described in table])


def caption_shots(
    table: ShotTable, pictures: Sequence[Tensor], captioner: Captioner, progress: Progress = silent
) -> ShotTable:
    """Caption every shot by its key frames.

    Args:
        table: The table; captions that it has are replaced.
        pictures: From `key_pictures`.
        captioner: Says what a picture shows.
        progress: Called per key frame; may raise to interrupt.

    Raises:
        VLDMError: The captioner gave something that is no caption.
    """
    total, done, found = sum(map(len, pictures)), 0, []
    for described, shown in zip(table, pictures, strict=True):
        captions: list[str] = []
        for picture in shown:
            said = captioner(picture[None])
            if len(said) != 1 or not isinstance(said[0], str):
                raise VLDMError(f"the captioner gave {said!r} for one picture; it must give one text")
            captions += said
            done += 1
            progress("caption", done, total, picture)
        captioned = replace(described, caption=merge_captions(captions))
        found.append(marked(refreshed_shot(captioned), "caption"))
    return ShotTable(descriptions=tuple(found))


def tag_shots(
    table: ShotTable, pictures: Sequence[Tensor], encoder: FrameEncoder, tagger: Tagger, progress: Progress = silent
) -> ShotTable:
    """Tag every shot by its key frames; tags that it has are replaced.

    Args:
        table: The table.
        pictures: From `key_pictures`.
        encoder: Of the CLIP model that the tagger uses.
        tagger: Chooses the words.
        progress: Called per few key frames; may raise to interrupt.

    Raises:
        SettingsError: Pictures and words are not of one CLIP.
    """
    features = _features(pictures, encoder, progress)
    tagged = [replace(described, tags=tagger.tags(part)) for described, part in zip(table, features, strict=True)]
    return ShotTable(descriptions=tuple(marked(refreshed_shot(described), "tags") for described in tagged))


def read_eras(
    table: ShotTable, pictures: Sequence[Tensor], encoder: FrameEncoder, reader: EraReader, progress: Progress = silent
) -> ShotTable:
    """Read era, medium, sound and colour of every shot from its key frames; what it has is replaced.

    Args:
        table: The table.
        pictures: From `key_pictures`.
        encoder: Of the CLIP model that the reader uses.
        reader: Reads.
        progress: Called per few key frames; may raise to interrupt.

    Raises:
        SettingsError: Pictures and words are not of one CLIP.
    """
    found = []
    for described, shown, part in zip(table, pictures, _features(pictures, encoder, progress), strict=True):
        reading = reader.read(part, shown)
        found.append(
            replace(
                described,
                era=reading.era.name,
                era_confidence=reading.era.confidence,
                medium=reading.medium.name,
                medium_confidence=reading.medium.confidence,
                sound=reading.sound.name,
                sound_confidence=reading.sound.confidence,
                colour=reading.colour.name,
                colour_confidence=reading.colour.confidence,
            )
        )
    return ShotTable(descriptions=tuple(found))


def era_lines(table: ShotTable, loras: EraLoras | None = None) -> str:
    """Write the eras of every shot as Shot LoRAs reads them: a line per shot, several separated by commas.

    Args:
        table: The table.
        loras: The map; only what it knows is written. None writes era and medium.

    Returns:
        "unknown" in the line of a shot of which nothing is known.
    """
    if loras is None:
        names = [tuple(name for name in (row.era, row.medium) if name != UNKNOWN) for row in table]
    else:
        names = list(lora_eras(table, loras))
    return "\n".join(", ".join(line) or UNKNOWN for line in names)


def film_preset(table: ShotTable) -> str | None:
    """Return the preset of damage that most frames of the film ask for; None where most ask for none.

    Of presets asked for by equally many frames the one that comes first in the film is taken.
    """
    frames: Counter[str | None] = Counter()
    for described in table:
        frames[damage_preset(described)] += len(described.shot)
    return frames.most_common(1)[0][0]


def _features(pictures: Sequence[Tensor], encoder: FrameEncoder, progress: Progress) -> Sequence[Tensor]:
    counts = [len(part) for part in pictures]
    every = encode_frames(
        (picture for part in pictures for picture in part), encoder, total=sum(counts), progress=progress
    )
    return every.split(counts) if len(every) else [every] * len(counts)

"""Prompts of shots as the host's CONDITIONING: one encoding per prompt, one item per frame.

The host takes a batch of token sequences as one per frame, and windows and tiles cut it with the frames. So a shot's
prompt is encoded once, and laid over its frames unchanged; a clip with a single prompt stays a single item.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy.clip_vision import Output
from torch import Tensor

from ....vldm_core.errors import SettingsError
from ....vldm_core.progress import Progress
from ....vldm_core.semantics.prompts.conditioning import equally_long, one_for_all, over_frames
from ....vldm_core.video.shots import Shot

# CONDITIONING of the host: entries [tokens (n, L, C), options].
Conditioning = list[list[Any]]

CLIP_FRAMES_KEY = "vldm_clip_frames"
"""Option of an entry with one item per frame: frames of the clip it was made for."""

SPAN_KEY = "vldm_shot_span"
"""Option of an entry that is for one shot only: (first, last), last exclusive."""


def encode_prompts(clip: Any, prompts: Sequence[str], phase: str, progress: Progress) -> list[Conditioning]:
    """Encode one prompt per shot, equal ones once.

    Args:
        clip: The host's CLIP.
        prompts: One per shot, in order.
        phase: Name of the work, for the progress.
        progress: Called once per different prompt.

    Returns:
        One CONDITIONING per shot; shots with one prompt share the object.

    Raises:
        SettingsError: There is no CLIP.
    """
    if clip is None:
        raise SettingsError("the checkpoint has no text encoder; connect a CLIP from another loader")
    different = list(dict.fromkeys(prompts))
    encoded = {}
    for done, prompt in enumerate(different, start=1):
        encoded[prompt] = clip.encode_from_tokens_scheduled(clip.tokenize(prompt), show_pbar=False)
        progress(phase, done, len(different))
    return [encoded[prompt] for prompt in prompts]


def scheduled(encoded: Sequence[Conditioning], shots: Sequence[Shot]) -> Conditioning:
    """Lay the shots' CONDITIONINGs over the frames of the clip.

    Args:
        encoded: One per shot, from one text encoder.
        shots: The shots that cover the clip.

    Returns:
        As many entries as each of them has: one item per frame, or one item for all where no shot differs.

    Raises:
        SettingsError: The encodings have nothing in common that could be laid over frames.
    """
    counts = {len(conditioning) for conditioning in encoded}
    if len(counts) != 1:
        raise SettingsError(f"the prompts were encoded to {sorted(counts)} entries; use a CLIP without a schedule")
    return [_over_frames([conditioning[entry] for conditioning in encoded], shots) for entry in range(counts.pop())]


def scheduled_by_entry(encoded: Sequence[Conditioning], shots: Sequence[Shot]) -> Conditioning:
    """Give every shot entries of its own, which act on its frames alone.

    For what the host takes once per entry and not per frame. A sampler evaluates every entry on the whole clip; with
    the windows of this pack only those of the window's shot.

    Args:
        encoded: One per shot.
        shots: The shots that cover the clip.
    """
    if len(shots) == 1:
        return [[tokens, dict(options)] for tokens, options in encoded[0]]
    entries = []
    for conditioning, shot in zip(encoded, shots, strict=True):
        # The host enlarges a mask to the size of the latent.
        mask = torch.zeros(shots[-1].last, 1, 1)
        mask[shot.first : shot.last] = 1.0
        own = {"mask": mask, "mask_strength": 1.0, SPAN_KEY: (shot.first, shot.last)}
        own[CLIP_FRAMES_KEY] = shots[-1].last
        entries += [[tokens, {**options, **own}] for tokens, options in conditioning]
    return entries


def with_picture_tokens(
    encoded: Sequence[Conditioning], style_model: Any, pictures: Sequence[Output], strength: float
) -> list[Conditioning]:
    """Add what a STYLE_MODEL makes of each shot's key frames to the shot's prompt.

    The tokens of several key frames are averaged, so that every shot has as many.

    Args:
        encoded: One per shot.
        style_model: The host's STYLE_MODEL.
        pictures: CLIP Vision's output for the key frames of each shot, from `pictures_of_shots`.
        strength: Factor on the tokens.
    """
    longest = [equally_long([conditioning[entry][0] for conditioning in encoded]) for entry in range(len(encoded[0]))]
    made: list[Conditioning] = []
    for index, (conditioning, output) in enumerate(zip(encoded, pictures, strict=True)):
        tokens = style_model.get_cond(output).mean(0, keepdim=True) * strength
        made.append(
            [
                [torch.cat([longest[entry][index], tokens.to(longest[entry][index])], dim=1), dict(options)]
                for entry, (_, options) in enumerate(conditioning)
            ]
        )
    return made


def with_picture_embeddings(
    encoded: Sequence[Conditioning], pictures: Sequence[Output], strength: float, noise_augmentation: float
) -> list[Conditioning]:
    """Add CLIP Vision's embeddings of each shot's key frames, as unCLIP models take them.

    Args:
        encoded: One per shot.
        pictures: From `pictures_of_shots`.
        strength: Weight of the picture.
        noise_augmentation: 0 … 1, noise on the embedding: lower stays closer to the picture.
    """
    made = []
    for conditioning, output in zip(encoded, pictures, strict=True):
        picture = {"clip_vision_output": output, "strength": strength, "noise_augmentation": noise_augmentation}
        made.append([[tokens, {**options, "unclip_conditioning": [picture]}] for tokens, options in conditioning])
    return made


def pictures_of_shots(output: Output, counts: Sequence[int]) -> list[Output]:
    """Divide CLIP Vision's output for all key frames among the shots.

    Args:
        output: For the key frames of the table, in order.
        counts: Key frames of each shot.

    Raises:
        SettingsError: A shot has no key frame, or the output is of other pictures.
    """
    if 0 in counts:
        raise SettingsError(f"shot {counts.index(0) + 1} has no key frame that its picture could be taken from")
    found = len(output["image_embeds"])
    if found != sum(counts):
        raise SettingsError(
            f"clip_vision_output is of {found} pictures, the table has {sum(counts)} key frames; connect CLIP Vision "
            "Encode with the key frames of the same Key Frames node"
        )
    divided = []
    for first, count in zip(_starts(counts), counts, strict=True):
        part = Output()
        for name, value in vars(output).items():
            part[name] = value[first : first + count] if isinstance(value, Tensor) and len(value) == found else value
        divided.append(part)
    return divided


def _starts(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:index]) for index in range(len(counts))]


def _over_frames(entries: Sequence[list[Any]], shots: Sequence[Shot]) -> list[Any]:
    tokens = over_frames(equally_long([entry[0] for entry in entries]), shots)
    options = _options_over_frames([entry[1] for entry in entries], shots)
    if any(isinstance(value, Tensor) and len(value) > 1 for value in (tokens, *options.values())):
        options[CLIP_FRAMES_KEY] = shots[-1].last
    return [tokens, options]


def _options_over_frames(options: Sequence[Mapping[str, Any]], shots: Sequence[Shot]) -> dict[str, Any]:
    """Join the options of the shots: tensors per frame, everything else must be the same for all."""
    if any(option.keys() != options[0].keys() for option in options):
        names = ", ".join(sorted(set().union(*options)))
        raise SettingsError(f"the prompts were encoded with different options, of {names}; use one text encoder")
    joined = {}
    for name, first in options[0].items():
        values = [option[name] for option in options]
        if not isinstance(first, Tensor):
            if any(value is not first and value != first for value in values):
                raise SettingsError(f"the option {name!r} of the encodings differs from prompt to prompt")
            joined[name] = first
        elif one_for_all(values):
            joined[name] = first
        elif all(value.ndim > 0 and len(value) == 1 and value.shape == first.shape for value in values):
            joined[name] = over_frames(values, shots)
        else:
            shapes = ", ".join(str(tuple(value.shape)) for value in values)
            raise SettingsError(f"this text encoder gives {name!r} of {shapes}, which cannot differ between frames")
    return joined

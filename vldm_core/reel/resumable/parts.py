"""What a prior has made of the parts of shots, kept so that nothing is sampled twice."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import FilmFileError
from ...video.info import FilmFrame, FilmInfo, image_from_tensor
from ...video.reading.reader import open_film
from ...video.shots import Shot
from ...video.writing.encoding import WriteSettings
from ...video.writing.writer import open_writer
from ..prior_parts import Restore
from .keys import film_key, key_of, sampled_network_key
from .work_folder import WorkFolder, hash_of

_STORED = WriteSettings(codec="ffv1", pix_fmt="gbrp16le", overwrite=True)
"""A prior's frames are kept with 16 bits, whatever the film: a run that was not ended reads them back as well."""


def facts_of(value: Any) -> Any:
    """Return settings as JSON holds them, with the contents of the files that they name.

    Args:
        value: A dataclass, and whatever its fields hold.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        path = Path(value)
        return film_key(path) if path.exists() else str(path)
    if isinstance(value, Tensor):
        return key_of(shape=list(value.shape), values=value.detach().cpu().float().numpy().tobytes().hex())
    if isinstance(value, nn.Module):
        return sampled_network_key(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "": type(value).__name__,
            **{field.name: facts_of(getattr(value, field.name)) for field in fields(value)},
        }
    if isinstance(value, Mapping):
        return {str(key): facts_of(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [facts_of(each) for each in value]
    return repr(value)


def pipeline_key(pipeline: Any) -> str:
    """Return the key of a prior: its own where it has one, else that of a pipeline of diffusers.

    The latter is made of its networks, and how its schedule is set.
    """
    own = getattr(pipeline, "key", None)
    if isinstance(own, str):
        return own
    facts: dict[str, Any] = {}
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            facts[name] = sampled_network_key(part)
        else:
            config = getattr(part, "config", None)
            facts[name] = json.dumps(dict(config), default=repr, sort_keys=True) if config else type(part).__name__
    return key_of(**facts)


def _frames_key(frames: Tensor) -> str:
    """Key of frames (T, C, H, W)."""
    digest = hashlib.blake2b(digest_size=16)
    for frame in frames:
        digest.update(frame.contiguous().numpy().data)
    return digest.hexdigest()


class KeptParts:
    """Keeps what is made of each part of a shot in a folder, and takes what is there.

    Args:
        folder: The folder of the run.
        depends: Key of all that every part depends on.
        of_shot: What a shot's parts depend on besides, as JSON holds it.
    """

    def __init__(self, folder: WorkFolder, depends: str, of_shot: Callable[[Shot], Any]) -> None:
        self._folder, self._depends, self._of_shot = folder, depends, of_shot

    def around(self, restore: Restore) -> Restore:
        """Return what restores a part, or reads what was kept of it."""

        def kept(frames: Tensor, part: Shot, shot: Shot, number: int) -> Tensor:
            key = key_of(
                depends=self._depends,
                # What comes before may change in other shots: the frames themselves say whether it did in this one.
                frames=_frames_key(frames),
                part=[part.first, part.last],
                shot=[shot.first, shot.last],
                said=self._of_shot(shot),
            )
            path = self._folder.chunks / f"prior-{self._folder.chunk_name(part.first, part.last, key)}.mkv"
            facts = self._folder.json(path.stem, key)
            if facts is None or not path.is_file() or hash_of(path) != facts["hash"]:
                self._keep(path, restore(frames, part, shot, number))
                self._folder.keep_json(path.stem, key, {"hash": hash_of(path)})
                self._folder.note("part", first=part.first, last=part.last, key=key)
            with open_film(path, deinterlace="off") as film:
                made = torch.stack([frame.tensor() for frame in film])
            if len(made) != len(part):
                raise FilmFileError(f"{path} is damaged; remove it, and the part is sampled again")
            return made

        return kept

    def _keep(self, path: Path, frames: Tensor) -> None:
        height, width = frames.shape[-2:]
        info = FilmInfo.of_frames(width, height, 24, bit_depth=16)
        with open_writer(path, info, settings=_STORED) as writer:
            for index, frame in enumerate(frames):
                writer.write(FilmFrame(index=index, image=image_from_tensor(frame, np.uint16)))

"""Restoration controls in a reel: read once, given their hints, tokens and references shot by shot."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import SettingsError
from ..prior.controls.control import ControlSystem, check_needs
from ..prior.controls.material import for_frames
from ..prior.controls.reading import read_control
from ..prior.controls.settings import ControlSettings
from ..prior.controls.tokens import read_tokens
from ..prior.controls.use import ControlUse, ShotLook, cognition_of
from ..prior.unet import UNetView
from ..semantics.recognition.local_models import ModelSource, check_folder, load_model, read_architectures
from ..semantics.table.table import ShotTable
from ..video.reading.reader import open_film
from ..video.shots import Shot
from ..video.stream import FilmReader

CLIP_SOURCE = ModelSource(
    name="CoSeR's CLIP",
    repository="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    architectures=("CLIPVisionModelWithProjection", "CLIPModel"),
    tokenizer=False,
    pictures=False,
)


@dataclass(frozen=True, kw_only=True)
class ReelRestorationControl:
    """A restoration control in a reel.

    Attributes:
        files: Its files, or a folder of them; see :func:`..prior.controls.reading.find_control`.
        settings: How strongly it acts.
        hint: Film or picture that it looks at, as many frames as the film or a single one; None is the film that goes
            into the prior. It is brought to the film's size.
        tokens: Saved embeddings, see :mod:`..prior.controls.tokens`: one, one for each frame, or one for each shot of a
            table of shots.
        clip: Folder of CoSeR's CLIP in the layout of transformers, which makes tokens in the place of `tokens`: of the
            least damaged frame of each shot, in shots that are restored in parts of the first part.
        reference: Picture, or film or folder of pictures, of the scene in good condition: one, or one for each shot of
            a table of shots. None takes the least damaged frame of each shot, in shots that are restored in parts of
            the first part.
    """

    files: tuple[Path, ...]
    settings: ControlSettings = field(default_factory=ControlSettings)
    hint: Path | None = None
    tokens: Path | None = None
    clip: Path | None = None
    reference: Path | None = None

    def __post_init__(self) -> None:
        if not self.files:
            raise SettingsError("a restoration control without files; give some")
        if self.tokens is not None and self.clip is not None:
            raise SettingsError("there are tokens for the control and a CLIP to make them with; leave one out")

    def check(self, system: ControlSystem) -> None:
        """Check that the system gets what it needs and nothing that it would leave aside.

        Args:
            system: What the files are, with or without weights.

        Raises:
            SettingsError: It does not.
        """
        check_needs(system, tokens=self.tokens is not None, reference=self.reference is not None)
        if self.clip is not None:
            cognition_of(system)
            check_folder(self.clip, CLIP_SOURCE)


class ControlShelf:
    """The restoration controls of a reel.

    Args:
        controls: Which.
        table: The film's shots; None where they are found on the way.
        pipeline: A `VideoRestorationPipeline`.

    Raises:
        SettingsError: A control does not fit the pipeline's UNet, or lacks something.
        WeightFileError: A file cannot be read, or does not fit.
    """

    def __init__(self, controls: Sequence[ReelRestorationControl], table: ShotTable | None, pipeline: Any) -> None:
        self._controls = tuple(controls)
        self._table = table
        self._systems = []
        self._tokens: list[Tensor | None] = []
        for control in self._controls:
            system = read_control(control.files).eval().requires_grad_(False)
            control.check(system)
            list(system.places(UNetView(pipeline.unet)))
            self._systems.append(system)
            self._tokens.append(None if control.tokens is None else read_tokens(control.tokens))
        self._clips = [None if c.clip is None else _open_clip(c.clip) for c in self._controls]
        self._references = [None if c.reference is None else _Pictures(c.reference) for c in self._controls]
        self._number: dict[int, int] = {}
        self._looks: tuple[Shot | None, list[ShotLook]] = (None, [])

    @property
    def hints(self) -> tuple[Path, ...]:
        """The films of hints, each once."""
        return tuple(dict.fromkeys(control.hint for control in self._controls if control.hint is not None))

    @property
    def counted(self) -> bool:
        """Whether the number of frames of the film matters before it is restored."""
        return bool(self.hints) or any(part is not None for part in (*self._tokens, *self._references))

    def check(self, count: int, counted: Callable[[FilmReader], int]) -> None:
        """Check that tokens and references are for all frames.

        Args:
            count: Frames of the film.
            counted: Counts the frames of a film.

        Raises:
            SettingsError: There is another number of them.
            FilmFileError: References cannot be read.
        """
        shots = None if self._table is None else self._table.shots
        for control, tokens in zip(self._controls, self._tokens, strict=True):
            if tokens is not None:
                try:
                    for_frames(tokens, count, shots, "embeddings")
                except SettingsError as error:
                    raise SettingsError(f"{control.tokens}: {error}{_without(self._table)}") from error
            if control.reference is not None:
                with open_film(control.reference, deinterlace="off") as pictures:
                    found = counted(pictures)
                if found != 1 and found != len(shots or ()):
                    raise SettingsError(
                        f"{control.reference} has {found} reference pictures for {len(shots or ()) or 'the'} shots; "
                        f"give one, or one for each shot{_without(self._table)}"
                    )

    def meet(self, shots: Sequence[Shot]) -> None:
        """Learn the shots of the film, which come in this order."""
        self._number = {shot.first: number for number, shot in enumerate(shots)}
        frames = shots[-1].last
        self._tokens = [None if t is None else for_frames(t, frames, shots, "embeddings") for t in self._tokens]

    def uses(self, part: Shot, shot: Shot, hint: Callable[[Path], Tensor | None]) -> tuple[ControlUse, ...]:
        """Return what the controls are to do in a part of a shot.

        Args:
            part: The part, in frames of the film.
            shot: Its shot.
            hint: Returns the part's hints (T, 3, H, W) of a film of hints.
        """
        found = []
        if self._looks[0] != shot:
            self._looks = (shot, [ShotLook() for _ in self._controls])
        for control, system, tokens, clip, references, look in zip(
            self._controls, self._systems, self._tokens, self._clips, self._references, self._looks[1], strict=True
        ):
            own = tokens if tokens is None or len(tokens) == 1 else tokens[part.first : part.last]
            found.append(
                ControlUse(
                    system=system,
                    settings=control.settings,
                    hint=None if control.hint is None else hint(control.hint),
                    tokens=own,
                    clip=clip,
                    references=None if references is None else references.of(self._number[shot.first]),
                    shot=look,
                )
            )
        return tuple(found)

    def close(self) -> None:
        """Close the films of references."""
        for pictures in self._references:
            if pictures is not None:
                pictures.close()


class _Pictures:
    """A film of pictures, one of which is in memory: the only one, or that of the shot that is asked for, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: Generator[Tensor, None, None] | None = None
        self._at = -1
        self._held: Tensor | None = None

    def of(self, shot: int) -> Tensor:
        """Return the picture (1, 3, H, W) of a shot, or the last one where there are no more."""
        if self._frames is None:
            self._frames = self._read()
        while self._at < shot:
            self._at += 1
            picture = next(self._frames, None)
            if picture is not None:
                self._held = picture[None]
        assert self._held is not None
        return self._held

    def close(self) -> None:
        if self._frames is not None:
            self._frames.close()

    def _read(self) -> Generator[Tensor, None, None]:
        with open_film(self._path, deinterlace="off") as film:
            for frame in film:
                yield frame.tensor()


class _ClipVision(nn.Module):
    """The half of a whole CLIP that looks at pictures, under the names of `CLIPVisionModelWithProjection`."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = whole.vision_model, whole.visual_projection
        self.config = whole.config.vision_config


def _open_clip(folder: Path) -> Any:
    check_folder(folder, CLIP_SOURCE)
    alone, whole = CLIP_SOURCE.architectures
    if alone in read_architectures(folder):
        return load_model(folder, CLIP_SOURCE, alone)
    return _ClipVision(load_model(folder, CLIP_SOURCE, whole))


def _without(table: ShotTable | None) -> str:
    return "; what belongs to shots needs a table of shots" if table is None else ""

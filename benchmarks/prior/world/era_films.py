"""Films of two eras: real ones of the 1900s, and amateur films of 8 mm that are simulated."""

import shutil
from fractions import Fraction
from pathlib import Path

from vldm_core.data.clean_shots import TrainingMaterial
from vldm_core.data.degraded_clips import DegradedClips, PairSettings
from vldm_core.errors import FilmFileError
from vldm_core.files.suffixes import FILM_SUFFIXES
from vldm_core.files.temporary import written_whole
from vldm_core.progress import Progress, silent
from vldm_core.video.writing.clip import write_clip

from .films import SHOTS

REAL, SIMULATED = "1900s", "8mm amateur"
ERAS = REAL, SIMULATED

_FILMS, _FRAMES, _SIDE = 16, 12, 192
_RATE = Fraction(18)


def make_era_films(data: Path, folder: Path, *, progress: Progress = silent) -> Path:
    """Put films into a folder for each era, those that are there already excepted.

    Args:
        data: Folder with `film`, which holds films of the 1900s, and with clips and photographs.
        folder: Is made.
        progress: Called once per film.

    Returns:
        The folder.

    Raises:
        FilmFileError: There are no films of the 1900s.
    """
    real, simulated = folder / REAL, folder / SIMULATED
    films = sorted(path for path in (data / "film").glob("*") if path.suffix.lower() in FILM_SUFFIXES)
    if len(films) < 2:
        raise FilmFileError(f"{data / 'film'} holds {len(films)} films; two of the 1900s are needed, or more")
    real.mkdir(parents=True, exist_ok=True)
    simulated.mkdir(exist_ok=True)
    for film in films:
        if not (real / film.name).is_file():
            with written_whole(real / film.name) as part:
                shutil.copyfile(film, part)
    clips = DegradedClips(
        TrainingMaterial(data, validation=None, settings=SHOTS),
        seed=7,
        settings=PairSettings(frames=_FRAMES, height=_SIDE, width=_SIDE, presets={SIMULATED: 1.0}),
    )
    for number in range(_FILMS):
        path = simulated / f"reel_{number:02d}.mkv"
        if not path.is_file():
            write_clip(path, clips.sample(number)["aged"], _RATE)
        progress("make films of eras", number + 1, _FILMS)
    return folder
